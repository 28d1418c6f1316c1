package steps

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"calrun/internal/engine"
	"calrun/internal/fit"
	"calrun/internal/profile"
	"calrun/internal/trace"
	"calrun/internal/vidur"
	"calrun/pipeline"
)

// foreign is a slow simulator that a test can look into: other step times than
// its twin has, and a kernel switch that the twin does not know.
type foreign struct {
	asked int
	crash func(Params) bool
}

func (f *foreign) simulate(ctx context.Context, points []trace.Point, p Params) ([]trace.Point, error) {
	f.asked++
	set, err := settle(p, engine.Facts{}, Deployment{})
	if err != nil {
		return nil, err
	}
	own := profile.StepTime{Base: 6e-3, PerPrefillToken: 18e-6, PerSequence: 90e-6}
	own.Base += profile.Cost(orZero(p.CPUOverhead))
	sim := embeddedRuns{Config: set.Config, Model: switched{own}}
	out, _, err := sim.Points(ctx, points, nil)
	if f.crash != nil && f.crash(p) {
		for i := range out {
			for j := range out[i].Runs {
				out[i].Runs[j].State, out[i].Runs[j].Reason, out[i].Runs[j].Rows = trace.Crashed, "out of blocks", nil
			}
		}
	}
	return out, err
}

// switched takes another kernel above 8 sequences.
type switched struct{ profile.StepTime }

func (s switched) Step(b *profile.Batch) (time.Duration, bool) {
	d, outside := s.StepTime.Step(b)
	if b.Sequences() > 8 {
		d += 400 * time.Microsecond
	}
	return d, outside
}

// A simulator that takes seconds is tuned with a handful of its simulations,
// and what is said of the fit is its own, not its twin's.
func TestTuneSlowly(t *testing.T) {
	ctx := context.Background()
	for _, c := range []struct {
		why                    string
		overhead, front, start float64
	}{
		{"both constants are missing", 3.2e-3, 4e-3, 0},
		{"the overhead is too large at the start", 1.5e-3, 2e-3, 8e-3},
		{"the start is right", 2e-3, 1e-3, -1},
	} {
		truth := Params{CPUOverhead: &c.overhead, FrontEnd: &c.front}
		slow := &foreign{}
		h := quick(4)
		measured, err := slow.simulate(ctx, h.measure(t, 20, 30), truth)
		if err != nil {
			t.Fatal(err)
		}
		jitter(measured, 0.01)
		near, err := openWhatIf(embedded, stepProfile(t, "5ms").Path, Deployment{}, engine.Facts{})
		if err != nil {
			t.Fatal(err)
		}
		slow.asked = 0
		s := &Tune{
			Start: Params{CPUOverhead: new(c.start), FrontEnd: new(0.0)}, FitOn: []string{"probes", "rps-30"}, Simulator: realVidur,
			Knobs: map[string]KnobRange{"cpu_overhead_s": {Hi: 0.02}, "front_end_s": {Hi: 0.02}},
		}
		if c.start < 0 {
			s.Start = truth
		}
		r, err := s.tune(ctx, scratch(t), measured, engine.Facts{}, tuned{sim: near, slow: slow.simulate})
		if err != nil {
			t.Fatalf("%s: %v", c.why, err)
		}
		t.Logf("%s: %d simulations, loss %.3g → %.3g, %+v %v", c.why, slow.asked, r.LossBefore, r.LossAfter, r.Knobs, r.Notes)
		if r.Simulated != slow.asked || slow.asked > 7 || r.Exhausted {
			t.Errorf("%s: it says %d simulations and made %d, exhausted %v", c.why, r.Simulated, slow.asked, r.Exhausted)
		}
		for _, k := range r.Knobs {
			want := map[string]float64{"cpu_overhead_s": c.overhead, "front_end_s": c.front}[k.Name]
			if math.Abs(k.Value-want) > 1e-4 || k.Low == nil || *k.Low > k.Value || *k.High < k.Value {
				t.Errorf("%s: %s is %g between %v and %v, want %g", c.why, k.Name, k.Value, orZero(k.Low), orZero(k.High), want)
			}
		}
		if r.LossAfter > r.LossBefore || r.Improved != (c.start >= 0) {
			t.Errorf("%s: loss %g → %g, improved %v", c.why, r.LossBefore, r.LossAfter, r.Improved)
		}
		again, err := slow.simulate(ctx, measured, r.Params)
		if err != nil {
			t.Fatal(err)
		}
		on, err := s.points(measured)
		if err != nil {
			t.Fatal(err)
		}
		rs, err := fit.Compare(on, again, probesWeigh)
		if err != nil || len(rs) != len(r.Residuals) {
			t.Fatalf("%s: %d residuals of %d, %v", c.why, len(r.Residuals), len(rs), err)
		}
		for i, x := range r.Residuals {
			if x.Point != rs[i].Point || math.Abs(rs[i].Log-x.After) > 1e-9 {
				t.Errorf("%s: %s %s of %s is said to be off by %g and is by %g", c.why, x.Metric, x.Statistic, x.Point, x.After, rs[i].Log)
			}
		}
	}
}

// jitter makes a measurement of a simulation.
func jitter(points []trace.Point, by float64) {
	rng := rand.New(rand.NewPCG(7, 7))
	for _, p := range points {
		for _, r := range p.Runs {
			for i := range r.Rows {
				row := &r.Rows[i]
				first, rest := float64(row.First-row.Due), float64(row.Last-row.First)
				row.First = row.Due + time.Duration(first*(1+by*rng.NormFloat64()))
				row.Last = row.First + time.Duration(rest*(1+by*rng.NormFloat64()))
				row.Status = 200
			}
		}
	}
}

// A place where the slow simulator crashes is left alone; a start where it
// does is an error that says why.
func TestTuneSlowlyCrashes(t *testing.T) {
	ctx := context.Background()
	slow := &foreign{}
	measured, err := slow.simulate(ctx, quick(4).measure(t, 30), Params{CPUOverhead: new(3e-3)})
	if err != nil {
		t.Fatal(err)
	}
	jitter(measured, 0.01)
	near, err := openWhatIf(embedded, stepProfile(t, "5ms").Path, Deployment{}, engine.Facts{})
	if err != nil {
		t.Fatal(err)
	}
	s := &Tune{
		Start: Params{CPUOverhead: new(0.0)}, FitOn: []string{"probes", "rps-30"}, Simulator: realVidur,
		Knobs: map[string]KnobRange{"cpu_overhead_s": {Hi: 0.02}},
	}
	slow.crash = func(p Params) bool { return *p.CPUOverhead > 2e-3 }
	r, err := s.tune(ctx, scratch(t), measured, engine.Facts{}, tuned{sim: near, slow: slow.simulate})
	if err != nil {
		t.Fatal(err)
	}
	if v := *r.Params.CPUOverhead; v > 2e-3 || r.LossAfter > r.LossBefore {
		t.Errorf("tuned to %g s, where it crashes above 2 ms; loss %g → %g", v, r.LossBefore, r.LossAfter)
	}
	if !strings.Contains(strings.Join(r.Notes, "\n"), "out of blocks") {
		t.Errorf("the notes do not say that it crashed: %q", r.Notes)
	}
	slow.crash = func(Params) bool { return true }
	if _, err := s.tune(ctx, scratch(t), measured, engine.Facts{}, tuned{sim: near, slow: slow.simulate}); err == nil || !strings.Contains(err.Error(), "out of blocks") {
		t.Errorf("a start that crashes: %v", err)
	}
	boom := errors.New("the machine has no room")
	failing := func(context.Context, []trace.Point, Params) ([]trace.Point, error) { return nil, boom }
	if _, err := s.tune(ctx, scratch(t), measured, engine.Facts{}, tuned{sim: near, slow: failing}); !errors.Is(err, boom) {
		t.Errorf("a machine in trouble: %v", err)
	}
}

// Vidur is tuned through the adapter: every simulation is a durable part, so
// that what a killed tune has simulated is not simulated again.
func TestTuneVidur(t *testing.T) {
	points := []trace.Point{
		{Name: "probe-100-10", Group: trace.Probe, Runs: []trace.Run{{Seed: 1, Requests: evenly(12, 0)}}},
		{Name: "rps-1", Group: trace.Sweep, Rate: 1, Runs: []trace.Run{{Seed: 1, Requests: evenly(60, time.Second)}}},
		{Name: "rps-2", Group: trace.Sweep, Rate: 2, Runs: []trace.Run{{Seed: 1, Requests: evenly(60, time.Second/2)}}},
	}
	sim, calls := vidurInputs(t, llama2(), points)
	const front = 25 * time.Millisecond
	standInAnswers(points, front, 10*time.Millisecond)
	step := &Tune{
		Measured: folder(t, "measurement", points, llama2()), Profiles: sim.Profiles, Simulator: realVidur, Vidur: sim.Vidur,
		FitOn: []string{"probes", "rps-1"}, Knobs: map[string]KnobRange{"front_end_s": {Hi: 0.1}},
	}
	rt := scratch(t)
	out, err := step.Run(context.Background(), rt)
	if err != nil {
		t.Fatal(err)
	}
	r := out.(*TuneResult)
	if v := orZero(r.Params.FrontEnd); math.Abs(v-front.Seconds()) > 1e-4 || !r.Improved {
		t.Errorf("front end %g s, want %v; %+v", v, front, r)
	}
	asked := calls()
	if asked > 1+2*7 { // training once, two points for each place
		t.Errorf("Vidur ran %d times", asked)
	}
	if _, err := step.Run(context.Background(), rt); err != nil {
		t.Fatal(err)
	}
	if calls() != asked {
		t.Errorf("a second attempt ran Vidur %d times again", calls()-asked)
	}

	id, err := step.Identity(context.Background())
	if err != nil || !strings.Contains(id["vidur simulator"], "registry 0.0.26") || id["vidur adapter"] != vidur.Digest() || id["fit"] == "" {
		t.Errorf("identity %v, %v", id, err)
	}
	step.Knobs = map[string]KnobRange{"per_sequence_s": {Hi: 1}, "watermark": {Hi: 0.5}, "chunk_size": {Lo: 64, Hi: 512}}
	ps := step.Check(pipeline.Static{})
	if len(ps) != 1 || ps[0].Field != "knobs.per_sequence_s" || !strings.Contains(ps[0].Message, "Vidur has no place") {
		t.Errorf("knobs that Vidur does not have: %+v", ps)
	}
}

// standInAnswers fills in what the stand-in for Vidur says, behind a front end
// and with so long a token.
func standInAnswers(points []trace.Point, front, token time.Duration) {
	for i, p := range points {
		for j, r := range p.Runs {
			points[i].Runs[j].State = trace.OK
			for _, q := range r.Requests {
				first := q.Due + front + time.Duration(q.Prompt)*time.Millisecond
				points[i].Runs[j].Rows = append(points[i].Runs[j].Rows, trace.Row{
					Request: q, Sent: q.Due, First: first, Last: first + time.Duration(q.Output-1)*token,
					Prompted: q.Prompt, Tokens: q.Output, FirstTokens: 1, Status: 200,
				})
			}
		}
	}
}

// A diagnosis of Vidur asks it once, or not at all where what it said is
// given, and names what Vidur lacks, not what its twin lacks of it.
func TestDiagnoseVidur(t *testing.T) {
	points := []trace.Point{
		{Name: "probe-100-10", Group: trace.Probe, Runs: []trace.Run{{Seed: 1, Requests: evenly(12, 0)}}},
		{Name: "rps-1", Group: trace.Sweep, Rate: 1, Runs: []trace.Run{{Seed: 1, Requests: evenly(40, time.Second)}}},
	}
	sim, calls := vidurInputs(t, llama2(), points)
	said, err := sim.Run(context.Background(), scratch(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		why   string
		token time.Duration
		given bool
		cause string
	}{
		{"Vidur is right, whatever its twin says, and is asked again", 10 * time.Millisecond, false, "none"},
		{"each step takes 3 ms more", 13 * time.Millisecond, true, "overhead"},
	} {
		measured := clonePoints(points)
		front := time.Duration(0)
		if c.cause == "overhead" {
			front = 3 * time.Millisecond // prompts of one step
		}
		standInAnswers(measured, front, c.token)
		asked := calls()
		step := &Diagnose{
			Measured: folder(t, "measurement", measured, llama2()), Workload: sim.Workload, Profiles: sim.Profiles,
			Params: said.(*SimulateResult).Params, Simulator: realVidur, Vidur: sim.Vidur, Seed: 1,
		}
		if c.given {
			step.Simulated = said.(*SimulateResult).Simulation
		}
		out, err := step.Run(context.Background(), scratch(t))
		if err != nil {
			t.Fatalf("%s: %v", c.why, err)
		}
		r := out.(*DiagnoseResult)
		if r.Cause != c.cause || c.cause == "none" && r.Loss > 1e-9 {
			t.Errorf("%s: the cause is %s (loss %g): %s", c.why, r.Cause, r.Loss, r.Confidence)
		}
		if again := calls() - asked; (again > 0) == c.given {
			t.Errorf("%s: Vidur ran %d times", c.why, again)
		}
	}
}
