package steps

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"calrun/internal/engine"
	"calrun/internal/shared"
	"calrun/internal/trace"
	"calrun/pipeline"
)

// recorded4090 is a real vLLM run of 300 requests on an RTX 4090, overloaded. Its
// arrivals are of another clock than its stamps: they are joined by the median
// offset to the moment of queueing.
func recorded4090(t *testing.T) ([]trace.Point, engine.Facts) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(shared.Path(t, "measured/RTX4090_Llama-3.1-8B"), "requests.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	type line struct {
		Prompt  int     `json:"input_toks"`
		Output  int     `json:"output_toks"`
		Arrival float64 `json:"arrival_time"`
		Queued  float64 `json:"queued_ts"`
		First   float64 `json:"first_token_ts"`
		Last    float64 `json:"last_token_ts"`
	}
	var lines []line
	var offsets []float64
	for dec := json.NewDecoder(bytes.NewReader(data)); dec.More(); {
		var l line
		if err := dec.Decode(&l); err != nil {
			t.Fatal(err)
		}
		lines, offsets = append(lines, l), append(offsets, l.Queued-l.Arrival)
	}
	slices.Sort(offsets)
	offset, start := offsets[len(offsets)/2], lines[0].Arrival
	run := trace.Run{Seed: 1, State: trace.OK}
	for i, l := range lines {
		at := func(s float64) time.Duration { return trace.FromSeconds(s - offset - start) }
		q := trace.Request{ID: i, Due: trace.FromSeconds(max(0, l.Arrival-start)), Prompt: l.Prompt, Output: l.Output}
		run.Requests = append(run.Requests, q)
		run.Rows = append(run.Rows, trace.Row{
			Request: q, Sent: q.Due, First: at(l.First), Last: at(l.Last), Prompted: l.Prompt, Tokens: l.Output, Status: 200,
		})
	}
	points := []trace.Point{{Name: "replay", Group: trace.Replay, Runs: []trace.Run{run}}}
	return points, engine.Facts{
		Name: "vllm", Version: "0.19.0", Model: "meta-llama/Llama-3.1-8B",
		BlockSize: new(16), KVBlocks: new(2588), MaxNumSeqs: new(256), MaxTokens: new(2048), Chunked: new(true),
	}
}

// The recorded engine had 2,588 KV blocks. A simulator that was told 3,400,
// as a formula gives, is wrong for that reason, not because of its kernels.
func TestDiagnoseNamesTheBlocksOfARealRun(t *testing.T) {
	points, facts := recorded4090(t)
	h := hidden{facts: facts}
	r := diagnose(t, h, points, points, pipeline.Artefact{Path: shared.Path(t, "measured/RTX4090_profile")}, Params{KVBlocks: new(3400)})
	if r.Cause != "kv" || !r.KV || r.Kernel {
		t.Errorf("cause %s: %s; want kv", r.Cause, r.Confidence)
	}
}

// With the engine's own block count the profile is right as it is: a fit of
// its factors must stay near 1.
func TestTuneOfARealRunFindsThePublishedProfileRight(t *testing.T) {
	points, facts := recorded4090(t)
	step := &Tune{
		Measured: folder(t, "measurement", points, facts), Profiles: pipeline.Artefact{Path: shared.Path(t, "measured/RTX4090_profile")},
		Simulator: embedded, Seed: 1, FitOn: []string{"replay"},
		Knobs: map[string]KnobRange{"k_mlp": {Lo: 0.5, Hi: 2}, "k_attn": {Lo: 0.5, Hi: 2}},
	}
	began := time.Now()
	out, err := step.Run(context.Background(), scratch(t))
	if err != nil {
		t.Fatal(err)
	}
	r := out.(*TuneResult)
	t.Logf("k_mlp %.3f, k_attn %.3f, loss %.3g → %.3g, %d simulations in %v, condition %.1f; %q", orOne(r.Params.KMLP), orOne(r.Params.KAttn),
		r.LossBefore, r.LossAfter, r.Simulated, time.Since(began).Round(time.Millisecond), r.Condition, r.Notes)
	if k := orOne(r.Params.KMLP); k < 0.9 || k > 1.1 {
		t.Errorf("k_mlp = %g; the profile was measured on this very card", k)
	}
}
