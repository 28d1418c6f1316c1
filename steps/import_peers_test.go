package steps

import (
	"cmp"
	"context"
	"encoding/csv"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"calrun/internal/shared"
	"calrun/internal/stats"
	"calrun/internal/trace"
	"calrun/pipeline"
)

func importAs(t *testing.T, format, path string) (*MeasuredResult, error) {
	t.Helper()
	i := &Import{From: pipeline.Artefact{Path: path}, Format: format}
	res, err := i.Run(context.Background(), pipeline.NewScratch(t.TempDir(), zerolog.Nop()))
	if err != nil {
		return nil, err
	}
	return res.(*MeasuredResult), nil
}

// The recordings of five load generators beside the server's own stamps of the
// same requests. Each tool's error is what was found when they were measured:
// an importer that takes a wrong field or a wrong unit is off by milliseconds.
func TestImportOfPeers(t *testing.T) {
	for _, c := range []struct {
		format, file    string
		rows            int
		ttft, tpot, e2e float64 // medians of |reported - true|, µs
		model           string
		late            float64 // sent - due at P99, ms
		doubts          []string
	}{
		{"vllm", "vllm/bench-serve.json", 60, 1521, 2, 1527, "mock", 0, []string{"when requests were due is not recorded", "60 of the 200 requests", "no time zone"}},
		{"guidellm", "guidellm/benchmarks.json", 30, 2116, 25, 2019, "mock", 0, []string{"the load generator was late: sent - due is", "30 of the 200 requests"}},
		{"aiperf", "aiperf/profile_export.jsonl", 40, 511, 2, 632, "", 4.72, []string{"schedule or in a closed loop"}},
		{"inference-perf", "inference-perf/per_request_lifecycle_metrics.json", 36, 667, 3, 756, "", 0, []string{"when requests were due is not recorded", "does not say when it was measured"}},
		{"veeksha", "veeksha/request_level_metrics.jsonl", 60, 2660, 3, 2641, "", 0, []string{"the server did not count the tokens of 60 of 60 requests"}},
	} {
		t.Run(c.format, func(t *testing.T) {
			path := shared.Path(t, "captures/peers/"+c.file)
			res, err := importAs(t, c.format, path)
			if err != nil {
				t.Fatal(err)
			}
			points, err := trace.ReadPoints(res.Measurement.Path)
			if err != nil {
				t.Fatal(err)
			}
			run := points[0].Runs[0]
			if len(points) != 1 || points[0].Name != "replay" || len(run.Rows) != c.rows || res.Completed != c.rows || res.Failed+res.NotSent != 0 {
				t.Fatalf("%d points, %d rows, %+v", len(points), len(run.Rows), res)
			}
			against(t, filepath.Join(filepath.Dir(path), "truth.csv"), run.Rows, map[string]float64{"ttft": c.ttft, "tpot": c.tpot, "e2e": c.e2e})
			for i, row := range run.Rows {
				if row.ID != i || row.Due < 0 || row.Sent < row.Due || row.First < row.Sent || row.Last < row.First || row.Tokens != 64 {
					t.Fatalf("row %d breaks due ≤ sent ≤ first ≤ last: %+v", i, row)
				}
				if q := run.Requests[i]; q.Prompt != row.Prompted || q.Output != 64 || q.Due != row.Due {
					t.Fatalf("request %d is not what the server saw: %+v, %+v", i, q, row)
				}
			}
			if res.Engine.Model != c.model || math.Abs(1e3*res.Late-c.late) > 0.1 || res.Stamps != "read" {
				t.Errorf("model %q, late %v s, stamps %s", res.Engine.Model, res.Late, res.Stamps)
			}
			said := strings.Join(res.Doubts, "\n")
			for _, want := range append(c.doubts, "whose stamps are its own", "the engine's own noise is unknown") {
				if !strings.Contains(said, want) {
					t.Errorf("no doubt %q in\n%s", want, said)
				}
			}
			data, err := os.ReadFile(filepath.Join(trace.RunDir(res.Measurement.Path, "replay", 1), "result.json"))
			if err != nil {
				t.Fatal(err)
			}
			if bad := validate(t, resultSchema(t), data); bad != nil {
				t.Errorf("result.json: %v", bad)
			}
			again, err := importFrom(t, res.Measurement.Path)
			if err != nil {
				t.Fatal(err)
			}
			again.Workload, again.Measurement = res.Workload, res.Measurement
			if !reflect.DeepEqual(again, res) {
				t.Errorf("read back from calrun's own folder it is\n%+v, not\n%+v", again, res)
			}
		})
	}
}

// against joins rows with the truth in the order in which requests were sent,
// or answered where many were sent at once, and holds the medians of the
// absolute errors to want, in µs.
func against(t *testing.T, path string, rows []trace.Row, want map[string]float64) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if len(lines) != len(rows)+1 {
		t.Fatalf("%d rows, %s has %d", len(rows), path, len(lines)-1)
	}
	var truth []trace.Row
	for _, line := range lines[1:] {
		at := func(name string) time.Duration {
			ns, err := strconv.ParseInt(line[slices.Index(lines[0], name)], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return time.Duration(ns)
		}
		truth = append(truth, trace.Row{Sent: at("recv_mono_ns"), First: at("first_write_mono_ns"), Last: at("last_write_mono_ns"), Tokens: 64})
	}
	order := func(a, b trace.Row) int { return cmp.Compare(a.Sent, b.Sent) }
	if rows = slices.Clone(rows); strings.Contains(path, "veeksha") {
		order = func(a, b trace.Row) int { return cmp.Compare(a.Last, b.Last) }
	}
	slices.SortStableFunc(rows, order)
	slices.SortStableFunc(truth, order)
	off := map[string][]float64{}
	for i, row := range rows {
		tpot, _ := row.TPOT()
		really, _ := truth[i].TPOT()
		for name, d := range map[string]time.Duration{"ttft": row.TTFTSent() - truth[i].TTFTSent(), "tpot": tpot - really, "e2e": row.E2ESent() - truth[i].E2ESent()} {
			off[name] = append(off[name], math.Abs(d.Seconds())*1e6)
		}
	}
	for name, us := range want {
		if got := stats.Quantile(stats.Sorted(off[name]), 0.5); math.Abs(got-us) > 1+0.02*us {
			t.Errorf("%s is off by %.0f µs at P50; the tool was off by %.0f when it was measured", name, got, us)
		}
	}
}

// A recording of a real vLLM whose client read events in bunches.
func TestImportOfBunchedEvents(t *testing.T) {
	path := shared.Path(t, "captures/vllm/bench/vllm_bench_serve.json")
	res, err := importAs(t, "vllm", path)
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(trace.RunDir(res.Measurement.Path, "replay", 1), "result.json"))
	if err != nil {
		t.Fatal(err)
	}
	var got Template
	var own struct {
		TTFT float64 `json:"p50_ttft_ms"`
		TPOT float64 `json:"p50_tpot_ms"`
		E2E  float64 `json:"p50_e2el_ms"`
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := cmp.Or(json.Unmarshal(data, &got), json.Unmarshal(whole, &own)); err != nil {
		t.Fatal(err)
	}
	m := got.Metrics
	for _, c := range [][2]float64{{*m.TTFT.P50, own.TTFT}, {*m.TPOT.P50, own.TPOT}, {1e3 * *m.E2E.P50, own.E2E}} {
		if math.Abs(c[0]-c[1]) > 1e-3 { // of all 120 requests, by the tool's own account
			t.Errorf("P50 is %v ms, vLLM says %v", c[0], c[1])
		}
	}
	if said := strings.Join(res.Doubts, "\n"); !strings.Contains(said, "read at once, and their TTFT may be too large") || strings.Contains(said, "of the run: the load of the others") {
		t.Error(said)
	}
}

func TestImportOfPeersRefuses(t *testing.T) {
	const aiperf = `{"metadata":{"request_start_ns":2000000000,"credit_issued_ns":1999000000},"metrics":{"usage_prompt_tokens":{"value":5,"unit":"tokens"},"usage_completion_tokens":{"value":2,"unit":"tokens"},"time_to_first_token":{"value":50,"unit":"ms"},"request_latency":{"value":60,"unit":"ms"}}}`
	const vllm = `{"ttfts":[0.1],"input_lens":[5],"output_lens":[2],"start_times":[1],"latencies":[0.2],"itls":[[0.1]],"errors":[""]}`
	for _, c := range []struct{ name, format, text, want string }{
		{"totals alone", "vllm", `{"completed": 200, "mean_ttft_ms": 51.5}`, "no list ttfts: it holds no requests"},
		{"the flag", "vllm", `{"completed": 200}`, "vllm bench serve --save-result --save-detailed"},
		{"an older vLLM", "vllm", strings.Replace(vllm, "start_times", "starts", 1), "no list start_times"},
		{"lists of two lengths", "vllm", strings.Replace(vllm, `[5]`, `[5,6]`, 1), "input_lens has 2 entries and ttfts 1"},
		{"no requests", "vllm", `{"ttfts":[],"input_lens":[],"output_lens":[],"start_times":[],"latencies":[],"itls":[],"errors":[]}`, "it holds no requests"},
		{"times out of order", "vllm", strings.Replace(vllm, "0.1]", "0.3]", 1), "request 0: sent at 1s, first token at 1.3s, last at 1.2s: out of order"},
		{"no prompt", "vllm", strings.Replace(vllm, "[5]", "[0]", 1), "request 0: 0 prompt and 2 output tokens"},
		{"no JSON", "vllm", "<html>", "invalid character '<'"},
		{"another tool's", "guidellm", vllm, "no benchmarks"},
		{"no first token", "guidellm", `{"benchmarks":[{"requests":{"successful":[{"prompt_tokens":1,"output_tokens":1,"info":{"timings":{"request_start":1}}}]}}]}`, "benchmarks[0].requests.successful[0]: a request has no info.timings.first_token_iteration"},
		{"no requests", "guidellm", `{"benchmarks":[{"requests":null}]}`, "it holds no requests"},
		{"a summary", "inference-perf", `{"load_summary": {}}`, "not a list of requests"},
		{"the setting", "inference-perf", `{"load_summary": {}}`, "per_request: true"},
		{"trimmed fields", "inference-perf", `[{"start_time": 1, "info": {"input_tokens": 3, "response_metrics": {"output_tokens": 2}}}]`, "request 0: a request has no info.response_metrics.output_token_times"},
		{"no latency", "aiperf", aiperf + "\n" + strings.Replace(aiperf, "request_latency", "latency", 1), "line 2: a request has no metrics.request_latency"},
		{"another unit", "aiperf", strings.Replace(aiperf, `"value":50,"unit":"ms"`, `"value":50,"unit":"s"`, 1), `metrics.time_to_first_token is in "s", not in ms`},
		{"no stream", "veeksha", `{"client_completed_at":1,"ttfc":1,"end_to_end_latency":1,"num_total_prompt_tokens":1,"num_output_tokens":1,"is_stream":false}`, "was not streamed"},
		{"no ttfc", "veeksha", `{"client_completed_at":1}`, "line 1: a request has no ttfc"},
		{"a file without a format", "auto", vllm, "is a file: say by format"},
	} {
		path := filepath.Join(t.TempDir(), "result")
		if err := os.WriteFile(path, []byte(c.text), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := importAs(t, c.format, path); err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
	if _, err := importAs(t, "vllm", t.TempDir()); err == nil || !strings.Contains(err.Error(), "vllm is the JSON file") {
		t.Errorf("a folder: %v", err)
	}
}

// What a recording says of its requests reaches the rows, the counts and the
// doubts.
func TestImportOfPeersKeepsWhatWentWrong(t *testing.T) {
	for _, c := range []struct {
		name, format, text string
		completed, failed  int
		want               string
	}{
		{
			"a failed request of unknown length", "vllm",
			`{"max_concurrency":8,"ttfts":[0.1,0],"input_lens":[5,5],"output_lens":[2,0],"start_times":[1,2],"latencies":[0.2,0],"itls":[[0.1],[]],"errors":["","refused"]}`,
			1, 1, "a simulator is given 1 token",
		},
		{
			"a closed loop", "vllm",
			`{"max_concurrency":8,"ttfts":[0.1],"input_lens":[5],"output_lens":[2],"start_times":[1],"latencies":[0.2],"itls":[[0.1]],"errors":[""]}`,
			1, 0, "1 of 1 requests were sent because an earlier one was answered",
		},
		{
			"several tokens in an event", "vllm",
			`{"ttfts":[0.1],"input_lens":[5],"output_lens":[9],"start_times":[1],"latencies":[0.2],"itls":[[0.1]],"errors":[""]}`,
			1, 0, "1 of 1 requests have fewer token events than tokens",
		},
		{
			"a warm-up, a cancelled request, an error", "aiperf",
			`{"metadata":{"benchmark_phase":"warmup","request_start_ns":1000}}` + "\n" +
				`{"metadata":{"request_start_ns":2000,"was_cancelled":true},"metrics":{"input_sequence_length":{"value":5,"unit":"tokens"}}}` + "\n" +
				`{"metadata":{"request_start_ns":3000},"error":{"code":503,"message":"busy"}}` + "\n",
			0, 2, "1 requests of the warm-up were left out",
		},
		{
			"an incomplete one and a second benchmark", "guidellm",
			`{"benchmarks":[{"config":{"strategy":{"type_":"concurrent"}},"requests":{"successful":[{"prompt_tokens":3,"output_tokens":2,"info":{"timings":{"targeted_start":1,"request_start":1,"first_token_iteration":2,"last_token_iteration":3}}}],` +
				`"incomplete":[{"prompt_tokens":3,"info":{"timings":{"targeted_start":2}}}]}},` +
				`{"requests":{"successful":[{"prompt_tokens":3,"output_tokens":2,"info":{"turn_index":1,"timings":{"targeted_start":9,"request_start":9,"first_token_iteration":10,"last_token_iteration":11}}}]}}]}`,
			2, 1, "replay-2: 1 of 1 requests were sent because an earlier one was answered",
		},
	} {
		path := filepath.Join(t.TempDir(), "result")
		if err := os.WriteFile(path, []byte(c.text), 0o644); err != nil {
			t.Fatal(err)
		}
		res, err := importAs(t, c.format, path)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if res.Completed != c.completed || res.Failed+res.NotSent != c.failed || !strings.Contains(strings.Join(res.Doubts, "\n"), c.want) {
			t.Errorf("%s: %d completed, %d failed, %d not sent, %q", c.name, res.Completed, res.Failed, res.NotSent, res.Doubts)
		}
	}
}

// The enum of the field and the table are one list.
func TestEveryFormatCanBeChosen(t *testing.T) {
	field, _ := reflect.TypeFor[Import]().FieldByName("Format")
	names := []string{"auto"}
	for _, f := range Formats() {
		names = append(names, f.Name)
	}
	if got := field.Tag.Get("enum"); got != strings.Join(names, ",") {
		t.Errorf("the field takes %s, the table has %s", got, names)
	}
	late, _ := reflect.TypeFor[RunLimits]().FieldByName("Lateness")
	if d, err := time.ParseDuration(late.Tag.Get("default")); err != nil || d != DefaultLateness {
		t.Errorf("limits.lateness is %v by default, DefaultLateness %v", d, DefaultLateness)
	}
}
