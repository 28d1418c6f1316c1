package steps

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"calrun/internal/engine"
	"calrun/internal/simulator"
	"calrun/internal/trace"
	"calrun/pipeline"
)

const stepsProfile = `format: steps
step: {base: 8ms, per_prefill_token: 15us, per_sequence: 0.1ms, per_context_token: 0.02us}
`

// evenly is n requests, one every gap.
func evenly(n int, gap time.Duration) []trace.Request {
	reqs := make([]trace.Request, n)
	for i := range reqs {
		reqs[i] = trace.Request{ID: i, Due: time.Duration(i) * gap, Prompt: 100 + 7*(i%13), Output: 4 + i%9}
	}
	return reqs
}

// simulateInputs writes a workload with the given facts, and a profile.
func simulateInputs(t *testing.T, facts *engine.Facts, points []trace.Point) *Simulate {
	t.Helper()
	dir := t.TempDir()
	work, prof := filepath.Join(dir, "workload"), filepath.Join(dir, "profile")
	for _, d := range []string{work, prof} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := trace.WritePoints(work, points); err != nil {
		t.Fatal(err)
	}
	if facts != nil {
		data, err := json.Marshal(facts)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(work, "engine.json"), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(prof, "profile.yaml"), []byte(stepsProfile), 0o644); err != nil {
		t.Fatal(err)
	}
	return &Simulate{
		Workload: pipeline.Artefact{Of: "workload", Path: work}, Profiles: pipeline.Artefact{Of: "profiles", Path: prof},
		Simulator: embedded,
	}
}

func runSimulate(t *testing.T, s *Simulate) *SimulateResult {
	t.Helper()
	res, err := s.Run(context.Background(), pipeline.NewScratch(t.TempDir(), zerolog.Nop()))
	if err != nil {
		t.Fatal(err)
	}
	return res.(*SimulateResult)
}

func workloadPoints() []trace.Point {
	return []trace.Point{
		{Name: "probe-100-4", Group: trace.Probe, Runs: []trace.Run{{Seed: 1, Requests: evenly(3, 0)}}},
		{Name: "rps-10", Group: trace.Sweep, Rate: 10, Runs: []trace.Run{{Seed: 1, Requests: evenly(60, 100*time.Millisecond)}}},
		{Name: "rps-500", Group: trace.Sweep, Rate: 500, Runs: []trace.Run{{Seed: 1, Requests: evenly(400, 2*time.Millisecond)}}},
		{Name: "replay", Group: trace.Replay, Runs: []trace.Run{
			{Seed: 1, Requests: evenly(20, time.Second)}, {Seed: 2, Requests: evenly(20, time.Second)},
		}},
	}
}

func TestSimulate(t *testing.T) {
	s := simulateInputs(t, nil, workloadPoints())
	res := runSimulate(t, s)
	points, err := trace.ReadPoints(res.Simulation.Path)
	if err != nil {
		t.Fatal(err)
	}
	want := workloadPoints()
	for i, p := range points {
		if p.Name != want[i].Name || len(p.Runs) != len(want[i].Runs) {
			t.Fatalf("point %d is %s with %d runs", i, p.Name, len(p.Runs))
		}
		for j, r := range p.Runs {
			if r.Seed != want[i].Runs[j].Seed || !reflect.DeepEqual(r.Requests, want[i].Runs[j].Requests) || len(r.Rows) != len(r.Requests) {
				t.Errorf("%s/%d: the simulation holds other requests than the workload", p.Name, r.Seed)
			}
		}
	}
	alone := points[0].Runs[0].Rows
	if a, b := alone[0].TTFT(), alone[1].TTFT(); b-a != 7*15*time.Microsecond {
		t.Errorf("probes due together queue behind each other: %v, %v", a, b)
	}
	if replay := points[3].Runs; !reflect.DeepEqual(replay[0].Rows, replay[1].Rows) {
		t.Error("two repeats of one replay differ")
	}
	if got := res.States; got["rps-10"] != "ok" || got["rps-500"] != "overloaded" || res.Reasons["rps-500"] == "" {
		t.Errorf("states are %v with reasons %v", got, res.Reasons)
	}
	if len(res.Doubts) != 3 {
		t.Errorf("doubts are %q, want sequences, tokens and blocks", res.Doubts)
	}
	sure := simulateInputs(t, nil, workloadPoints())
	sure.Deployment.BlockSize = 16
	sure.Params = Params{BatchSizeCap: new(8), ChunkSize: new(512), KVBlocks: new(4096)}
	if res := runSimulate(t, sure); res.Doubts == nil || len(res.Doubts) > 0 {
		t.Errorf("without doubts they are %#v, want an empty list: null is no list to an expression", res.Doubts)
	}
	again := runSimulate(t, s)
	if one, two := readAll(t, res.Simulation.Path), readAll(t, again.Simulation.Path); one != two {
		t.Error("a second simulation has other bytes")
	}
}

// readAll is the content of a folder in one string.
func readAll(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		b.WriteString(strings.TrimPrefix(path, dir) + "\n" + string(data))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestSettle(t *testing.T) {
	n := func(v int) *int { return &v }
	f := func(v float64) *float64 { return &v }
	yes := true
	vllm := engine.Facts{BlockSize: n(32), KVBlocks: n(5000), MaxNumSeqs: n(64), MaxTokens: n(512)}
	for _, c := range []struct {
		why    string
		p      Params
		facts  engine.Facts
		d      Deployment
		want   simulator.Config
		doubts int
	}{
		{"nobody says anything", Params{}, engine.Facts{}, Deployment{}, simulator.Defaults(), 3},
		{
			"the deployment stands in for a silent engine",
			Params{},
			engine.Facts{},
			Deployment{BlockSize: 8, MaxNumSeqs: n(9), MaxTokens: n(99)},
			simulator.Config{MaxNumSeqs: 9, MaxTokens: 99, BlockSize: 8, Chunked: true, WholePrompt: true},
			1,
		},
		{
			"the engine goes before the deployment",
			Params{},
			vllm,
			Deployment{BlockSize: 8, MaxNumSeqs: n(9), MaxTokens: n(99)},
			simulator.Config{MaxNumSeqs: 64, MaxTokens: 512, BlockSize: 32, Blocks: 5000, Chunked: true, WholePrompt: true},
			0,
		},
		{
			"the plan's parameters go before all",
			Params{BatchSizeCap: n(7), KVBlocks: n(10), FrontEnd: f(0.002)},
			vllm,
			Deployment{},
			simulator.Config{MaxNumSeqs: 7, MaxTokens: 512, BlockSize: 32, Blocks: 10, Chunked: true, WholePrompt: true, FrontEnd: 2 * time.Millisecond},
			0,
		},
		{
			"an engine that looks ahead is simulated so",
			Params{},
			engine.Facts{BlockSize: n(16), KVBlocks: n(9), MaxNumSeqs: n(64), MaxTokens: n(512), Async: &yes},
			Deployment{},
			simulator.Config{MaxNumSeqs: 64, MaxTokens: 512, BlockSize: 16, Blocks: 9, Chunked: true, WholePrompt: true, LookAhead: true},
			0,
		},
		{
			"Vidur's scheduler does not look ahead, which is said, and has its watermark",
			Params{Scheduler: "sarathi"},
			engine.Facts{BlockSize: n(16), KVBlocks: n(9), MaxNumSeqs: n(64), MaxTokens: n(512), Async: &yes},
			Deployment{},
			simulator.Config{Policy: simulator.Sarathi, MaxNumSeqs: 64, MaxTokens: 512, BlockSize: 16, Blocks: 9, Chunked: true, WholePrompt: true, Watermark: 0.01},
			1,
		},
	} {
		s, err := settle(c.p, c.facts, c.d)
		if err != nil || s.Config != c.want || len(s.Doubts) != c.doubts {
			t.Errorf("%s: %+v with doubts %q (%v), want %+v and %d doubts", c.why, s.Config, s.Doubts, err, c.want, c.doubts)
		}
		again, err := settle(s.Params, engine.Facts{BlockSize: &s.Config.BlockSize}, Deployment{})
		if err != nil || again.Config != s.Config || again.Scale != s.Scale {
			t.Errorf("%s: what took effect, given back, has another effect: %+v", c.why, again.Config)
		}
	}
	if _, err := settle(Params{BatchSizeCap: n(100), ChunkSize: n(50)}, engine.Facts{}, Deployment{}); err == nil {
		t.Error("a budget below the sequences passed")
	}
	if _, err := settle(Params{Scheduler: "vllm", LookAhead: &yes}, vllm, Deployment{}); err == nil {
		t.Error("a look-ahead of Vidur's scheduler passed")
	}
}

func TestSimulateRefused(t *testing.T) {
	few := 5 // 4 usable blocks of 16 tokens: no prompt of 100 fits
	s := simulateInputs(t, &engine.Facts{KVBlocks: &few}, workloadPoints())
	res := runSimulate(t, s)
	if want := 3 + 60 + 400 + 20; res.Refused != want { // the replay's repeats are one simulation
		t.Errorf("%d requests were refused, want %d", res.Refused, want)
	}
	if err := os.Remove(filepath.Join(s.Profiles.Path, "profile.yaml")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Run(context.Background(), pipeline.NewScratch(t.TempDir(), zerolog.Nop())); err == nil || !strings.Contains(err.Error(), "profile") {
		t.Errorf("without a profile: %v", err)
	}
}

// A plan that asks for Vidur's scheduler gets it, and the result says so.
func TestSimulateAsVidurSchedules(t *testing.T) {
	s := simulateInputs(t, nil, workloadPoints())
	v1 := runSimulate(t, s)
	s.Params.Scheduler = "vllm"
	vllm := runSimulate(t, s)
	if v1.Params.Scheduler != "v1" || vllm.Params.Scheduler != "vllm" || vllm.Params.Watermark == nil {
		t.Errorf("the schedulers are %q and %q", v1.Params.Scheduler, vllm.Params.Scheduler)
	}
	// Whole prompts between the decodes, not beside them: more steps.
	if vllm.Steps <= v1.Steps {
		t.Errorf("%d steps with vllm, %d with v1", vllm.Steps, v1.Steps)
	}
}

func TestSimulateIdentity(t *testing.T) {
	id, err := (&Simulate{Simulator: embedded}).Identity(context.Background())
	if err != nil || !slices.Contains(strings.Fields(id["simulator"]), simulator.Digest()) {
		t.Errorf("identity is %v, %v", id, err)
	}
	pipeline.NewKinds(simulateKind) // panics on a bad tag
}

// Prompts that begin alike are found in the cache, and the result says so.
func TestSimulateCountsPrefixHits(t *testing.T) {
	for _, caches := range []bool{true, false} {
		point := trace.Point{Name: "rps-10", Group: trace.Sweep, Rate: 10, Runs: []trace.Run{{Seed: 1, Requests: evenly(3, 100*time.Millisecond)}}}
		for i := range point.Runs[0].Requests {
			q := &point.Runs[0].Requests[i]
			q.Prompt, q.Content = 64, &trace.Content{Tokens: 32, IDs: []uint64{1, 2}}
		}
		s := simulateInputs(t, nil, []trace.Point{point})
		s.Params.PrefixCache = &caches
		want := 0
		if caches {
			want = 2 * 48 // at least one token of the last block of 16 is computed
		}
		if res := runSimulate(t, s); res.Cached != want {
			t.Errorf("with prefix caching %v, %d prompt tokens were found in the cache, want %d", caches, res.Cached, want)
		}
	}
}
