package steps

import (
	"encoding/csv"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"calrun/internal/engine"
	"calrun/internal/shared"
	"calrun/internal/trace"
	"calrun/internal/workload"
	"calrun/pipeline"
)

func importFrom(t *testing.T, dir string) (*MeasuredResult, error) {
	t.Helper()
	return importAs(t, "auto", dir)
}

func TestImportOfRealRecordings(t *testing.T) {
	for _, c := range []struct {
		dir   string
		state trace.State
		facts bool
	}{
		{"RTX4090_Llama-3.1-8B", trace.Overloaded, true},
		{"RTXPRO6000_Llama-3.1-8B", trace.Overloaded, false},
		{"RTXPRO6000_Qwen3-30B-A3B-Instruct-2507", trace.OK, false},
	} {
		t.Run(c.dir, func(t *testing.T) {
			dir := shared.Path(t, "measured/"+c.dir)
			res, err := importFrom(t, dir)
			if err != nil {
				t.Fatal(err)
			}
			points, err := trace.ReadPoints(res.Measurement.Path)
			if err != nil {
				t.Fatal(err)
			}
			run := points[0].Runs[0]
			if len(points) != 1 || points[0].Name != "replay" || len(points[0].Runs) != 1 || run.State != c.state {
				t.Errorf("%d points, %s, %d runs, %s: %s", len(points), points[0].Name, len(points[0].Runs), run.State, run.Reason)
			}
			samePaired(t, filepath.Join(dir, "paired.csv"), run.Rows)
			if res.Arrivals != 300 || res.Sent != 300 || res.Completed != 300 || res.Failed != 0 || res.Join == nil || res.Join.Spread <= 0 || res.Join.Spread > 0.3 {
				t.Errorf("%+v", res)
			}
			bare, err := trace.ReadPoints(res.Workload.Path)
			if err != nil || bare[0].Runs[0].Rows != nil || len(bare[0].Runs[0].Requests) != 300 {
				t.Errorf("a workload must hold requests alone: %v", err)
			}
			f, err := engine.ReadFacts(res.Workload.Path)
			if err != nil || f.Version != "0.19.0" || *f.MaxTokens != 2048 || (f.KVBlocks != nil) != c.facts || (f.Async != nil) != c.facts {
				t.Errorf("%v %+v", err, f)
			}
			if w, err := workload.ReadFacts(res.Workload.Path); err != nil || !strings.HasPrefix(w.Ended, "2026-") {
				t.Errorf("%v %+v", err, w)
			}
			data, err := os.ReadFile(filepath.Join(trace.RunDir(res.Measurement.Path, "replay", 1), "result.json"))
			if err != nil {
				t.Fatal(err)
			}
			if bad := validate(t, resultSchema(t), data); bad != nil {
				t.Errorf("result.json: %v", bad)
			}
			again, err := importFrom(t, res.Measurement.Path) // calrun's own folder
			if err != nil || again.Completed != 300 || again.Engine != res.Engine || again.Ended != res.Ended {
				t.Errorf("read back: %v %+v", err, again)
			}
		})
	}
}

// samePaired holds rows to what the recording's authors computed from it.
func samePaired(t *testing.T, path string, rows []trace.Row) {
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
	col := map[string]int{}
	for i, name := range lines[0] {
		col[name] = i
	}
	for i, row := range rows {
		tpot, _ := row.TPOT()
		for name, got := range map[string]float64{
			"real_arrival_s": row.Due.Seconds(), "real_ttft_ms": ms(row.TTFTSent()), "real_tpot_ms": ms(tpot), "real_e2e_ms": ms(row.E2ESent()),
			"input_toks": float64(row.Prompted), "output_toks": float64(row.Tokens),
		} {
			want, err := strconv.ParseFloat(lines[i+1][col[name]], 64)
			if err != nil || math.Abs(got-want) > 6e-4 { // they round to 0.001 ms; TPOT to 0.0001
				t.Fatalf("row %d: %s is %v, paired.csv says %v", i, name, got, want)
			}
		}
	}
}

func TestImportRefuses(t *testing.T) {
	meta := `{"model":"m","vllm_version":"1","finished_at":"2026-01-01T00:00:00Z"}`
	good := `{"request_id":"a","input_toks":5,"output_toks":2,"arrival_time":1,"queued_ts":1,"first_token_ts":2,"last_token_ts":3}`
	for _, c := range []struct {
		name  string
		files map[string]string
		want  string
	}{
		{"an empty folder", nil, "neither points.json (calrun) nor requests.jsonl and meta.json"},
		{"no requests", map[string]string{"requests.jsonl": "", "meta.json": meta}, "holds no requests"},
		{"a line that is no JSON", map[string]string{"requests.jsonl": good + "\nx\n", "meta.json": meta}, "line 2"},
		{"no arrival", map[string]string{"requests.jsonl": `{"request_id":"b","input_toks":1,"queued_ts":1}`, "meta.json": meta}, `line 1: request "b" has no arrival_time`},
		{"no end", map[string]string{"requests.jsonl": good, "meta.json": `{"model":"m"}`}, `finished_at: "" is not a time`},
	} {
		dir := t.TempDir()
		for name, text := range c.files {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := importFrom(t, dir); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
	dir := t.TempDir()
	lost := strings.NewReplacer(`"last_token_ts":3`, `"last_token_ts":null`, `_time":1`, `_time":1.5`, `queued_ts":1`, `queued_ts":1.5`).Replace(good)
	for name, text := range map[string]string{"requests.jsonl": good + "\n" + lost, "meta.json": meta} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	res, err := importFrom(t, dir)
	if err != nil || res.Completed != 1 || res.Failed != 1 || res.Points[0].State != "invalid" {
		t.Errorf("an unfinished request is a failed row: %v %+v", err, res)
	}
	if _, err := json.Marshal(res); err != nil {
		t.Error(err)
	}
}

// An exact step yields the same bytes under every plan and in every run: also
// where nothing can be reused.
func TestImportIsExact(t *testing.T) {
	from := folder(t, "measurement", []trace.Point{quick(1).measure(t, 25)[0]}, quick(1).facts)
	if err := os.WriteFile(filepath.Join(from.Path, "workload.json"), []byte(`{"plan": "first", "over": "clip"}`), 0o644); err != nil {
		t.Fatal(err)
	}
	digests := map[string]string{}
	for _, name := range []string{"nightly", "weekly"} {
		dir := t.TempDir()
		store, err := pipeline.OpenStore(filepath.Join(dir, ".calrun"))
		if err != nil {
			t.Fatal(err)
		}
		kinds := pipeline.NewKinds(importKind)
		text := "version: calrun/v1\nname: " + name + "\nsteps:\n  recorded: {uses: import, with: {from: " + from.Path + "}}\n"
		plan, problems := pipeline.LoadBytes(filepath.Join(dir, "plan.yaml"), []byte(text), pipeline.LoadOptions{Kinds: kinds})
		if err := problems.Err(); err != nil {
			t.Fatal(err)
		}
		r := &pipeline.Runner{Kinds: kinds, Store: store, Log: zerolog.Nop(), Locks: filepath.Join(dir, "locks")}
		s, err := r.Run(t.Context(), plan, pipeline.RunOptions{})
		if err != nil || s.Exit != pipeline.ExitPass {
			t.Fatal(err, s)
		}
		digests[string(s.Rounds[0].Steps["recorded"].Result)] = name
	}
	if len(digests) != 1 {
		t.Errorf("two plans get different bytes of one recording: %v", digests)
	}
}
