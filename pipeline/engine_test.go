package pipeline

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"calrun/pipeline/lock"
	"calrun/pipeline/state"
	"calrun/pipeline/store"
)

const wide = `version: calrun/v1
name: wide
steps:
  a: {uses: model, with: {bias: 1}}
  b: {uses: model, with: {bias: 2}}
  m1: {uses: measure, with: {seeds: 1}}
  m2: {uses: measure, with: {seeds: 2}}
`

// Independent steps run at the same time; two measurements never do.
func TestParallel(t *testing.T) {
	b := newBench(t)
	met := make(chan struct{}, 2)
	var measuring, most atomic.Int32
	b.fakes.hook = func(ctx context.Context, rt *Runtime, where string) error {
		switch {
		case where == "begin" && strings.HasPrefix(rt.Step(), "m"):
			if n := measuring.Add(1); n > most.Load() {
				most.Store(n)
			}
		case where == "end":
			measuring.Add(-1)
		case rt.Step() == "a": // each waits for the other
			met <- struct{}{}
		case rt.Step() == "b":
			select {
			case <-met:
			case <-ctx.Done():
			}
		}
		return nil
	}
	b.runner.Observe = nil
	s, err := b.runner.Run(t.Context(), b.plan(wide), RunOptions{})
	if err != nil || s.Exit != ExitPass {
		t.Fatalf("exit %d, %v, %v", s.Exit, s.Reasons, err)
	}
	if most.Load() != 1 {
		t.Errorf("%d measurements at once", most.Load())
	}
}

// Time in a bubble is free, so these hold the laws of waiting without waiting.
func TestWaiting(t *testing.T) {
	hang := func(ctx context.Context, _ *Runtime, _ string) error { <-ctx.Done(); return ctx.Err() }
	tests := []struct {
		name   string
		change []string // of the small plan
		hook   func(tries int) func(context.Context, *Runtime, string) error
		exit   int
		reason string
		least  time.Duration // that the run took
		tries  int           // of sim in the first round
	}{
		{
			"a timeout is an error of the step",
			[]string{"uses: model", "uses: model\n    timeout: 1h"},
			func(int) func(context.Context, *Runtime, string) error { return hang },
			ExitError, "did not finish within its timeout of 1h", time.Hour, 1,
		},
		{
			"an error is tried again, after a wait that grows",
			[]string{"uses: model", "uses: model\n    retry: {max: 2, delay: 10m}"},
			func(n int) func(context.Context, *Runtime, string) error {
				return func(context.Context, *Runtime, string) error {
					if n < 3 {
						return errBoom
					}
					return nil
				}
			},
			ExitPass, "", 30 * time.Minute, 3,
		},
		{
			"and not more often than the plan says",
			[]string{"uses: model", "uses: model\n    retry: {max: 2, delay: 10m}"},
			func(int) func(context.Context, *Runtime, string) error {
				return func(context.Context, *Runtime, string) error { return errBoom }
			},
			ExitError, "boom", 30 * time.Minute, 3,
		},
		{
			"a panic is a bug: it would be the same again",
			[]string{"uses: model", "uses: model\n    retry: {max: 2, delay: 10m}"},
			func(int) func(context.Context, *Runtime, string) error {
				return func(context.Context, *Runtime, string) error { panic("bug") }
			},
			ExitError, "it panicked: bug", 0, 1,
		},
		{
			"a full disk does not empty itself",
			[]string{"uses: model", "uses: model\n    retry: {max: 2, delay: 10m}"},
			func(int) func(context.Context, *Runtime, string) error {
				return func(context.Context, *Runtime, string) error {
					return &os.PathError{Op: "write", Path: "rows", Err: syscall.ENOSPC}
				}
			},
			ExitError, "write rows: no space left on device; nothing finished is lost: see to the disk", 0, 1,
		},
		{
			"limits.wall ends what runs; there is no verdict yet",
			[]string{"limits: {rounds: 5}", "limits: {wall: 2h}"},
			func(int) func(context.Context, *Runtime, string) error { return hang },
			ExitInconclusive, "limits.wall of 2h", 2 * time.Hour, 1,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t)
			tries := 0
			b.fakes.hook = func(ctx context.Context, rt *Runtime, where string) error {
				if rt.Step() != "sim" {
					return nil
				}
				tries++
				return tt.hook(tries)(ctx, rt, where)
			}
			synctest.Test(t, func(t *testing.T) {
				source := strings.NewReplacer(append(tt.change, "bias: 0.5", "bias: 0.2")...).Replace(small)
				began := time.Now()
				s, err := b.runner.Run(t.Context(), b.plan(source), RunOptions{})
				if err != nil {
					t.Fatal(err)
				}
				if s.Exit != tt.exit || !strings.Contains(strings.Join(s.Reasons, "; "), tt.reason) {
					t.Errorf("exit %d, %q", s.Exit, s.Reasons)
				}
				if took := time.Since(began); took < tt.least || took > tt.least+tt.least/4+time.Minute {
					t.Errorf("it took %s, not %s", took, tt.least)
				}
				if st := s.Rounds[0].Steps["sim"]; st.Attempt != tt.tries {
					t.Errorf("%d tries, want %d", st.Attempt, tt.tries)
				}
			})
		})
	}
}

// A host-wide lock is waited for, and the user is told.
func TestRunWaitsForLock(t *testing.T) {
	b := newBench(t)
	held, err := lock.Host(t.Context(), lock.Claim{
		Dir: b.runner.Locks, Names: []string{"gpu-0"}, By: lock.Holder{Plan: "other", Step: "hw", Run: "r"},
	})
	if err != nil {
		t.Fatal(err)
	}
	observe := b.runner.Observe
	b.runner.Observe = func(u Update) {
		observe(u)
		if strings.Contains(u.Note, "waiting for the lock gpu-0, held by process "+strconv.Itoa(os.Getpid())+" (plan other, step hw, run r) since ") {
			held.Release()
		}
	}
	s := b.run(strings.Replace(small, "uses: measure", "uses: measure\n    locks: [gpu-0]", 1), RunOptions{})
	told := 0
	for _, u := range b.updates {
		if strings.Contains(u.Note, "waiting for the lock") {
			told++
		}
	}
	if s.Exit != ExitPass || told != 1 {
		t.Errorf("exit %d, told %d times", s.Exit, told)
	}
}

// Two plans that load one engine take turns, though neither names a lock for
// it: the second says for what it waits and for whom. So do two steps of one
// plan, whatever else they lock. What is locked enters no key.
func TestOneEngineIsLoadedByOne(t *testing.T) {
	const source = `version: calrun/v1
name: NAME
steps:
  a: {uses: measure, locks: [gpu], with: {url: "localhost:1"}}
  b: {uses: measure, locks: [zone, node], with: {url: "localhost:1", seeds: 2}}
`
	one, two := newBench(t), newBench(t)
	two.runner.Locks = one.runner.Locks
	var loading, most atomic.Int32
	began, waits := make(chan struct{}), make(chan struct{})
	hook := func(first func()) func(context.Context, *Runtime, string) error {
		return func(_ context.Context, _ *Runtime, where string) error {
			switch where {
			case "begin":
				most.Store(max(most.Load(), loading.Add(1)))
				first()
			case "end":
				loading.Add(-1)
			}
			return nil
		}
	}
	one.fakes.hook = hook(sync.OnceFunc(func() { close(began); <-waits }))
	two.fakes.hook = hook(func() {})
	told := sync.OnceFunc(func() { close(waits) })
	two.runner.Observe = func(u Update) {
		if strings.HasPrefix(u.Note, "waiting for the lock engine localhost:1, held by process "+strconv.Itoa(os.Getpid())+" (plan one, step ") {
			told()
		}
	}
	ended := make(chan *State, 1)
	go func() {
		s, err := one.runner.Run(t.Context(), one.plan(strings.Replace(source, "NAME", "one", 1)), RunOptions{})
		if err != nil {
			t.Error(err)
		}
		ended <- s
	}()
	<-began
	s := two.run(strings.Replace(source, "NAME", "two", 1), RunOptions{})
	if other := <-ended; s.Exit != ExitPass || other == nil || other.Exit != ExitPass || most.Load() != 1 {
		t.Errorf("exits %d and %+v, %d at once", s.Exit, other, most.Load())
	}
	three := newBench(t).run(strings.NewReplacer("NAME", "three", `url: "localhost:1", `, "", `, with: {url: "localhost:1"}`, "").Replace(source), RunOptions{})
	for _, step := range []string{"a", "b"} {
		if got, want := s.Rounds[0].Steps[step].Key, three.Rounds[0].Steps[step].Key; got != want {
			t.Errorf("%s: key %s, without an engine %s", step, got, want)
		}
	}
}

// A step alone waits for its engine as a step of a plan does.
func TestAStepAloneWaitsForItsEngine(t *testing.T) {
	b := newBench(t)
	t.Setenv("CALRUN_LOCKS", b.runner.Locks)
	held, err := lock.Host(t.Context(), lock.Claim{Names: []string{"engine localhost:1"}, By: lock.Holder{Step: "other"}})
	if err != nil {
		t.Fatal(err)
	}
	k, _ := b.runner.Kinds.Lookup("measure")
	told := ""
	_, err = RunStep(t.Context(), k, []byte(`{"url": "localhost:1"}`), AloneOptions{
		Dir: b.dir, Out: filepath.Join(b.dir, "out"), Log: nolog,
		Progress: func(_, _ float64, note string) {
			if told == "" {
				told = note
				held.Release()
			}
		},
	})
	if err != nil || !strings.Contains(told, "(calrun step other)") {
		t.Errorf("told %q, %v", told, err)
	}
}

func TestOneProcessAtATime(t *testing.T) {
	b := newBench(t)
	b.fakes.hook = func(_ context.Context, rt *Runtime, where string) error {
		if where == "begin" && rt.Step() == "hw" {
			if _, err := b.runner.Resume(t.Context(), rt.Run()); err == nil || !strings.Contains(err.Error(), "another process") {
				t.Errorf("resume of a run that is being worked on: %v", err)
			}
		}
		return nil
	}
	b.run(small, RunOptions{})
	if _, err := b.runner.Resume(t.Context(), "20261124-000000-0000"); err == nil {
		t.Error("a run that does not exist was resumed")
	}
}

// What a step must not do is its error and nobody else's.
func TestBadResults(t *testing.T) {
	tests := []struct {
		name   string
		result any
		reason string
	}{
		{"nothing", nil, "returned no result"},
		{"NaN", map[string]any{"error": []float64{1, nan()}}, "result.error[1] is NaN"},
		{"an artefact elsewhere", map[string]any{"f": Artefact{Path: "/etc/hostname"}}, "not below the step's folder"},
		{"an artefact that is not there", map[string]any{"f": Artefact{Path: "nowhere"}}, "no such file"},
		{"a value without JSON", map[string]any{"f": func() {}}, "unsupported type"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newBench(t).runner.Store
			dir := t.TempDir()
			raw, err := s.takeResult(tt.result, dir, filepath.Join(dir, "parts"))
			if err == nil || !strings.Contains(err.Error(), tt.reason) {
				t.Errorf("%s, %v", raw, err)
			}
		})
	}
}

func nan() float64 { z := 0.0; return z / z }

// Large results leave the journal for the store, and come back.
func TestLargeValue(t *testing.T) {
	s := newBench(t).runner.Store
	doc := []byte(`"` + strings.Repeat("x", inlineLimit) + `"`)
	v, err := s.value(doc)
	if err != nil || v.JSON != nil {
		t.Fatalf("inline: %d bytes, %v", len(v.JSON), err)
	}
	if err := s.load(v); err != nil || string(v.JSON) != string(doc) {
		t.Errorf("loaded %d bytes, %v", len(v.JSON), err)
	}
}

// A disk that cannot be written stops the run with a sentence.
func TestJournalCannotBeWritten(t *testing.T) {
	b := newBench(t)
	b.fakes.hook = func(_ context.Context, rt *Runtime, where string) error { return nil }
	p := b.plan(small)
	e, err := b.runner.engine(p, &journal{file: &store.Journal{}}, &State{Run: "x"})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.append(&Event{Type: state.EventRound}); err == nil {
		t.Error("an event without a file was journalled")
	}
	e.note(errors.New("no space left on device"))
	if _, err := e.run(t.Context()); err == nil || !strings.Contains(err.Error(), "no space left") {
		t.Errorf("got %v", err)
	}
}

func TestPreview(t *testing.T) {
	b := newBench(t)
	source := strings.Replace(wide, "steps:", "inputs:\n  x: {type: float}\nsteps:\n  c: {uses: model, with: {bias: \"${{ inputs.x }}\"}}", 1)
	forecast := func(src string) map[string]StepForecast {
		t.Helper()
		f, err := Preview(t.Context(), b.plan(src), b.runner.Store, RunOptions{})
		if err != nil {
			t.Fatal(err)
		}
		out := map[string]StepForecast{}
		for _, s := range f.Steps {
			out[s.Name] = s
		}
		return out
	}
	before := forecast(source)
	for name, want := range map[string]Action{"a": ActRun, "m1": ActRun, "c": ActUnknown} {
		if before[name].Action != want {
			t.Errorf("%s: %s because %s, want %s", name, before[name].Action, before[name].Why, want)
		}
	}
	if ids, err := b.runner.Store.Runs(); err != nil || len(ids) > 0 {
		t.Errorf("a preview made runs %v (%v)", ids, err)
	}
	b.run(wide, RunOptions{})
	after := forecast(wide)
	if after["a"].Action != ActReuse || after["m1"].Action != ActRun {
		t.Errorf("after a run: a %s, m1 %s", after["a"].Action, after["m1"].Action)
	}
	f, err := Preview(t.Context(), b.plan(small), b.runner.Store, RunOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if f.Rounds != 4 || len(f.Routes) != 1 || strings.Join(f.Routes[0].Reruns, " ") != "sim verdict" {
		t.Errorf("%+v", f)
	}
}
