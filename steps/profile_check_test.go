package steps

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"calrun/internal/engine"
	"calrun/internal/shared"
	"calrun/internal/trace"
	"calrun/pipeline"
)

// checkWorkload writes a workload of one point and its facts.
func checkWorkload(t *testing.T, facts engine.Facts, ended string, reqs ...trace.Request) string {
	t.Helper()
	dir := t.TempDir()
	points := []trace.Point{{Name: "rps-1", Group: trace.Sweep, Rate: 1, Runs: []trace.Run{{Seed: 1, Requests: reqs}}}}
	if err := trace.WritePoints(dir, points); err != nil {
		t.Fatal(err)
	}
	for name, v := range map[string]any{"engine.json": facts, "workload.json": map[string]string{"ended": ended}} {
		data, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func runCheck(t *testing.T, s *ProfileCheck) *ProfileCheckResult {
	t.Helper()
	res, err := s.Run(context.Background(), pipeline.NewScratch(t.TempDir(), zerolog.Nop()))
	if err != nil {
		t.Fatal(err)
	}
	return res.(*ProfileCheckResult)
}

// Each row spoils one thing of a deployment that is in order; only the boolean
// of that thing may turn.
func TestProfileCheckTurnsOneBoolean(t *testing.T) {
	const manifest = `format: steps
model: emulated
gpu: emulated
tensor_parallel: 1
block_size: 16
measured_at: 2026-01-01T00:00:00Z
covers: {prompt: 512, context: 600, batch: 8}
step: {base: 8ms, per_prefill_token: 15us, per_sequence: 0.1ms}
`
	good := func() (*ProfileCheck, *engine.Facts, *string, *string) {
		s := &ProfileCheck{
			Deployment: Deployment{Model: "emulated", GPU: "emulated", GPUs: 1, TP: 1, PP: 1, BlockSize: 16},
			MaxAge:     48 * time.Hour,
		}
		f := &engine.Facts{Model: "emulated", BlockSize: new(16), KVBlocks: new(1000), MaxNumSeqs: new(8), MaxTokens: new(512), MaxModelLen: new(2048)}
		m, ended := manifest, "2026-01-02T00:00:00Z"
		return s, f, &m, &ended
	}
	for _, c := range []struct {
		why   string
		spoil func(s *ProfileCheck, f *engine.Facts, manifest, ended *string)
		turns string
	}{
		{"nothing spoiled", func(*ProfileCheck, *engine.Facts, *string, *string) {}, ""},
		{"a profile of another card", func(s *ProfileCheck, _ *engine.Facts, _, _ *string) { s.Deployment.GPU = "A100-80GB" }, "identity config"},
		{"an engine that serves another model", func(_ *ProfileCheck, f *engine.Facts, _, _ *string) { f.Model = "other" }, "config"},
		{"a simulator with other KV blocks", func(s *ProfileCheck, _ *engine.Facts, _, _ *string) { s.Params.KVBlocks = new(900) }, "fits config"},
		{"a simulator with another batch cap", func(s *ProfileCheck, _ *engine.Facts, _, _ *string) { s.Params.BatchSizeCap = new(4) }, "config"},
		{"a fitted batch cap may differ", func(s *ProfileCheck, _ *engine.Facts, _, _ *string) {
			s.Params.BatchSizeCap, s.Params.FittedOn = new(4), []string{"rps-1"}
		}, ""},
		{"too few blocks for the longest request", func(_ *ProfileCheck, f *engine.Facts, _, _ *string) { f.KVBlocks = new(20) }, "fits"},
		{"nobody states blocks or memory", func(_ *ProfileCheck, f *engine.Facts, _, _ *string) { f.KVBlocks = nil }, "fits"},
		{"an engine whose limit the workload exceeds", func(_ *ProfileCheck, f *engine.Facts, _, _ *string) { f.MaxModelLen = new(100) }, "config"},
		{"older than max_age at the end of the measurement", func(_ *ProfileCheck, _ *engine.Facts, _, ended *string) { *ended = "2026-01-09T00:00:00Z" }, "fresh"},
		{"no date under a limit", func(_ *ProfileCheck, _ *engine.Facts, m, _ *string) {
			*m = strings.Replace(*m, "measured_at: 2026-01-01T00:00:00Z\n", "", 1)
		}, "fresh"},
		{"no date and no limit", func(s *ProfileCheck, _ *engine.Facts, m, _ *string) {
			s.MaxAge = 0
			*m = strings.Replace(*m, "measured_at: 2026-01-01T00:00:00Z\n", "", 1)
		}, ""},
		{"prompts longer than was probed", func(_ *ProfileCheck, _ *engine.Facts, m, _ *string) {
			*m = strings.Replace(*m, "prompt: 512", "prompt: 128", 1)
		}, "covered"},
		{"pipelines, which the simulator does not model", func(s *ProfileCheck, _ *engine.Facts, _, _ *string) { s.Deployment.PP = 2 }, "config"},
	} {
		s, f, m, ended := good()
		c.spoil(s, f, m, ended)
		prof := t.TempDir()
		if err := os.WriteFile(filepath.Join(prof, "profile.yaml"), []byte(*m), 0o644); err != nil {
			t.Fatal(err)
		}
		s.Workload.Path = checkWorkload(t, *f, *ended, trace.Request{Prompt: 400, Output: 50}, trace.Request{ID: 1, Due: time.Second, Prompt: 200, Output: 20})
		s.Profiles.Path = prof
		res := runCheck(t, s)
		for name, ok := range map[string]bool{
			"present": res.Present, "identity": res.Identity, "covered": res.Covered, "fresh": res.Fresh,
			"values": res.Values, "fits": res.KV.Fits, "config": res.Config.Same,
		} {
			if want := !strings.Contains(c.turns, name); ok != want {
				t.Errorf("%s: %s is %v, want %v (kv: %s)", c.why, name, ok, want, res.KV.Why)
			}
		}
		if _, err := os.Stat(filepath.Join(res.Profiles.Path, "profile.yaml")); err != nil {
			t.Errorf("%s: the profile is not handed on: %v", c.why, err)
		}
		data, err := os.ReadFile(filepath.Join(res.Findings.Path, "findings.json"))
		if err != nil || !json.Valid(data) {
			t.Errorf("%s: findings.json: %v", c.why, err)
		}
	}
}

// The engine and profile of a real card agree, and the estimate of the KV cache
// comes near the engine's own count.
func TestProfileCheckRTX4090(t *testing.T) {
	prof := shared.Path(t, "measured/RTX4090_profile")
	s := &ProfileCheck{
		Profiles:   pipeline.Artefact{Path: prof},
		Deployment: Deployment{Model: "meta-llama/Llama-3.1-8B", GPU: "RTX4090", GPUs: 1, TP: 1, PP: 1, Dtype: "bfloat16", BlockSize: 16, MemoryShare: 0.9},
		MaxAge:     240 * time.Hour,
	}
	facts := engine.Facts{
		Model: "meta-llama/Llama-3.1-8B", GPU: "NVIDIA GeForce RTX 4090", Dtype: "torch.bfloat16", BlockSize: new(16), KVBlocks: new(2588),
		MemoryShare: new(0.9), MaxNumSeqs: new(256), MaxTokens: new(2048), TP: new(1), PP: new(1), GPUMemory: new(int64(25250627584)),
	}
	s.Workload.Path = checkWorkload(t, facts, "2026-08-20T23:22:44Z", evenly(200, 100*time.Millisecond)...)
	res := runCheck(t, s)
	t.Logf("%+v", res.KV)
	if !res.Present || !res.Identity || !res.Covered || !res.Fresh || !res.Values || !res.KV.Fits || !res.Config.Same {
		t.Errorf("a profile in order is refused: %+v", res)
	}
	if got := *res.KV.UtilisedBlocks; got < 2588*93/100 || got > 2588*107/100 {
		t.Errorf("%d blocks at utilisation, the engine has 2588", got)
	}
}
