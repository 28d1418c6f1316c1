package steps

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"calrun/internal/emulator"
	"calrun/internal/engine"
	"calrun/internal/profile"
	"calrun/internal/trace"
	"calrun/internal/workload"
	"calrun/pipeline"
)

// fast is an emulated engine whose step takes half a millisecond.
func fast() *emulator.Config {
	return &emulator.Config{Step: profile.StepTime{Base: profile.Cost(500e-6)}, Seed: 3}
}

// small is a workload of a second.
func small() Workload {
	return Workload{
		Seed: 1, MaxTotal: 600,
		Probes: &workload.Probes{Lengths: [][]int{{16, 4}, {64, 2}}, Requests: 3},
		Sweep: &Sweep{
			Arrivals: "poisson", RPS: []float64{400, 200}, Requests: 40, Seeds: 2,
			Distribution: &workload.Distribution{Prompt: workload.Range{Min: 16, Max: 512, Median: 200}, Output: workload.Range{Min: 1, Max: 6}},
		},
	}
}

func hardware(e Engine, w Workload) *HardwareRun {
	e.API, e.Prompt, e.Fields, e.Vocab = "completions", "tokens", "vllm", 4000
	return &HardwareRun{Engine: e, Workload: w, WarmUp: 1, Timeout: 10 * time.Second, Limits: RunLimits{Failures: 0.01, Attempts: 1}}
}

func TestHardwareRunAgainstTheEmulator(t *testing.T) {
	rt := pipeline.NewScratch(t.TempDir(), zerolog.Nop())
	h := hardware(Engine{Emulator: fast()}, small())
	got, err := h.Run(t.Context(), rt)
	if err != nil {
		t.Fatal(err)
	}
	res := got.(*MeasuredResult)
	if n := 2*3 + 2*2*40; res.Arrivals != n || res.Sent != n || res.Completed != n || res.Sent != res.Completed+res.Failed || res.NotSent != 0 || res.Mismatched != 0 {
		t.Errorf("%+v", res)
	}
	if res.Tokens.Equal == nil || !*res.Tokens.Equal || float64(res.Tokens.Output) != *res.Tokens.EngineGenerated || float64(res.Tokens.Prompt) != *res.Tokens.EnginePrompt {
		t.Errorf("the client's totals are not the engine's: %+v", res.Tokens)
	}
	if res.Engine.Name != engine.Emulator || res.Ended == "" {
		t.Errorf("%+v", res)
	}
	measured, err := trace.ReadPoints(res.Measurement.Path)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, p := range measured {
		names = append(names, p.Name)
		for _, run := range p.Runs {
			lawful(t, p, run)
		}
	}
	if want := []string{"probe-16-4", "probe-64-2", "rps-200", "rps-400"}; !reflect.DeepEqual(names, want) || !reflect.DeepEqual(names, h.Names(pipeline.Static{})["workload"]) {
		t.Errorf("points %v, want %v", names, want)
	}
	blind(t, res.Workload.Path, measured)
	schema := resultSchema(t)
	for _, name := range []string{"engine.json", "host.json", "metrics.jsonl", "points/rps-200/2/trace.csv", "points/rps-200/2/requests.jsonl"} {
		if _, err := os.Stat(filepath.Join(res.Measurement.Path, name)); err != nil {
			t.Error(err)
		}
	}
	for _, p := range res.Points {
		data, err := os.ReadFile(filepath.Join(trace.RunDir(res.Measurement.Path, p.Name, p.Seed), "result.json"))
		if err != nil {
			t.Fatal(err)
		}
		if bad := validate(t, schema, data); bad != nil {
			t.Errorf("%s: %v", p.Name, bad)
		}
	}
}

// lawful holds a run to what is true of every run, however slow the machine.
func lawful(t *testing.T, p trace.Point, run trace.Run) {
	t.Helper()
	// A busy machine may overload even this engine; nothing else is excused.
	if run.State != trace.OK && run.State != trace.Overloaded || len(run.Rows) != len(run.Requests) {
		t.Fatalf("%s: %s (%s), %d rows for %d requests", p.Name, run.State, run.Reason, len(run.Rows), len(run.Requests))
	}
	for i, r := range run.Rows {
		if r.Due > r.Sent || r.Sent > r.First || r.First > r.Last || r.Last > run.Window {
			t.Errorf("%s row %d: due %v sent %v first %v last %v end %v", p.Name, i, r.Due, r.Sent, r.First, r.Last, run.Window)
		}
		if q := run.Requests[i]; r.Prompted != q.Prompt || r.Tokens != q.Output || r.Status != 200 {
			t.Errorf("%s row %d: %+v for %+v", p.Name, i, r, q)
		}
	}
}

// blind holds the workload to having the requests of the measurement and not
// one latency.
func blind(t *testing.T, dir string, measured []trace.Point) {
	t.Helper()
	points, err := trace.ReadPoints(dir)
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range points {
		for j, run := range p.Runs {
			if run.Rows != nil || run.State != "" || run.Window != 0 || !reflect.DeepEqual(run.Requests, measured[i].Runs[j].Requests) {
				t.Errorf("%s: a workload holds requests alone, and those of the measurement", p.Name)
			}
		}
	}
	_ = filepath.WalkDir(dir, func(path string, _ fs.DirEntry, _ error) error {
		switch filepath.Base(path) {
		case "requests.jsonl", "run.json", "result.json", "metrics.jsonl", "part.json":
			t.Errorf("%s has no business in a workload", path)
		}
		return nil
	})
}

// A second attempt measures nothing again.
func TestPartsAreKept(t *testing.T) {
	rt := pipeline.NewScratch(t.TempDir(), zerolog.Nop())
	w := small()
	w.Probes, w.Sweep.Seeds = nil, 1
	one, err := hardware(Engine{Emulator: fast()}, w).Run(t.Context(), rt)
	if err != nil {
		t.Fatal(err)
	}
	before, err := trace.ReadPoints(one.(*MeasuredResult).Measurement.Path)
	if err != nil {
		t.Fatal(err)
	}
	w.Sweep.Seeds = 2
	two, err := hardware(Engine{Emulator: fast()}, w).Run(t.Context(), rt)
	if err != nil {
		t.Fatal(err)
	}
	after, err := trace.ReadPoints(two.(*MeasuredResult).Measurement.Path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range before {
		if len(after[i].Runs) != 2 || !reflect.DeepEqual(before[i].Runs[0], after[i].Runs[0]) {
			t.Errorf("%s: seed 1 was measured again", before[i].Name)
		}
	}
	other := fast()
	other.Seed = 4
	three, err := hardware(Engine{Emulator: other}, w).Run(t.Context(), rt)
	if err != nil {
		t.Fatal(err)
	}
	mixed, err := trace.ReadPoints(three.(*MeasuredResult).Measurement.Path)
	if err != nil {
		t.Fatal(err)
	}
	if reflect.DeepEqual(after[0].Runs[0].Rows, mixed[0].Runs[0].Rows) {
		t.Error("another engine's part was taken")
	}
}

func TestFaultsAreCounted(t *testing.T) {
	cfg := fast()
	cfg.Faults = emulator.Faults{Every: 5, Status: 503, Truncate: 7}
	w := small()
	w.Probes, w.Sweep.Seeds, w.Sweep.RPS = nil, 1, []float64{400}
	got, err := hardware(Engine{Emulator: cfg}, w).Run(t.Context(), pipeline.NewScratch(t.TempDir(), zerolog.Nop()))
	if err != nil {
		t.Fatal(err)
	}
	res := got.(*MeasuredResult)
	if res.Failed == 0 || res.Sent != res.Completed+res.Failed || res.Sent != 40 {
		t.Errorf("%+v", res)
	}
	if p := res.Points[0]; p.State != "invalid" || !strings.Contains(p.Reason, "requests failed") {
		t.Errorf("%+v", p)
	}
}

func TestEnginesThatAreNotThere(t *testing.T) {
	w := small()
	for _, c := range []struct {
		name string
		e    Engine
		want string
	}{
		{"nothing listens", Engine{URL: "http://127.0.0.1:1"}, "was not ready after"},
		{"no such command", Engine{URL: "http://127.0.0.1:1", Start: &Start{Command: []string{"no-such-engine"}}}, "no-such-engine"},
		{"ends at once", Engine{URL: "http://127.0.0.1:1", Start: &Start{Command: []string{"sh", "-c", "echo out of memory >&2; exit 3"}, Ready: time.Minute}}, "out of memory"},
		{"no engine", Engine{}, "no engine is named"},
		{"two engines", Engine{URL: "http://127.0.0.1:1", Emulator: fast()}, "which one is meant?"},
	} {
		patience := time.Minute
		if c.e.URL != "" && c.e.Start == nil && c.e.Emulator == nil {
			patience = 100 * time.Millisecond // nothing else ends its wait
		}
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		_, err := hardware(c.e, w).Run(ctx, pipeline.NewScratch(t.TempDir(), zerolog.Nop()))
		cancel()
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

func TestHardwareRunChecks(t *testing.T) {
	h := hardware(Engine{}, Workload{MaxTotal: 100, Probes: &workload.Probes{Lengths: [][]int{{90, 20}}, Requests: 1}, Sweep: &Sweep{Arrivals: "poisson", RPS: []float64{1}, Requests: 1, Seeds: 1}})
	var got []string
	for _, p := range h.Check(pipeline.Static{}) {
		got = append(got, p.Field+": "+p.Message)
	}
	want := []string{"workload.probes.lengths[0]: 90 + 20 tokens", "workload.sweep: no lengths", "engine: no engine is named"}
	if len(got) != len(want) {
		t.Fatalf("%q", got)
	}
	for i := range want {
		if !strings.HasPrefix(got[i], want[i]) {
			t.Errorf("%q, want %q", got[i], want[i])
		}
	}
	if s, ok := hardware(Engine{}, small()).Estimate(pipeline.Static{}); !ok || s < 0.6 || s > 2 {
		t.Errorf("estimate %v %v", s, ok)
	}
}
