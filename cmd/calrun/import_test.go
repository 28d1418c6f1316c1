package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"calrun/internal/shared"
)

// A recording of vllm bench serve against a real vLLM goes through a plan to a
// verdict, by way of the verb and by way of the file itself, to the same
// figures.
func TestImportedResultIsJudged(t *testing.T) {
	dir := t.TempDir()
	file := shared.Path(t, "captures/vllm/bench/vllm_bench_serve.json")
	code, out, said := chain(t, dir, "import", "vllm", file, "--out", filepath.Join(dir, "bench"))
	if code != 0 {
		t.Fatalf("import: exit %d\n%s%s", code, out, said)
	}
	for name, text := range map[string]string{
		"profile.yaml": "format: steps\nmodel: tiny\ngpu: cpu\ntensor_parallel: 1\nstep: {base: 3ms, per_prefill_token: 80us, per_sequence: 0.1ms}\n",
		"judge.yaml": `version: calrun/v1
name: judged
inputs:
  from: {type: dir}
  bench: {type: file}
steps:
  folder: {uses: import, with: {from: "${{ inputs.from }}"}}
  file:   {uses: import, with: {from: "${{ inputs.bench }}", format: vllm}}
  sim:    {uses: simulate, with: {workload: "${{ steps.folder.workload }}", profiles: profile}}
  error:  {uses: diff, with: {measured: "${{ steps.folder.measurement }}", simulated: "${{ steps.sim.simulation }}"}}
  same:   {uses: diff, with: {measured: "${{ steps.file.measurement }}", simulated: "${{ steps.sim.simulation }}"}}
  verdict:
    uses: gate
    of: error
    assert: {near: replay.ttft.p50.mape < 0.02}
`,
	} {
		if name == "profile.yaml" {
			name = "profile/" + name
			if err := os.Mkdir(filepath.Join(dir, "profile"), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	code, out, said = chain(t, dir, "run", filepath.Join(dir, "judge.yaml"), "--json",
		"--input", "from="+filepath.Join(dir, "bench", "measurement"), "--input", "bench="+file)
	if code != 1 && code != 4 { // a made-up profile is not within 2 %
		t.Fatalf("exit %d\n%s%s", code, out, said)
	}
	type errors struct {
		Replay struct {
			TTFT, TPOT, E2E struct {
				P50 struct{ Mape *float64 }
			}
		}
	}
	var run struct {
		Verdict string
		Steps   map[string]struct{ Result json.RawMessage }
	}
	if err := json.Unmarshal([]byte(out), &run); err != nil {
		t.Fatal(err)
	}
	var a, b errors
	for step, to := range map[string]*errors{"error": &a, "same": &b} {
		if err := json.Unmarshal(run.Steps[step].Result, to); err != nil {
			t.Fatal(err)
		}
		if to.Replay.TTFT.P50.Mape == nil || to.Replay.TPOT.P50.Mape == nil || to.Replay.E2E.P50.Mape == nil {
			t.Fatalf("%s has no error of a P50: %s", step, run.Steps[step].Result)
		}
	}
	if *a.Replay.TTFT.P50.Mape != *b.Replay.TTFT.P50.Mape || *a.Replay.E2E.P50.Mape != *b.Replay.E2E.P50.Mape {
		t.Errorf("by the verb's folder %+v, by the file %+v", a, b)
	}
	if run.Verdict != "fail" && run.Verdict != "inconclusive" || !strings.Contains(string(run.Steps["file"].Result), "when requests were due is not recorded") {
		t.Errorf("verdict %s, %s", run.Verdict, run.Steps["file"].Result)
	}
}
