package steps

import (
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"calrun/internal/compare"
	"calrun/internal/emulator"
	"calrun/internal/loadgen"
	"calrun/internal/profile"
	"calrun/internal/trace"
	"calrun/pipeline"
)

// Which rates of a sweep are stable is for the comparison to say, over all
// seeds: a run whose last requests still wait when the last one arrives is no
// overloaded one by that.
func TestARunOfASweepIsNotCalledOverloaded(t *testing.T) {
	slow := &emulator.Config{Step: profile.StepTime{Base: profile.Cost(20e-3)}, Seed: 3}
	w := small()
	w.Probes, w.Sweep.RPS, w.Sweep.Seeds = nil, []float64{1000}, 1
	got, err := hardware(Engine{Emulator: slow}, w).Run(t.Context(), pipeline.NewScratch(t.TempDir(), zerolog.Nop()))
	if err != nil {
		t.Fatal(err)
	}
	res := got.(*MeasuredResult)
	measured, err := trace.ReadPoints(res.Measurement.Path)
	if err != nil {
		t.Fatal(err)
	}
	run := measured[0].Runs[0]
	if run.State != trace.OK || res.Points[0].State != "ok" {
		t.Errorf("a rate is %s (%s) before the comparison has seen it", run.State, run.Reason)
	}
	if state, _ := stateOf(trace.Replay, run.Rows); state != trace.Overloaded {
		t.Error("the test shows nothing: nobody waited when the last request arrived")
	}
}

// A limit in milliseconds lets an engine that answers in a few pass with a
// client that is a good part of what it measures.
func TestLatenessIsHeldAgainstTTFT(t *testing.T) {
	of := func(late time.Duration, ttft time.Duration, state trace.State) (trace.Run, *part) {
		run := trace.Run{Seed: 2, State: state}
		for i := range 9 {
			run.Rows = append(run.Rows, trace.Row{Request: trace.Request{ID: i}, First: ttft, Last: ttft})
		}
		if state == trace.Skipped {
			run.Rows = nil
		}
		return run, &part{Report: loadgen.Report{Late: loadgen.Spread{P50: late}}}
	}
	for _, c := range []struct {
		why        string
		late, ttft time.Duration
		state      trace.State
		want       string // "" is no doubt
	}{
		{"a tenth of TTFT, and far below 25 ms", time.Millisecond, 10 * time.Millisecond, trace.OK, "more than 2 % of TTFT in 1 of 2 runs: at rps-8, run 2, sent - due is 1 ms at P50, TTFT 10 ms"},
		{"exactly 2 %", time.Millisecond, 50 * time.Millisecond, trace.OK, ""},
		{"a slow engine does not mind", 10 * time.Millisecond, 2 * time.Second, trace.OK, ""},
		{"a run that is not used anyway", time.Second, time.Millisecond, trace.Skipped, ""},
	} {
		run, p := of(c.late, c.ttft, c.state)
		calm, q := of(0, c.ttft, trace.OK)
		points := []trace.Point{{Name: "rps-1", Group: trace.Sweep, Runs: []trace.Run{calm}}, {Name: "rps-8", Group: trace.Sweep, Runs: []trace.Run{run}}}
		res := &MeasuredResult{}
		res.late(schedule(points), points, []*part{q, p})
		if got := strings.Join(res.Doubts, "; "); c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("%s: doubts %q, want %q", c.why, got, c.want)
		}
	}
}

// A part is taken again only by a run that would have measured the same.
func TestThePartKeyHoldsWhatDecidesAPart(t *testing.T) {
	key := func(change func(b *bench, p *trace.Point, r *trace.Run)) string {
		h := hardware(Engine{}, small())
		b := &bench{HardwareRun: h, session: &Session{Identity: "an engine"}}
		p := trace.Point{Name: "rps-2", Group: trace.Sweep}
		r := trace.Run{Seed: 1, Requests: []trace.Request{{Prompt: 5, Output: 2}}}
		change(b, &p, &r)
		return b.key(p.Name, p, r)
	}
	same := key(func(*bench, *trace.Point, *trace.Run) {})
	for why, change := range map[string]func(b *bench, p *trace.Point, r *trace.Run){
		"the engine":               func(b *bench, _ *trace.Point, _ *trace.Run) { b.session.Identity = "another" },
		"the model asked for":      func(b *bench, _ *trace.Point, _ *trace.Run) { b.Engine.Model = "m" },
		"the endpoint":             func(b *bench, _ *trace.Point, _ *trace.Run) { b.Engine.API = "chat" },
		"what prompts are":         func(b *bench, _ *trace.Point, _ *trace.Run) { b.Engine.Prompt = "text" },
		"the fields":               func(b *bench, _ *trace.Point, _ *trace.Run) { b.Engine.Fields = "openai" },
		"the vocabulary":           func(b *bench, _ *trace.Point, _ *trace.Run) { b.Engine.Vocab = 100 },
		"the seed of the prompts":  func(b *bench, _ *trace.Point, _ *trace.Run) { b.Workload.Seed = 2 },
		"the warm-up":              func(b *bench, _ *trace.Point, _ *trace.Run) { b.WarmUp++ },
		"the bound in flight":      func(b *bench, _ *trace.Point, _ *trace.Run) { b.InFlight++ },
		"the time limit":           func(b *bench, _ *trace.Point, _ *trace.Run) { b.Timeout++ },
		"the limit of lateness":    func(b *bench, _ *trace.Point, _ *trace.Run) { b.Limits.Lateness++ },
		"the number of attempts":   func(b *bench, _ *trace.Point, _ *trace.Run) { b.Limits.Attempts++ },
		"one at a time or not":     func(_ *bench, p *trace.Point, _ *trace.Run) { p.Group = trace.Probe },
		"the length of a request":  func(_ *bench, _ *trace.Point, r *trace.Run) { r.Requests[0].Output++ },
		"the arrival of a request": func(_ *bench, _ *trace.Point, r *trace.Run) { r.Requests[0].Due++ },
		"what a prompt shares": func(_ *bench, _ *trace.Point, r *trace.Run) {
			r.Requests[0].Content = &trace.Content{Tokens: 512, IDs: []uint64{7}}
		},
	} {
		if key(change) == same {
			t.Errorf("%s decides what a part holds and is not in its key", why)
		}
	}
	if key(func(b *bench, _ *trace.Point, _ *trace.Run) { b.Limits.Failures = 0.5 }) != same {
		t.Error("the limit of failures judges a part that is there; it must not measure it again")
	}
}

// tune and diff leave the same points out, and a single answer that failed is
// no reason.
func TestAPointIsLeftOutByOneRule(t *testing.T) {
	one := func(change func(r *trace.Row)) func(rows []trace.Row) {
		return func(rows []trace.Row) { change(&rows[100]) }
	}
	for _, c := range []struct {
		why      string
		change   func(rows []trace.Row)
		unstable bool
	}{
		{"all is well", one(func(*trace.Row) {}), false},
		{"more comes than is served", func(rows []trace.Row) {
			for i := range rows {
				rows[i].First += time.Duration(i) * time.Second / 2
				rows[i].Last += time.Duration(i) * time.Second / 2
			}
		}, true},
		{"cut in the middle", one(func(r *trace.Row) { r.Error, r.Status = "cut", 200 }), false},
		{"no answer at all", one(func(r *trace.Row) { r.Error, r.Status, r.First, r.Last = "time limit", 0, 0, 0 }), false},
		{"refused", one(func(r *trace.Row) { r.Error, r.Status, r.First, r.Last = "busy", 503, 0, 0 }), false},
		{"never sent", one(func(r *trace.Row) { r.Error, r.Sent, r.First, r.Last = "too many in flight", 0, 0, 0 }), false},
	} {
		run := trace.Run{Seed: 1, State: trace.OK}
		for i := range 300 {
			req := trace.Request{ID: i, Due: time.Duration(i) * time.Second, Prompt: 10, Output: 5}
			run.Requests = append(run.Requests, req)
			run.Rows = append(run.Rows, trace.Row{Request: req, Sent: req.Due + 1, First: req.Due + 5e7, Last: req.Due + 1e8, Prompted: 10, Tokens: 5})
		}
		simulated := []trace.Point{{Name: "rps-1", Group: trace.Sweep, Rate: 1, Runs: []trace.Run{run}}}
		run.Rows = append([]trace.Row(nil), run.Rows...)
		c.change(run.Rows)
		p := trace.Point{Name: "rps-1", Group: trace.Sweep, Rate: 1, Runs: []trace.Run{run}}
		got, err := compare.Compare([]trace.Point{p}, simulated, compare.Options{Draws: 10})
		if err != nil {
			t.Fatal(err)
		}
		if inDiff := got.Result.Points["rps-1"].State != "stable"; inDiff != c.unstable || unstable(p) != c.unstable {
			t.Errorf("%s: left out by diff: %v, by tune: %v, want %v", c.why, inDiff, unstable(p), c.unstable)
		}
	}
}

// An engine beside calrun on a machine with too little room is not what it is
// alone.
func TestAMachineWithoutRoomIsDoubted(t *testing.T) {
	run := func(name string, waited *float64) PointRun { return PointRun{Name: name, Seed: 1, Waited: waited} }
	for _, c := range []struct {
		why    string
		points []PointRun
		want   string // "" is no doubt
	}{
		{"work waits half the time", []PointRun{run("rps-1", new(0.02)), run("rps-2", new(0.5)), run("rps-3", new(0.2))}, "in 2 of 3 runs something here waited for a core for more than 10 % of the time (rps-2, run 1: 50 %)"},
		{"a tenth is no matter", []PointRun{run("rps-1", new(0.1))}, ""},
		{"a kernel that does not say", []PointRun{run("rps-1", nil)}, ""},
	} {
		res := &MeasuredResult{Points: c.points}
		res.crowd()
		if got := strings.Join(res.Doubts, "; "); c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("%s: doubts %q, want %q", c.why, got, c.want)
		}
	}
}
