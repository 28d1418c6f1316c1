package steps

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/xeipuuv/gojsonschema"

	"calrun/internal/engine"
	"calrun/internal/loadgen"
	"calrun/internal/trace"
	"calrun/pipeline"
)

// resultSchema is schema/result.v1.json.
func resultSchema(t *testing.T) *gojsonschema.Schema {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "schema", "result.v1.json"))
	if err != nil {
		t.Fatal(err)
	}
	s, err := gojsonschema.NewSchema(gojsonschema.NewBytesLoader(data))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func validate(t *testing.T, s *gojsonschema.Schema, data []byte) []string {
	t.Helper()
	r, err := s.Validate(gojsonschema.NewBytesLoader(data))
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range r.Errors() {
		all = append(all, e.String())
	}
	return all
}

// template is the example of the experiment plan that calrun carries out.
const template = `{
  "experiment_id": "llama3-70b-4xa100-run1",
  "config": {"model": "meta-llama/Meta-Llama-3-70B", "tp": 4, "pp": 1, "gpu": "A100-80GB"},
  "workload": {"type": "poisson_trace", "rps": 2.0, "dataset": "splitwise_conv"},
  "metrics": {
    "ttft_ms": {"p50": 120.5, "p99": 350.2, "mean": 135.0},
    "tpot_ms": {"p50": 25.4, "p99": 45.1, "mean": 27.8},
    "e2e_latency_s": {"p50": 3.2, "p99": 6.8},
    "throughput_token_s": 2450.5
  }
}`

func TestResultSchema(t *testing.T) {
	s := resultSchema(t)
	if bad := validate(t, s, []byte(template)); bad != nil {
		t.Errorf("the template itself: %v", bad)
	}
	for name, spoil := range map[string]func(m map[string]any){
		"another top-level key": func(m map[string]any) { m["extra"] = 1 },
		"no metrics":            func(m map[string]any) { delete(m, "metrics") },
		"a metric as text":      func(m map[string]any) { m["metrics"].(map[string]any)["throughput_token_s"] = "fast" },
		"a percentile missing":  func(m map[string]any) { delete(m["metrics"].(map[string]any)["ttft_ms"].(map[string]any), "p99") },
		"a negative latency":    func(m map[string]any) { m["metrics"].(map[string]any)["ttft_ms"].(map[string]any)["p50"] = -1 },
		"an unknown workload":   func(m map[string]any) { m["workload"].(map[string]any)["type"] = "bursty" },
	} {
		var m map[string]any
		if err := json.Unmarshal([]byte(template), &m); err != nil {
			t.Fatal(err)
		}
		spoil(m)
		data, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if validate(t, s, data) == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

// A result has the template's keys and no others but calrun's, in the
// template's order, also when there is nothing to report.
func TestResultIsTheTemplate(t *testing.T) {
	rt := pipeline.NewScratch(t.TempDir(), zerolog.Nop())
	h := &HardwareRun{Workload: Workload{Sweep: &Sweep{RPS: []float64{2}, Lengths: pipeline.Artefact{Path: "/x/splitwise_conv.csv"}}}}
	point := trace.Point{Name: "rps-2", Group: trace.Sweep, Rate: 2}
	ms := time.Millisecond
	full := trace.Run{
		Seed: 1, State: trace.OK, Window: 2 * time.Second, Requests: make([]trace.Request, 2),
		Rows: []trace.Row{
			{Sent: 1 * ms, First: 11 * ms, Last: 31 * ms, Tokens: 3},
			{Sent: 2 * ms, First: 22 * ms, Last: 22 * ms, Tokens: 1},
		},
	}
	s := resultSchema(t)
	for name, run := range map[string]trace.Run{"full": full, "empty": {Seed: 1, State: trace.Skipped, Reason: "late"}} {
		r := h.record(rt, engine.Facts{Name: "vllm", Model: "m"}, point, run, loadgen.Report{Stamps: "kernel"})
		data, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if bad := validate(t, s, data); bad != nil {
			t.Errorf("%s: %v\n%s", name, bad, data)
		}
		var got, want map[string]any
		if err := json.Unmarshal(data, &got); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal([]byte(template), &want); err != nil {
			t.Fatal(err)
		}
		delete(got, "calrun")
		sameKeys(t, name, got, want)
	}
	r := h.record(rt, engine.Facts{Name: "vllm", Model: "m"}, point, full, loadgen.Report{Stamps: "kernel"})
	if *r.Metrics.TTFT.P50 != 15 || *r.Metrics.TPOT.P50 != 10 || r.Calrun.TPOTs != 1 || *r.Metrics.Throughput != 2 || *r.Calrun.FromDue.TTFT.P50 != 16.5 {
		t.Errorf("%+v: TTFT counts from sent, TPOT over n-1, and a single token has none", r.Metrics)
	}
	if r.Workload.Type != "poisson_trace" || *r.Workload.Dataset != "splitwise_conv" || *r.Workload.RPS != 2 {
		t.Errorf("%+v", r.Workload)
	}
}

func sameKeys(t *testing.T, at string, got, want map[string]any) {
	t.Helper()
	for k, v := range want {
		g, ok := got[k]
		if !ok {
			t.Errorf("%s.%s is missing", at, k)
		}
		if inner, ok := v.(map[string]any); ok {
			sameKeys(t, at+"."+k, g.(map[string]any), inner)
		}
	}
	for k := range got {
		if _, ok := want[k]; !ok {
			t.Errorf("%s.%s is not in the template", at, k)
		}
	}
}
