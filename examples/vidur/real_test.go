//go:build real

// Package vidur holds the tests that run the real Vidur, as its README says.
package vidur

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"calrun/internal/shared"
	"calrun/internal/trace"
	"calrun/internal/vidur"
)

func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// table reads columns of a CSV file as numbers.
func table(t *testing.T, path string, cols ...string) [][]float64 {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	out := make([][]float64, len(rows)-1)
	for _, c := range cols {
		j := slices.Index(rows[0], c)
		for i, r := range rows[1:] {
			v, err := strconv.ParseFloat(r[j], 64)
			if err != nil {
				t.Fatal(err)
			}
			out[i] = append(out[i], v)
		}
	}
	return out
}

// recorded is the trace of the recorded runs, with the prompts that Vidur
// shortened then as short as they were.
func recorded(t *testing.T) []trace.Request {
	t.Helper()
	const most = 4096
	var reqs []trace.Request
	for i, r := range table(t, shared.Path(t, "captures/vidur/trace.csv"), "Time", "PromptTokenCount", "CompletionTokenCount") {
		q := trace.Request{ID: i, Due: trace.FromSeconds(r[0]), Prompt: int(r[1]), Output: int(r[2])}
		q.Prompt -= max(0, q.Prompt+q.Output-most)
		reqs = append(reqs, q)
	}
	return reqs
}

func setup(s vidur.Scheduler) vidur.Setup {
	set := vidur.Defaults()
	set.Model, set.Device, set.Node = "meta-llama/Llama-2-7b-hf", "a100", "a100_dgx"
	set.Scheduler, set.Blocks = s, 7424
	if s == vidur.VLLM {
		set.MaxTokens = 4096
	}
	set.Longest = 4096
	set.Limits = vidur.Limits{Tokens: 4096, Chunk: 4096, Seqs: 128, Granularity: 64}
	return set
}

// The recorded runs, repeated through the adapter with the installation that
// calrun keeps. Other processors may round otherwise: a percent is allowed.
func TestRealVidurRepeatsTheRecordedRuns(t *testing.T) {
	ctx := context.Background()
	b := openBench(t)
	probed, err := vidur.Probe(ctx, b.py.Exe)
	if err != nil {
		t.Fatal(err)
	}
	if probed.Dialect != b.py.Dialect || probed.Version != b.py.Version {
		t.Errorf("the installation is %s, and says that it is %s", b.py, probed)
	}
	reqs := recorded(t)
	simulate := func(set vidur.Setup, reqs []trace.Request, alone bool) (*vidur.Result, error) {
		return b.predict(t, b.cache, set).Run(ctx, t.TempDir(), reqs, alone)
	}
	for _, s := range []vidur.Scheduler{vidur.Sarathi, vidur.VLLM} {
		res, err := simulate(setup(s), reqs, false)
		if err != nil {
			t.Fatalf("%s: %v", s, err)
		}
		worst := 0.0
		for i, want := range table(t, shared.Path(t, "captures/vidur/"+string(s)+"/request_metrics.csv"), "prefill_e2e_time", "request_e2e_time") {
			r := res.Rows[i]
			worst = max(worst, math.Abs(r.TTFT().Seconds()/want[0]-1), math.Abs(r.E2E().Seconds()/want[1]-1))
		}
		t.Logf("%s: %+v, worst difference to the recorded run %.2g", s, res.Stats, worst)
		if worst > 0.01 {
			t.Errorf("%s: a request differs by %.2g from the recorded run", s, worst)
		}
	}

	// Alone, a request waits for nobody; and an overhead is paid in each step.
	set := setup(vidur.Sarathi)
	one := reqs[:1] // one chunk of 374 tokens, then 43 steps
	plain, err := simulate(set, one, true)
	if err != nil {
		t.Fatal(err)
	}
	set.Scale.Overhead = 3 * time.Millisecond
	slow, err := simulate(set, one, true)
	if err != nil {
		t.Fatal(err)
	}
	if d := slow.Rows[0].E2E() - plain.Rows[0].E2E() - time.Duration(one[0].Output)*set.Scale.Overhead; d.Abs() > 10*time.Microsecond {
		t.Errorf("%d steps with 3 ms each take %v more, %v off", one[0].Output, slow.Rows[0].E2E()-plain.Rows[0].E2E(), d)
	}

	set = setup(vidur.Sarathi)
	set.Blocks = 700
	_, err = simulate(set, reqs, false)
	var crash *vidur.Crash
	if !errors.As(err, &crash) || !strings.Contains(crash.Reason, "cannot preempt") {
		t.Errorf("700 blocks where thousands are needed: %v", err)
	}
}

// command is a calrun that was built for a test.
type command string

func build(t *testing.T) command {
	t.Helper()
	path := filepath.Join(t.TempDir(), "calrun")
	build := exec.Command("go", "build", "-o", path, "./cmd/calrun")
	build.Dir = root(t)
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return command(path)
}

// json runs it in the checkout, decodes what it prints and returns its exit
// code.
func (c command) json(t *testing.T, doc any, args ...string) int {
	t.Helper()
	run := exec.Command(string(c), append(args, "--json")...)
	run.Dir = root(t)
	var out bytes.Buffer
	run.Stdout, run.Stderr = &out, os.Stderr
	err := run.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if err := json.Unmarshal(out.Bytes(), doc); err != nil {
		t.Fatalf("calrun %s: %v\n%s", strings.Join(args, " "), err, out.Bytes())
	}
	return run.ProcessState.ExitCode()
}

// The plan, from the command line.
func TestRealVidurInAPlan(t *testing.T) {
	var doc struct {
		Verdict string
		Reasons []string
		Steps   map[string]struct {
			Error  string
			Result struct {
				Simulator string
				Steps     int
				States    map[string]string
				Reasons   map[string]string
			}
		}
	}
	code := build(t).json(t, &doc, "run", "plans/vidur-a800.yaml", "--dir", t.TempDir(), "--input", "profiles="+shared.Path(t, "profiles/vidur"))
	t.Logf("%s: %s", doc.Verdict, strings.Join(doc.Reasons, "; "))
	// A busy machine makes a noisy engine: not sure is an honest verdict.
	if doc.Verdict != "pass" && doc.Verdict != "inconclusive" || (code == 0) != (doc.Verdict == "pass") {
		t.Errorf("verdict %q with exit code %d", doc.Verdict, code)
	}
	sim := doc.Steps["sim"]
	if !strings.HasPrefix(sim.Result.Simulator, "vidur registry 0.0.26 ") || len(sim.Result.States) != 5 || sim.Result.Steps == 0 {
		t.Fatalf("the simulation is %+v", sim)
	}
	for point, state := range sim.Result.States {
		if state != string(trace.OK) && state != string(trace.Overloaded) {
			t.Errorf("%s is %s: %s", point, state, sim.Result.Reasons[point])
		}
	}
}
