package vidur

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ulikunitz/xz"

	"calrun/internal/profile"
	"calrun/internal/trace"
)

// standIn is the interpreter of testdata, as a user would name it.
func standIn(t *testing.T) Python {
	t.Helper()
	exe, err := filepath.Abs("testdata/python")
	if err != nil {
		t.Fatal(err)
	}
	py, err := Probe(context.Background(), exe)
	if err != nil {
		t.Fatal(err)
	}
	return py
}

// tiny writes a profile of a few rows.
func tiny(t *testing.T) Source {
	t.Helper()
	dir := t.TempDir()
	s := profile.Sheets{MLP: filepath.Join(dir, "mlp.csv"), Attention: filepath.Join(dir, "attention.csv")}
	for path, text := range map[string]string{
		s.MLP:       "time_stats.mlp_act.median,time_stats.mlp_act.mean,time_stats.mlp_up_proj.median,time_stats.add.median,num_tokens\n0.25,9,0.5,,1\n0.5,9,1,,2\n",
		s.Attention: "time_stats.attn_decode.median,batch_size\n0.125,1\n",
	} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return Source{Sheets: s, Layers: 4}
}

func ready(t *testing.T, cache string, set Setup) *Simulator {
	t.Helper()
	sim, _, err := standIn(t).Predict(context.Background(), cache, set, tiny(t))
	if err != nil {
		t.Fatal(err)
	}
	return sim
}

func TestRun(t *testing.T) {
	set := recorded(Sarathi)
	set.Blocks, set.FrontEnd = 1000, 2*time.Millisecond
	sim := ready(t, t.TempDir(), set)
	reqs := []trace.Request{
		{ID: 0, Due: time.Second, Prompt: 100, Output: 11},
		{ID: 1, Due: 0, Prompt: 200, Output: 1}, // not in the order of arrival
		{ID: 2, Due: time.Second, Prompt: 100, Output: 11},
	}
	for _, alone := range []bool{false, true} {
		dir := t.TempDir()
		res, err := sim.Run(context.Background(), dir, reqs, alone)
		if err != nil {
			t.Fatal(err)
		}
		for i, r := range res.Rows {
			tpot, many := r.TPOT()
			first := time.Duration(r.Prompt)*time.Millisecond + set.FrontEnd
			if r.Request != reqs[i] || r.Sent != r.Due || r.TTFT() != first || r.Tokens != r.Output || many && tpot != 10*time.Millisecond {
				t.Errorf("alone %v: request %d is %+v with TTFT %v and TPOT %v", alone, i, r, r.TTFT(), tpot)
			}
		}
		want := Stats{Steps: 2, PeakSeqs: 2, PeakBlocks: 500, End: time.Second + 202*time.Millisecond}
		if res.Stats != want {
			t.Errorf("alone %v: stats are %+v, want %+v", alone, res.Stats, want)
		}
		given := strings.Split(strings.TrimSpace(read(t, filepath.Join(dir, TraceFile))), "\n")
		asked := []string{"2023-08-21,1.002,100,11", "2023-08-21,0.002,200,1", "2023-08-21,1.002,100,11"}
		if alone { // far apart, and equal requests once
			asked = []string{"2023-08-21,0,100,11", "2023-08-21,10000,200,1"}
		}
		if !slices.Equal(given[1:], asked) {
			t.Errorf("alone %v: Vidur was given %q, want %q", alone, given[1:], asked)
		}
		for _, name := range []string{CommandFile, LogFile, configFile, requestsFile} {
			if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
				t.Errorf("alone %v: %v", alone, err)
			}
		}
	}
}

func TestRunsThatDoNotEnd(t *testing.T) {
	sim := ready(t, t.TempDir(), recorded(Sarathi))
	for _, c := range []struct {
		why   string
		req   trace.Request
		crash bool
		says  string
	}{
		{"a preemption is a result", trace.Request{Prompt: 666, Output: 2}, true, "cannot preempt"},
		{"a kill is not", trace.Request{Prompt: 999, Output: 2}, false, "killed"},
		{"what would be clipped is never given to Vidur", trace.Request{Prompt: 4000, Output: 97}, true, "would shorten"},
		{"nor is what would be rounded up", trace.Request{Prompt: 0, Output: 2}, true, "turn a 0 into a 1"},
		{"nor an output of nothing", trace.Request{Prompt: 3, Output: 0}, true, "turn a 0 into a 1"},
	} {
		_, err := sim.Run(context.Background(), t.TempDir(), []trace.Request{{Prompt: 1, Output: 1}, c.req}, false)
		var crash *Crash
		if err == nil || errors.As(err, &crash) != c.crash || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %T %v", c.why, err, err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := sim.Run(ctx, t.TempDir(), []trace.Request{{Prompt: 1, Output: 1}}, false); !errors.Is(err, context.Canceled) {
		t.Errorf("a run that is called off: %v", err)
	}
	if res, err := sim.Run(context.Background(), t.TempDir(), nil, false); err != nil || len(res.Rows) != 0 {
		t.Errorf("no requests: %v, %v", res, err)
	}
}

func TestTrainedOnce(t *testing.T) {
	calls := filepath.Join(t.TempDir(), "calls")
	t.Setenv("CALLS", calls)
	cache, py, from := t.TempDir(), standIn(t), tiny(t)
	folders := map[string]bool{}
	for _, c := range []struct {
		why     string
		change  func(*Setup)
		trained bool
	}{
		{"the first time", func(*Setup) {}, true},
		{"again", func(*Setup) {}, false},
		{"what the predictors do not depend on", func(s *Setup) { s.Blocks, s.Scheduler, s.FrontEnd = 5, VLLM, time.Second }, false},
		{"another content of the profile", func(s *Setup) { s.Scale.MLP = 2 }, true},
		{"an overhead, which the copy carries", func(s *Setup) { s.Scale.Overhead = time.Millisecond }, true},
		{"another granularity, which Vidur's own key leaves out", func(s *Setup) { s.Limits.Granularity = 32 }, true},
		{"another seed", func(s *Setup) { s.Seed = 43 }, true},
	} {
		set := recorded(Sarathi)
		c.change(&set)
		sim, trained, err := py.Predict(context.Background(), cache, set, from)
		if err != nil {
			t.Fatal(err)
		}
		if trained != c.trained || folders[sim.dir] == c.trained {
			t.Errorf("%s: trained is %v in a folder that was known: %v", c.why, trained, folders[sim.dir])
		}
		folders[sim.dir] = true
	}
	if n := strings.Count(read(t, calls), "\n"); n != 5 {
		t.Errorf("Vidur ran %d times, want once for each training", n)
	}
}

// Training that ends badly must leave nothing that a later run takes for
// predictors.
func TestTrainingThatFails(t *testing.T) {
	cache, py, from := t.TempDir(), standIn(t), tiny(t)
	bad := filepath.Join(t.TempDir(), "python")
	if err := os.WriteFile(bad, []byte("#!/bin/sh\necho 'Exception: Training data for model attn_decode is empty' >&2\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	good := py.Exe
	py.Exe = bad
	_, _, err := py.Predict(context.Background(), cache, recorded(Sarathi), from)
	if err == nil || !strings.Contains(err.Error(), "no rows of attn_decode") {
		t.Errorf("the error is %v", err)
	}
	py.Exe = good
	if _, trained, err := py.Predict(context.Background(), cache, recorded(Sarathi), from); err != nil || !trained {
		t.Errorf("after a failure: trained %v, %v", trained, err)
	}
}

func TestCopyOfTheProfile(t *testing.T) {
	from := tiny(t)
	set := recorded(Sarathi)
	same, err := copySheets(from.Sheets, set, Registry, from.Layers)
	if err != nil {
		t.Fatal(err)
	}
	if got := string(same[mlpFile]); got != read(t, from.Sheets.MLP) {
		t.Errorf("nothing changes, and the copy is %q", got)
	}
	set.Scale = profile.Scale{MLP: 2, Attn: 4, Overhead: 8 * time.Millisecond} // 2 ms for each of 4 layers
	got, err := copySheets(from.Sheets, set, Registry, from.Layers)
	if err != nil {
		t.Fatal(err)
	}
	if want := "time_stats.mlp_act.median,time_stats.mlp_act.mean,time_stats.mlp_up_proj.median,time_stats.add.median,num_tokens\n2.5,9,1,,1\n3,9,2,,2\n"; string(got[mlpFile]) != want {
		t.Errorf("mlp.csv is\n%s\nwant\n%s", got[mlpFile], want)
	}
	if want := "time_stats.attn_decode.median,batch_size\n0.5,1\n"; string(got[attentionFile]) != want {
		t.Errorf("attention.csv is\n%s", got[attentionFile])
	}
	if _, err := copySheets(from.Sheets, set, Registry, 0); err == nil {
		t.Error("an overhead was spread over an unknown number of layers")
	}
	repo, err := copySheets(from.Sheets, set, Repository, 0)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(bytes.NewReader(repo[overheadFile])).ReadAll()
	if err != nil || len(rows) != 1+set.Limits.Seqs || rows[1][3] != "8" || rows[128][2] != strconv.Itoa(128) {
		t.Errorf("the repository's overheads are %v, %v", rows[:2], err)
	}
	set.TP = 2
	if _, err := copySheets(from.Sheets, set, Registry, 4); err == nil || !strings.Contains(err.Error(), allReduceFile) {
		t.Errorf("two cards without a network profile: %v", err)
	}
}

func TestLaidOutAsDatasets(t *testing.T) {
	sim := ready(t, t.TempDir(), recorded(Sarathi))
	id := strings.TrimPrefix(filepath.Base(sim.dir), predictorsPrefix)
	compute := filepath.Join(sim.dir, "cache", "profiling_data", "compute", "datasets--calrun--compute-"+id)
	revision := read(t, filepath.Join(compute, "refs", "main"))
	if len(revision) != 40 || strings.Trim(revision, "0123456789abcdef") != "" {
		t.Errorf("the revision is %q", revision)
	}
	snapshot := filepath.Join(compute, "snapshots", revision)
	if got := read(t, filepath.Join(snapshot, "config.json")); got != `{"device_sku":"a100","model":"meta-llama/Llama-2-7b-hf"}` {
		t.Errorf("config.json is %s", got)
	}
	f, err := os.Open(filepath.Join(snapshot, "mlp.csv.xz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	in, err := xz.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(in)
	if err != nil || !strings.HasPrefix(string(text), "time_stats.mlp_act.median") {
		t.Errorf("mlp.csv.xz holds %q, %v", text, err)
	}
	network := filepath.Join(sim.dir, "cache", "profiling_data", "network", "datasets--calrun--network-"+id, "snapshots", revision, "config.json")
	if got := read(t, network); got != `{"sku":"a100_dgx"}` {
		t.Errorf("the network's config.json is %s", got)
	}
}

func TestKey(t *testing.T) {
	sim := ready(t, t.TempDir(), recorded(Sarathi))
	reqs := []trace.Request{{Prompt: 5, Output: 5}}
	other := *sim
	other.Setup.Blocks = 9
	later := []trace.Request{{Prompt: 5, Output: 5, Due: 1}}
	front := *sim
	front.Setup.FrontEnd = time.Millisecond // no part of what Vidur sees of requests alone
	keys := []string{sim.Key(reqs, false), sim.Key(reqs, true), sim.Key(later, false), other.Key(reqs, false), front.Key(reqs, true), front.Key(reqs, false)}
	slices.Sort(keys)
	if len(slices.Compact(keys)) != 6 {
		t.Errorf("different runs have one key: %q", keys)
	}
	if sim.Key(reqs, false) != ready(t, t.TempDir(), recorded(Sarathi)).Key(reqs, false) {
		t.Error("the key depends on where the cache is")
	}
}

// A calibration trains predictors by the dozen: those that were not used for
// longest make room, but for any that is in use.
func TestPrune(t *testing.T) {
	cache := t.TempDir()
	dir := filepath.Join(cache, "vidur")
	var names []string
	for i := range kept + 1 {
		name := fmt.Sprintf("%s%012d", predictorsPrefix, i)
		if i == 2 {
			name += stagingSuffix // of a training that was killed
		}
		if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
		used := time.Now().Add(time.Duration(i-100) * time.Minute)
		if err := os.Chtimes(filepath.Join(dir, name), used, used); err != nil {
			t.Fatal(err)
		}
		names = append(names, name)
	}
	release, err := share(context.Background(), filepath.Join(dir, names[0]+lockSuffix))
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	sim := ready(t, cache, recorded(Sarathi))
	for i, name := range append(names, filepath.Base(sim.dir)) {
		_, err := os.Stat(filepath.Join(dir, name))
		if there := err == nil; there != (i != 1) {
			t.Errorf("%s: there is %v", name, there)
		}
	}
	if err := os.RemoveAll(sim.dir); err != nil {
		t.Fatal(err)
	}
	_, err = sim.Run(context.Background(), t.TempDir(), []trace.Request{{Prompt: 1, Output: 1}}, false)
	var trouble *Trouble
	if !errors.As(err, &trouble) || !strings.Contains(err.Error(), "try again") {
		t.Errorf("predictors that are gone: %v", err)
	}
}
