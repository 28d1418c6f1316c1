package pipeline

import (
	"context"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
)

var update = flag.Bool("update", false, "write the golden files anew")

const small = `version: calrun/v1
name: small
limits: {rounds: 5}
steps:
  hw:
    uses: measure
    with: {seeds: 2, url: "http://here"}
  sim:
    uses: model
    with: {data: "${{ steps.hw.data }}", bias: 0.5}
  verdict:
    uses: gate
    of: sim
    assert: {close: error < 0.15}
    routes:
      - {when: failed.close, run: fix, max: 3}
remedies:
  fix:
    uses: fix
    sets: {sim.bias: bias}
    with: {start: "${{ steps.sim.bias }}", step: 0.1}
`

// golden holds the story of a run against a file.
func golden(t *testing.T, name string, story []string) {
	t.Helper()
	path := filepath.Join("testdata", "journal", name+".txt")
	got := strings.Join(story, "\n") + "\n"
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", path, got, want)
	}
}

func TestRunIsRepaired(t *testing.T) {
	b := newBench(t)
	s := b.run(small, RunOptions{})
	golden(t, "repaired", b.story(s.Run))
	if s.Exit != ExitPass || s.Verdict != Pass || len(s.Rounds) != 3 {
		t.Errorf("exit %d, %s after %d rounds: %v", s.Exit, s.Verdict, len(s.Rounds), s.Reasons)
	}
	for what, want := range map[string]int{"run hw": 1, "part hw 1": 1, "run sim": 3, "run fix": 2} {
		if got := b.fakes.calls.count(what); got != want {
			t.Errorf("%s: %d times, want %d", what, got, want)
		}
	}
	past, err := b.runner.Store.ReadRun(s.Run)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(past.Dir(), "1", "hw", "data", "2")); err != nil {
		t.Errorf("the step's folder: %v", err)
	}
	if st := s.Rounds[2].Steps["hw"]; st.Status != Reused || st.From != "round 1" {
		t.Errorf("hw in round 3 is %s from %q", st.Status, st.From)
	}
}

func TestRoutesEnd(t *testing.T) {
	tests := []struct {
		name   string // also of the golden file
		change []string
		exit   int
		reason string // a piece of the reasons
	}{
		{"no_progress", []string{"step: 0.1", "step: 0"}, ExitFail, "no progress"},
		{"spent", []string{"step: 0.1", "step: 0.01", "max: 3", "max: 1"}, ExitFail, "spent"},
		{"rounds", []string{"step: 0.1", "step: 0.01", "rounds: 5", "rounds: 2"}, ExitFail, "limits.rounds of 2"},
		{"set", []string{"run: fix", "set: {sim.bias: 0.2}"}, ExitPass, ""},
		{"set_nothing", []string{"run: fix", "set: {sim.bias: 0.5}"}, ExitFail, "no progress"},
		{"when_without_result", []string{"when: failed.close", "when: failed.close && steps.sim.good"}, ExitFail, "steps.sim.good has no value"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t)
			source := strings.NewReplacer(tt.change...).Replace(small)
			if strings.Contains(source, "set: ") {
				source = source[:strings.Index(source, "remedies:")]
			}
			s := b.run(source, RunOptions{})
			golden(t, tt.name, b.story(s.Run))
			if s.Exit != tt.exit || !strings.Contains(strings.Join(s.Reasons, "\n"), tt.reason) {
				t.Errorf("exit %d, %q", s.Exit, s.Reasons)
			}
		})
	}
}

// Exact results are used by every later run, measured ones only by --from.
func TestReuse(t *testing.T) {
	b := newBench(t)
	first := b.run(small, RunOptions{})
	second := b.run(small, RunOptions{From: first.Run})
	for what, want := range map[string]int{"run hw": 1, "run sim": 3} {
		if got := b.fakes.calls.count(what); got != want {
			t.Errorf("%s: %d times, want %d", what, got, want)
		}
	}
	if st := second.Rounds[0].Steps["hw"]; st.From != "run "+first.Run {
		t.Errorf("hw comes from %q", st.From)
	}
	b.fakes.id = func() (map[string]string, error) { return nil, errors.New("connection refused") }
	third := b.run(small, RunOptions{From: first.Run})
	if st := third.Rounds[0].Steps["hw"]; !strings.Contains(st.From, "on trust") {
		t.Errorf("hw of an engine that does not answer comes from %q", st.From)
	}
	if fourth := b.run(small, RunOptions{}); fourth.Exit != ExitError || !strings.Contains(strings.Join(fourth.Reasons, ""), "connection refused") {
		t.Errorf("an engine that does not answer, nothing to trust: exit %d, %v", fourth.Exit, fourth.Reasons)
	}
	b.fakes.id = func() (map[string]string, error) { return map[string]string{"engine": "fake 2"}, nil }
	if fifth := b.run(small, RunOptions{From: first.Run}); fifth.Rounds[0].Steps["hw"].From != "" {
		t.Error("the result of another engine was reused")
	}
	url := strings.Replace(small, "http://here", "http://there", 1)
	b.fakes.id = nil
	if sixth := b.run(url, RunOptions{From: first.Run}); sixth.Rounds[0].Steps["hw"].From == "" {
		t.Error("another location made another key")
	}
}

// A part is as reusable as its kind: of a measurement by --from, of what is
// exact by every run; and what is new is the only thing that is made.
func TestPartsOfOtherRuns(t *testing.T) {
	b := newBench(t)
	first := b.run(small, RunOptions{})
	more := strings.Replace(small, "seeds: 2", "seeds: 3", 1)
	b.run(more, RunOptions{From: first.Run})
	for what, want := range map[string]int{"part hw 1": 1, "part hw 2": 1, "part hw 3": 1, "run hw": 2} {
		if got := b.fakes.calls.count(what); got != want {
			t.Errorf("%s: %d times, want %d", what, got, want)
		}
	}
	b.run(more, RunOptions{})
	if got := b.fakes.calls.count("part hw 1"); got != 2 {
		t.Errorf("without --from a measured part was made %d times, want 2", got)
	}
	exact := strings.Replace(small, "uses: measure", "uses: grid", 1)
	b.run(exact, RunOptions{})
	b.run(strings.Replace(exact, "seeds: 2", "seeds: 4", 1), RunOptions{})
	for what, want := range map[string]int{"part hw 3": 3, "part hw 4": 1} {
		if got := b.fakes.calls.count(what); got != want {
			t.Errorf("exact: %s: %d times, want %d", what, got, want)
		}
	}
}

func TestErrorsAreKept(t *testing.T) {
	b := newBench(t)
	b.fakes.hook = func(_ context.Context, rt *Runtime, _ string) error {
		if rt.Step() == "sim" {
			return errBoom
		}
		return nil
	}
	s := b.run(small, RunOptions{})
	if s.Exit != ExitError || len(s.Reasons) != 1 || s.Reasons[0] != "sim: boom" || s.Verdict != "" {
		t.Fatalf("exit %d, %v, %q", s.Exit, s.Reasons, s.Verdict)
	}
	b.fakes.hook = func(_ context.Context, rt *Runtime, _ string) error {
		if rt.Step() == "sim" {
			panic("out of cheese")
		}
		return nil
	}
	s = b.resume(s.Run)
	if s.Exit != ExitError || !strings.Contains(s.Reasons[0], "out of cheese") {
		t.Fatalf("after a panic: exit %d, %v", s.Exit, s.Reasons)
	}
	log, err := os.ReadFile(filepath.Join(b.runner.Store.RunDir(s.Run), s.Rounds[0].Steps["sim"].Dir, logFile))
	if err != nil || !strings.Contains(string(log), "fake_test.go") {
		t.Errorf("no stack in the log: %v %s", err, log)
	}
	b.fakes.hook = nil
	s = b.resume(s.Run)
	if s.Exit != ExitPass || b.fakes.calls.count("run hw") != 1 {
		t.Errorf("exit %d, hw ran %d times", s.Exit, b.fakes.calls.count("run hw"))
	}
	if _, err := b.runner.Resume(t.Context(), s.Run); err == nil || !strings.Contains(err.Error(), "is finished") {
		t.Errorf("resume of a finished run: %v", err)
	}
}

func TestInterrupted(t *testing.T) {
	b := newBench(t)
	ctx, cancel := context.WithCancel(t.Context())
	b.fakes.hook = func(ctx context.Context, rt *Runtime, where string) error {
		if where == "part 2" {
			cancel()
			<-ctx.Done()
			return ctx.Err()
		}
		return nil
	}
	s, err := b.runner.Run(ctx, b.plan(small), RunOptions{})
	if err != nil || s.Exit != ExitInterrupted || !s.Unfinished() {
		t.Fatalf("exit %d, %v", s.Exit, err)
	}
	b.check(s)
	b.fakes.hook = nil
	s = b.resume(s.Run)
	if s.Exit != ExitPass || b.fakes.calls.count("part hw 1") != 1 || b.fakes.calls.count("part hw 2") != 2 {
		t.Errorf("exit %d, %v", s.Exit, b.fakes.calls.all())
	}
}

func TestInputs(t *testing.T) {
	b := newBench(t)
	source := "inputs:\n  bias: {type: float}\n  data: {type: dir}\n" + strings.NewReplacer(
		"bias: 0.5", `bias: "${{ inputs.bias }}"`, "${{ steps.hw.data }}", "${{ inputs.data }}",
	).Replace(small)
	source = "version: calrun/v1\nname: small\n" + strings.TrimPrefix(strings.Replace(source, "version: calrun/v1\nname: small\n", "", 1), "\n")
	if _, err := b.runner.Run(t.Context(), b.plan(source), RunOptions{}); !errors.Is(err, ErrInput) {
		t.Fatalf("inputs without a value: %v", err)
	}
	if err := os.CopyFS(filepath.Join(b.dir, "in"), fstest.MapFS{"1": {Data: []byte("x"), Mode: 0o644}}); err != nil {
		t.Fatal(err)
	}
	load := func(bias string) *Plan {
		p, problems := LoadBytes(filepath.Join(b.dir, "plan.yaml"), []byte(source), LoadOptions{
			Kinds: b.runner.Kinds, Inputs: map[string]string{"bias": bias, "data": filepath.Join(b.dir, "in")},
		})
		if err := problems.Err(); err != nil {
			t.Fatal(err)
		}
		return p
	}
	b.fakes.hook = func(_ context.Context, rt *Runtime, _ string) error {
		if rt.Step() == "sim" {
			return errBoom
		}
		return nil
	}
	s, err := b.runner.Run(t.Context(), load("0.2"), RunOptions{})
	if err != nil || s.Exit != ExitError {
		t.Fatalf("exit %d, %v", s.Exit, err)
	}
	// The plan file never existed; now the input is gone too.
	if err := os.RemoveAll(filepath.Join(b.dir, "in")); err != nil {
		t.Fatal(err)
	}
	b.fakes.hook = nil
	if s = b.resume(s.Run); s.Exit != ExitPass {
		t.Errorf("resumed without its input: exit %d, %v", s.Exit, s.Reasons)
	}
}
