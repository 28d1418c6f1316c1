package steps

import (
	"context"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"calrun/internal/engine"
	"calrun/internal/profile"
	"calrun/internal/shared"
	"calrun/internal/trace"
	"calrun/internal/vidur"
	"calrun/pipeline"
)

// llama2 is an engine as a deployment of the A800 profile's model states it.
func llama2() engine.Facts {
	n := func(v int) *int { return &v }
	chunked := true
	return engine.Facts{
		Model: "meta-llama/Llama-2-7b-hf", GPU: "NVIDIA A800-SXM4-80GB", BlockSize: n(16), KVBlocks: n(5000),
		MaxNumSeqs: n(64), MaxTokens: n(512), Chunked: &chunked,
	}
}

// vidurInputs is a simulation with the stand-in for Vidur, whose times are
// known; every call of it adds a line to calls.
func vidurInputs(t *testing.T, facts engine.Facts, points []trace.Point) (s *Simulate, calls func() int) {
	t.Helper()
	exe, err := filepath.Abs("../internal/vidur/testdata/python")
	if err != nil {
		t.Fatal(err)
	}
	log := filepath.Join(t.TempDir(), "calls")
	t.Setenv("CALLS", log)
	t.Setenv("CALRUN_CACHE", t.TempDir())
	s = simulateInputs(t, &facts, points)
	s.Simulator, s.Vidur.Python = realVidur, exe
	s.Profiles.Path = shared.Path(t, "profiles/vidur")
	return s, func() int {
		data, err := os.ReadFile(log)
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		return strings.Count(string(data), "\n")
	}
}

func TestSimulateVidur(t *testing.T) {
	points := workloadPoints()
	crash := evenly(3, time.Second)
	crash[1].Prompt = 666
	points = append(points, trace.Point{Name: "rps-1", Group: trace.Sweep, Rate: 1, Runs: []trace.Run{{Seed: 1, Requests: crash}}})
	s, calls := vidurInputs(t, llama2(), points)
	rt := pipeline.NewScratch(t.TempDir(), zerolog.Nop())
	out, err := s.Run(context.Background(), rt)
	if err != nil {
		t.Fatal(err)
	}
	res := out.(*SimulateResult)
	if want := "vidur registry 0.0.26 (Python 3.11.7, packages 0123456789ab)"; res.Simulator != want || res.Outside != nil || len(res.Doubts) != 0 {
		t.Errorf("simulator %q, outside %v, doubts %q", res.Simulator, res.Outside, res.Doubts)
	}
	if *res.Params.KVBlocks != 5000 || *res.Params.BatchSizeCap != 64 || *res.Params.ChunkSize != 512 {
		t.Errorf("the parameters that took effect are %+v", res.Params)
	}
	if res.States["rps-1"] != string(trace.Crashed) || !strings.Contains(res.Reasons["rps-1"], "cannot preempt") || res.States["replay"] != "ok" {
		t.Errorf("states are %v, because %v", res.States, res.Reasons)
	}
	got, err := trace.ReadPoints(res.Simulation.Path)
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range got {
		for j, r := range p.Runs {
			if r.Seed != points[i].Runs[j].Seed || !reflect.DeepEqual(r.Requests, points[i].Runs[j].Requests) {
				t.Errorf("%s/%d: the simulation holds other requests than the workload", p.Name, r.Seed)
			}
			for _, row := range r.Rows {
				if row.TTFT() != time.Duration(row.Prompt)*time.Millisecond || row.E2E()-row.TTFT() != time.Duration(row.Output-1)*10*time.Millisecond {
					t.Fatalf("%s: request %d has TTFT %v and E2E %v", p.Name, row.ID, row.TTFT(), row.E2E())
				}
			}
		}
	}
	if n := calls(); n != 6 { // training, probe, three rates, a replay whose repeats are the same
		t.Errorf("Vidur ran %d times, want 6", n)
	}
	if _, err := s.Run(context.Background(), rt); err != nil {
		t.Fatal(err)
	}
	if n := calls(); n != 6 {
		t.Errorf("a second attempt ran Vidur %d times again", n-6)
	}
}

// What the machine does to a run is no result: the step ends with an error,
// and the next attempt simulates what is missing alone.
func TestSimulateVidurInterrupted(t *testing.T) {
	killed := evenly(3, time.Second)
	killed[1].Prompt = 999
	points := []trace.Point{
		{Name: "rps-1", Group: trace.Sweep, Rate: 1, Runs: []trace.Run{{Seed: 1, Requests: evenly(3, time.Second)}}},
		{Name: "rps-2", Group: trace.Sweep, Rate: 2, Runs: []trace.Run{{Seed: 1, Requests: killed}}},
	}
	s, calls := vidurInputs(t, llama2(), points)
	rt := pipeline.NewScratch(t.TempDir(), zerolog.Nop())
	if _, err := s.Run(context.Background(), rt); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Fatalf("a killed Vidur: %v", err)
	}
	before := calls()
	if _, err := s.Run(context.Background(), rt); err == nil {
		t.Fatal("a killed Vidur passed")
	}
	if n := calls() - before; n != 1 {
		t.Errorf("an attempt with one point missing ran Vidur %d times", n)
	}
}

func TestVidurSetup(t *testing.T) {
	prof, err := profile.OpenFor(shared.Path(t, "profiles/vidur"), profile.Want{})
	if err != nil {
		t.Fatal(err)
	}
	f := func(v float64) *float64 { return &v }
	yes, no := true, false
	for _, c := range []struct {
		why    string
		change func(*engine.Facts, *Deployment, *Params)
		want   func(*vidur.Setup)
		doubts int
	}{
		{"chunked prefill is sarathi", func(*engine.Facts, *Deployment, *Params) {}, func(*vidur.Setup) {}, 0},
		{"whole prompts are vllm", func(e *engine.Facts, _ *Deployment, _ *Params) { e.Chunked = &no }, func(s *vidur.Setup) { s.Scheduler = vidur.VLLM }, 0},
		{"nobody states it", func(e *engine.Facts, _ *Deployment, _ *Params) { e.Chunked = nil }, func(*vidur.Setup) {}, 1},
		{"what Vidur does not do is a doubt", func(e *engine.Facts, _ *Deployment, _ *Params) { e.PrefixCache, e.Async = &yes, &yes }, func(*vidur.Setup) {}, 2},
		{"memory as the engine has it", func(e *engine.Facts, d *Deployment, _ *Params) { e.MemoryShare, d.MemoryShare = f(0.75), 0.5 }, func(s *vidur.Setup) { s.Margin = 0.25 }, 0},
		{"memory as it was asked for", func(_ *engine.Facts, d *Deployment, _ *Params) { d.MemoryShare = 0.5 }, func(s *vidur.Setup) { s.Margin = 0.5 }, 0},
		{"a card that Vidur does not know gives way to the profile's", func(e *engine.Facts, _ *Deployment, _ *Params) { e.GPU = "emulated" }, func(*vidur.Setup) {}, 0},
		{"no bound on blocks is more than can be held at once", func(e *engine.Facts, _ *Deployment, _ *Params) { e.KVBlocks = nil }, func(s *vidur.Setup) { s.Blocks = 4139 }, 1}, // 64 × 64 / 0.99 and one
		{
			"fitted parameters",
			func(_ *engine.Facts, _ *Deployment, p *Params) {
				p.CPUOverhead, p.FrontEnd, p.KMLP = f(0.002), f(0.001), f(1.5)
			},
			func(s *vidur.Setup) {
				s.Scale.Overhead, s.FrontEnd, s.Scale.MLP = 2*time.Millisecond, time.Millisecond, 1.5
			},
			0,
		},
	} {
		facts, d, p := llama2(), Deployment{}, Params{}
		c.change(&facts, &d, &p)
		set, err := decide(p, facts, d)
		if err != nil {
			t.Fatal(err)
		}
		plan := vidurPlan{set: set, facts: facts, deployment: d, prof: prof}
		got, err := plan.setup(vidur.Registry, "", 1000)
		if err != nil {
			t.Errorf("%s: %v", c.why, err)
			continue
		}
		want := vidur.Defaults()
		want.Model, want.Device, want.Node = "meta-llama/Llama-2-7b-hf", "a100", "a100_dgx"
		want.MaxSeqs, want.MaxTokens, want.BlockSize, want.Blocks = 64, 512, 16, 5000
		want.Scale = profile.Scale{MLP: 1, Attn: 1, Comm: 1}
		want.Reach(1000)
		c.want(&want)
		if got != want || len(plan.set.Doubts) != c.doubts {
			t.Errorf("%s: %+v with doubts %q, want %+v", c.why, got, plan.set.Doubts, want)
		}
	}
}

func TestSimulateVidurRefuses(t *testing.T) {
	seq := 0.001
	for _, c := range []struct {
		why    string
		change func(*Simulate)
		says   string
	}{
		{"a parameter without a place in Vidur", func(s *Simulate) { s.Params.PerSequence = &seq }, "no place for a time per sequence"},
		{"vLLM's scheduler", func(s *Simulate) { s.Params.Scheduler = "v1" }, "no place for vLLM's own scheduler"},
		{"a profile of another layout", func(s *Simulate) { s.Profiles.Path = t.TempDir() }, "no mlp.csv"},
		{"stages", func(s *Simulate) { s.Deployment.PP = 2 }, "pipeline stages"},
		{"an interpreter that is not there", func(s *Simulate) { s.Vidur.Python = "/nowhere/python" }, "vidur.python is /nowhere/python"},
	} {
		s, _ := vidurInputs(t, llama2(), workloadPoints()[:1])
		c.change(s)
		if _, err := s.Run(context.Background(), pipeline.NewScratch(t.TempDir(), zerolog.Nop())); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", c.why, err)
		}
	}
	s := &Simulate{Simulator: realVidur, Profiles: pipeline.Artefact{Path: "p"}, Params: Params{PerSequence: &seq}, Deployment: Deployment{PP: 2}}
	if ps := s.Check(pipeline.Static{}); len(ps) != 2 {
		t.Errorf("known at load time: %+v", ps)
	}
}

func TestSimulateVidurIdentity(t *testing.T) {
	s, calls := vidurInputs(t, llama2(), workloadPoints()[:1])
	id, err := s.Identity(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if id["simulator"] != "vidur registry 0.0.26 (Python 3.11.7, packages 0123456789ab)" || id["adapter"] != vidur.Digest() || calls() != 0 {
		t.Errorf("identity is %v after %d simulations", id, calls())
	}
}
