package vidur

import (
	"encoding/csv"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"calrun/internal/shared"
	"calrun/internal/trace"
)

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// recorded is the setup of the recorded runs.
func recorded(s Scheduler) Setup {
	set := Defaults()
	set.Model, set.Device, set.Node = "meta-llama/Llama-2-7b-hf", "a100", "a100_dgx"
	set.Scheduler = s
	if s == VLLM {
		set.MaxTokens = 4096
	}
	set.Longest = 4096
	set.Limits = Limits{Tokens: 4096, Chunk: 4096, Seqs: 128, Granularity: 64}
	return set
}

func TestCommandLinesOfTheRecordedRuns(t *testing.T) {
	for _, s := range []Scheduler{Sarathi, VLLM} {
		line := read(t, shared.Path(t, "captures/vidur/"+string(s)+"/command.txt"))
		_, want, _ := strings.Cut(strings.TrimSpace(line), "vidur.main ")
		got := CommandLine(recorded(s).Args(Registry, Paths{
			Trace: "trace.csv", Output: string(s), Cache: "cache", Compute: "calrun/compute", Network: "calrun/network",
		}))
		if got != want {
			t.Errorf("%s: the command line is\n%s\nwant\n%s", s, got, want)
		}
	}
}

// recordedRequests reads the trace of the recorded runs.
func recordedRequests(t *testing.T) []trace.Request {
	t.Helper()
	rows, err := csv.NewReader(strings.NewReader(read(t, shared.Path(t, "captures/vidur/trace.csv")))).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	number := func(s string) float64 {
		v, err := strconv.ParseFloat(s, 64)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	var reqs []trace.Request
	for i, r := range rows[1:] {
		reqs = append(reqs, trace.Request{ID: i, Due: trace.FromSeconds(number(r[1])), Prompt: int(number(r[2])), Output: int(number(r[3]))})
	}
	return reqs
}

// clipped shortens prompts as Vidur does with requests above its limit.
func clipped(reqs []trace.Request, most int) []trace.Request {
	out := slices.Clone(reqs)
	for i, r := range out {
		out[i].Prompt -= max(0, r.Prompt+r.Output-most)
	}
	return out
}

// recordedOutput is a copy of a recorded output folder, as Vidur leaves it,
// with some of its files changed.
func recordedOutput(t *testing.T, s Scheduler, change map[string]func(string) string) string {
	t.Helper()
	dir := t.TempDir()
	from := shared.Path(t, "captures/vidur/"+string(s))
	for _, f := range []struct{ name, to string }{
		{configFile, configFile},
		{requestsFile, requestsFile},
		{batchesFile, batchesFile},
		{"replica_1_memory_usage.json", memoryFile},
	} {
		text := read(t, filepath.Join(from, f.name))
		if c := change[f.name]; c != nil {
			text = c(text)
		}
		to := filepath.Join(dir, filepath.FromSlash(f.to))
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestRecordedOutputs(t *testing.T) {
	reqs := clipped(recordedRequests(t), 4096)
	for _, c := range []struct {
		s      Scheduler
		ttft50 time.Duration // as vidur's own percentile of the recorded run says, to the millisecond
		e2e50  time.Duration
	}{
		{Sarathi, 212 * time.Millisecond, 8150 * time.Millisecond},
		{VLLM, 90 * time.Millisecond, 8350 * time.Millisecond},
	} {
		set := recorded(c.s)
		set.Blocks = 7424 // what its planner found
		got, stats, err := accept(recordedOutput(t, c.s, nil), set, reqs)
		if err != nil {
			t.Fatalf("%s: %v", c.s, err)
		}
		var ttft, e2e []time.Duration
		for _, x := range got {
			ttft, e2e = append(ttft, x.first), append(e2e, x.last)
		}
		slices.Sort(ttft)
		slices.Sort(e2e)
		n := len(got) / 2
		if mid := (ttft[n-1] + ttft[n]) / 2; (mid - c.ttft50).Abs() > time.Millisecond {
			t.Errorf("%s: median TTFT is %v, want %v", c.s, mid, c.ttft50)
		}
		if mid := (e2e[n-1] + e2e[n]) / 2; (mid - c.e2e50).Abs() > 10*time.Millisecond {
			t.Errorf("%s: median E2E is %v, want %v", c.s, mid, c.e2e50)
		}
		if stats.Steps < 1000 || stats.PeakSeqs < 10 || stats.PeakSeqs > 128 || stats.Preemptions != 0 || stats.PeakBlocks < 5000 || stats.PeakBlocks > 7424 {
			t.Errorf("%s: stats are %+v", c.s, stats)
		}
	}
}

func TestAcceptance(t *testing.T) {
	reqs := clipped(recordedRequests(t), 4096)
	cut := func(n int) func(string) string { return func(s string) string { return s[:len(s)-n] } }
	replace := func(old, by string) func(string) string {
		return func(s string) string { return strings.Replace(s, old, by, 1) }
	}
	drop := func(s string) string { // the last row
		s = strings.TrimSuffix(s, "\n")
		return s[:strings.LastIndex(s, "\n")+1]
	}
	for _, c := range []struct {
		why    string
		reqs   []trace.Request
		change map[string]func(string) string
		says   string
	}{
		{"as recorded, but what was asked for was longer", recordedRequests(t), nil, "lengths of 12 of 300 requests"},
		{"a row is missing", reqs, map[string]func(string) string{requestsFile: drop}, "299 rows, and the trace 300"},
		{"a full disk cut the file", reqs, map[string]func(string) string{requestsFile: cut(7)}, "cut short"},
		{"an id is another", reqs, map[string]func(string) string{requestsFile: replace("\n1,", "\n7,")}, "row 1 is of request 7"},
		{"a cell is empty", reqs, map[string]func(string) string{requestsFile: replace("\n1,1.1845060800000136,", "\n1,,")}, "never finished"},
		{"the default scheduler ran", reqs, map[string]func(string) string{configFile: replace(`"sarathi"`, `"mnemosyne_fcfs_fixed_chunk"`)}, "mnemosyne"},
		{"a column is missing", reqs, map[string]func(string) string{requestsFile: replace("prefill_e2e_time", "ttft")}, "no column"},
		{"a time is no number", reqs, map[string]func(string) string{requestsFile: replace("1.1845060800000136", "nan")}, "not a number"},
	} {
		_, _, err := accept(recordedOutput(t, Sarathi, c.change), recorded(Sarathi), c.reqs)
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want an error with %q", c.why, err, c.says)
		}
	}
}

// A run that ended at a time limit ended with code 0.
func TestTimeLimitIsRefused(t *testing.T) {
	short := read(t, shared.Path(t, "captures/vidur/time_limit/request_metrics.csv"))
	dir := recordedOutput(t, Sarathi, map[string]func(string) string{requestsFile: func(string) string { return short }})
	for _, n := range []int{300, 89} { // as asked, and as many as there are
		if _, _, err := accept(dir, recorded(Sarathi), clipped(recordedRequests(t), 4096)[:n]); err == nil {
			t.Errorf("89 rows with empty cells were believed for %d requests", n)
		}
	}
}

func TestRecordedFailures(t *testing.T) {
	rows := strings.Split(strings.TrimSpace(read(t, shared.Path(t, "captures/vidur/errors/index.tsv"))), "\n")[1:]
	says := map[string]string{
		"missing_trace":                "cannot read the trace",
		"text_in_tokens":               "cannot read the trace",
		"short_row":                    "cannot read the trace",
		"wrong_columns":                "cannot read the trace",
		"decode_above_max_tokens":      "output alone is longer",
		"kv_too_small_for_a_request":   "needs more KV blocks than there are",
		"preemption":                   "ran out of KV blocks and 0.0.26 cannot preempt",
		"unknown_model":                "does not know the model meta-llama/Meta-Llama-3-70B",
		"unknown_device":               "does not know the card a800",
		"unknown_network_device":       "does not know the kind of node a800_dgx",
		"tp_not_in_profile":            "no rows of tensor parallel 4",
		"block_size_not_in_profile":    "no rows of attn_kv_cache_save",
		"profile_missing":              "not laid out",
		"profile_of_another_device":    "of another model, card or node",
		"cache_of_another_granularity": "outside Vidur's tables of predictions, at (1, 416)",
		"max_tokens_above_predictor":   "outside Vidur's tables of predictions, at (4160, 96)",
		"unknown_flag":                 "does not know the arguments --no_such_flag 1",
		"truncated_prediction_cache":   "predictors are damaged",
		"truncated_model_cache":        "predictors are damaged",
		"plots_without_chrome":         "need Chrome",
	}
	if len(rows) != len(says) {
		t.Fatalf("%d failures are recorded, and %d are told apart", len(rows), len(says))
	}
	trouble := []string{"unknown_flag", "truncated_prediction_cache", "truncated_model_cache"}
	for _, row := range rows {
		f := strings.Split(row, "\t")
		code, err := strconv.Atoi(f[1])
		if err != nil {
			t.Fatal(err)
		}
		got := explain(code, read(t, shared.Path(t, "captures/vidur/errors/"+f[0]+".stderr")))
		if want := says[f[0]]; want == "" || !strings.Contains(got.Error(), want) {
			t.Errorf("%s: %v, want it to say %q", f[0], got, want)
		}
		var tr *Trouble
		if errors.As(got, &tr) != slices.Contains(trouble, f[0]) {
			t.Errorf("%s: %T: is it the machine's fault or the simulation's?", f[0], got)
		}
	}
}

func TestUnknownFailures(t *testing.T) {
	for _, c := range []struct {
		why, stderr, says string
		code              int
		trouble           bool
	}{
		{"an end that nobody knows is quoted", "Traceback\nZeroDivisionError: division by zero\n", "exit code 1 (its last line: ZeroDivisionError: division by zero)", 1, false},
		{"a bare assertion elsewhere is not the preemption", "  in somewhere_else\nAssertionError\n", "exit code 1", 1, false},
		{"killed: the memory may be out", "", "killed", -1, true},
		{"a shell's code for a signal", "", "killed", 137, true},
		{"a full disk", "OSError: [Errno 28] No space left on device\n", "no room", 1, true},
	} {
		err := explain(c.code, c.stderr)
		var tr *Trouble
		if !strings.Contains(err.Error(), c.says) || errors.As(err, &tr) != c.trouble {
			t.Errorf("%s: %T %v", c.why, err, err)
		}
	}
}
