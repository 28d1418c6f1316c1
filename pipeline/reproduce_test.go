package pipeline

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"calrun/pipeline/state"
	"calrun/pipeline/store"
)

// acceptSmall runs the small plan, which takes its remedy twice, and accepts it.
func acceptSmall(t *testing.T) (*bench, *Accepted) {
	t.Helper()
	b := newBench(t)
	if err := os.WriteFile(filepath.Join(b.dir, "plan.yaml"), []byte(small), 0o644); err != nil {
		t.Fatal(err)
	}
	s := b.run(small, RunOptions{})
	return b, b.accept(s.Run)
}

func (b *bench) accept(id string) *Accepted {
	b.t.Helper()
	a, err := b.runner.Store.Accept(id, AcceptOptions{Kinds: b.runner.Kinds, Page: testPage})
	if err != nil {
		b.t.Fatal(err)
	}
	return a
}

// testPage stands for the digest of a page: of the verdicts.
func testPage(p *Past) (string, error) {
	var verdicts []string
	for _, r := range p.State.Rounds {
		verdicts = append(verdicts, mustJSON(r.Gates))
	}
	return strings.Join(verdicts, " "), nil
}

// clone copies plan, lock and pack alone into a new folder.
func clone(t *testing.T, a *Accepted) string {
	t.Helper()
	dir := t.TempDir()
	for _, file := range []string{a.LockFile, a.PackFile, strings.TrimSuffix(a.LockFile, ".lock.yaml") + ".yaml"} {
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(file)), readFile(t, file), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func reproduce(t *testing.T, dir string, kinds *Kinds) (*Reproduction, error) {
	t.Helper()
	return Reproduce(t.Context(), filepath.Join(dir, "plan.lock.yaml"), ReproduceOptions{Kinds: kinds, Log: nolog, Page: testPage, Limit: packLimit})
}

// checks are the findings of a reproduction in short lines.
func checks(r *Reproduction) []string {
	var out []string
	for _, c := range r.Checks {
		line := string(c.Finding) + " " + c.What
		if c.First != nil {
			line += " " + c.First.String()
		}
		out = append(out, line)
	}
	return out
}

func TestAnAcceptedRunIsReproduced(t *testing.T) {
	b, a := acceptSmall(t)
	dir := clone(t, a)
	if err := os.RemoveAll(b.runner.Store.Dir()); err != nil { // the clone must do
		t.Fatal(err)
	}
	b.fakes.id = func() (map[string]string, error) { return nil, errors.New("no engine here") }
	for _, procs := range []int{1, 4} {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
		r, err := reproduce(t, dir, b.runner.Kinds)
		if err != nil || !r.Match {
			t.Fatalf("match %v, %v:\n%s", r.Match, err, strings.Join(checks(r), "\n"))
		}
		want := []string{"same lock", "same pack", "same plan plan.yaml", "same findings", "recorded round 1 hw", "same round 1 sim", "same round 1 gate verdict", "same round 1 fix", "same round 2 sim"}
		if got := checks(r); !slices.Equal(got[:len(want)], want) || got[len(got)-1] != "same report" {
			t.Errorf("checks %q, want %q ... same report", got, want)
		}
	}
	if n := b.fakes.calls.count("run hw"); n != 1 {
		t.Errorf("hardware was measured %d times", n)
	}
	if names, err := os.ReadDir(dir); err != nil || len(names) != 3 {
		t.Errorf("the clone holds %v, %v: nothing may be written there", names, err)
	}
}

// A simulator whose sources changed runs, and what it finds otherwise is named.
func TestAChangedComputationIsNamed(t *testing.T) {
	b, a := acceptSmall(t)
	kinds := NewKinds(
		Kind{Name: "measure", Version: 1, Repeat: Measured, New: func() Step { return &measure{f: b.fakes, Seeds: 1} }, Result: measured{}},
		Kind{Name: "model", Version: 1, Repeat: Exact, New: func() Step { return &newModel{} }, Result: modelled{}},
		Kind{Name: "fix", Version: 1, Repeat: Exact, New: func() Step { return &fix{f: b.fakes} }, Result: fixed{}},
	)
	r, err := reproduce(t, clone(t, a), kinds)
	if err != nil || r.Match {
		t.Fatalf("match %v, %v", r.Match, err)
	}
	i := slices.IndexFunc(r.Checks, func(c Check) bool { return c.What == "round 1 sim" })
	c := r.Checks[i]
	if c.Finding != Different || c.First == nil || c.First.At != "/error" || c.First.Old != "0.3" || !strings.Contains(c.Note, "sources changed:  → 2") {
		t.Errorf("check %+v (%v), want the first differing field and what changed", c, c.First)
	}
	if j := slices.IndexFunc(r.Checks, func(c Check) bool { return c.Finding == Different }); j != i {
		t.Errorf("the first difference is %+v", r.Checks[j])
	}
}

// newModel is the model after its sources were changed.
type newModel struct {
	Data *Artefact `yaml:"data" artefact:"data"`
	Bias float64   `yaml:"bias"`
}

func (m *newModel) Identity(context.Context) (map[string]string, error) {
	return map[string]string{"sources": "2"}, nil
}

func (m *newModel) Run(context.Context, *Runtime) (any, error) {
	return modelled{Error: max(m.Bias-0.2, 0.2-m.Bias) * 1.0000001, Bias: m.Bias}, nil
}

// One byte changed in the lock, or in the pack, is found: in each place.
func TestOneByteChangedIsFound(t *testing.T) {
	b, a := acceptSmall(t)
	dir := clone(t, a)
	lock := readFile(t, a.LockFile)
	for i := range lock {
		changed := bytes.Clone(lock)
		changed[i] ^= 1 << (i % 8)
		if _, err := decodeLock(changed); !errors.Is(err, ErrChanged) {
			t.Fatalf("lock: byte %d of %d (%q): %v", i, len(lock), lock[i], err)
		}
	}
	whole := readFile(t, a.PackFile)
	for i := 0; i < len(whole); i += 7 {
		changed := bytes.Clone(whole)
		changed[i] ^= 1 << (i % 8)
		if err := os.WriteFile(filepath.Join(dir, "plan.pack"), changed, 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := reproduce(t, dir, b.runner.Kinds); err == nil {
			t.Fatalf("pack: byte %d of %d: not found", i, len(whole))
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "plan.pack"), whole[:len(whole)-1], 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := reproduce(t, dir, b.runner.Kinds); !errors.Is(err, ErrChanged) {
		t.Errorf("a byte lost: %v", err)
	}
}

// Whoever edits a lock and mends its digest has not edited the journal, and
// whoever edits journal and lock has not made the steps find it again.
func TestAForgedLockIsNamed(t *testing.T) {
	b, a := acceptSmall(t)
	dir := clone(t, a)
	forge := func(change func(l *Lock)) {
		l, err := ReadLock(a.LockFile)
		if err != nil {
			t.Fatal(err)
		}
		change(l)
		text, err := l.encode()
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "plan.lock.yaml"), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for want, change := range map[string]func(l *Lock){
		"/rounds/0/gates/0/assert/0/values/error: 0.3 → 0.1":    func(l *Lock) { l.Rounds[0].Gates[0].Assert[0].Values["error"] = 0.1 },
		"/verdict: \"pass\" → \"fail\"":                         func(l *Lock) { l.Verdict = Fail },
		"/rounds/0/steps/0/identity/engine: \"fake 1\" → \"x\"": func(l *Lock) { l.Rounds[0].Steps[0].Identity["engine"] = "x" },
		"/rounds/2: ": func(l *Lock) { l.Rounds = l.Rounds[:2] },
	} {
		forge(change)
		r, err := reproduce(t, dir, b.runner.Kinds)
		if err != nil || r.Match || !strings.Contains(strings.Join(checks(r), "\n"), "different findings "+want) {
			t.Errorf("want %s: %v\n%s", want, err, strings.Join(checks(r), "\n"))
		}
	}
	forge(func(l *Lock) { l.Pack.Digest = strings.Replace(l.Pack.Digest, "sha256:", "sha256:0", 1)[:71] })
	if _, err := reproduce(t, dir, b.runner.Kinds); !errors.Is(err, ErrChanged) {
		t.Errorf("another pack: %v", err)
	}
	for why, change := range map[string]func(l *Lock){
		"another history":      func(l *Lock) { l.History[0].Verdict = Fail },
		"no history":           func(l *Lock) { l.History = nil },
		"another accepted run": func(l *Lock) { l.Accepted.Run = "20260101-000000-beef" },
		"no accepted run":      func(l *Lock) { l.Accepted = Provenance{} },
	} {
		forge(change)
		if _, err := reproduce(t, dir, b.runner.Kinds); !errors.Is(err, ErrChanged) {
			t.Errorf("%s: %v", why, err)
		}
	}
	forge(func(l *Lock) { l.Report = "" })
	r, err := reproduce(t, dir, b.runner.Kinds)
	if got := checks(r); err != nil || r.Match || !strings.Contains(strings.Join(got, "\n"), "different report report: (absent) → ") {
		t.Errorf("no report: match %v, %v: %q", r.Match, err, got)
	}
}

// A verdict that does not follow from the gates is named, though journal, pack
// and lock all say it.
func TestAVerdictThatDoesNotFollowIsNamed(t *testing.T) {
	b := newBench(t)
	failing, _, _ := strings.Cut(small, "    routes:")
	if err := os.WriteFile(filepath.Join(b.dir, "plan.yaml"), []byte(failing), 0o644); err != nil {
		t.Fatal(err)
	}
	s := b.run(failing, RunOptions{})
	if s.Verdict != Fail {
		t.Fatalf("verdict %s", s.Verdict)
	}
	events := mustRead(t, b, s.Run).Events
	path := filepath.Join(b.runner.Store.RunDir(s.Run), journalFile)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	j, err := store.CreateJournal(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range events {
		if e.Type == EventClosed {
			e.Closed = &state.Closed{Verdict: Pass}
		}
		if err := errors.Join(j.Add(asJSON(e)), j.Flush()); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := reproduce(t, clone(t, b.accept(s.Run)), b.runner.Kinds)
	if got := checks(r); err != nil || r.Match || !slices.ContainsFunc(got, func(c string) bool { return strings.HasPrefix(c, "different verdict /exit: 0 → 1") }) {
		t.Errorf("match %v, %v: %q", r.Match, err, got)
	}
}

func TestTheHistoryGoesOn(t *testing.T) {
	b, a := acceptSmall(t)
	first := readFile(t, a.PackFile)
	again := b.accept(a.Lock.Accepted.Run)
	if len(again.Lock.History) != 1 || !bytes.Equal(first, readFile(t, a.PackFile)) {
		t.Errorf("accepted again: %d in the history; the pack must keep its bytes", len(again.Lock.History))
	}
	second := b.accept(b.run(small, RunOptions{From: a.Lock.Accepted.Run}).Run)
	if h := second.Lock.History; len(h) != 2 || h[0].Run != a.Lock.Accepted.Run || h[1].Figures["verdict"]["error"] == 0 {
		t.Errorf("history %+v", h)
	}
	if l, err := ReadLock(a.LockFile); err != nil || mustJSON(l) != mustJSON(second.Lock) {
		t.Errorf("the lock that was written is read as another: %v", err)
	}
}

func TestOnlyWhatIsFinishedAndAsTheFileSaysIsAccepted(t *testing.T) {
	b, a := acceptSmall(t)
	file := filepath.Join(b.dir, "plan.yaml")
	if err := os.WriteFile(file, []byte(small+"# edited\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := b.runner.Store.Accept(a.Lock.Accepted.Run, AcceptOptions{Kinds: b.runner.Kinds})
	if !errors.Is(err, ErrRefused) || !strings.Contains(fmt.Sprint(err), "edited since") {
		t.Errorf("an edited plan: %v", err)
	}
}

// A file of the plan that changed, or is not there, is named: whoever accepts
// must have it, whoever reproduces need not.
func TestFilesOfThePlanAreNamed(t *testing.T) {
	b := newBench(t)
	const source = `version: calrun/v1
name: small
inputs: {rows: {type: file, default: rows.csv}}
steps:
  hw: {uses: measure, with: {trace: "${{ inputs.rows }}"}}
  more: {uses: measure, with: {trace: arrivals.csv}}
`
	for name, text := range map[string]string{"plan.yaml": source, "rows.csv": "rows", "arrivals.csv": "arrivals"} {
		if err := os.WriteFile(filepath.Join(b.dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	a := b.accept(b.run(source, RunOptions{}).Run)
	for _, name := range []string{"rows.csv", "arrivals.csv"} {
		file := filepath.Join(b.dir, name)
		before := readFile(t, file)
		for _, c := range []struct {
			why     string
			change  func() error
			finding Finding
			match   bool
			refusal string
		}{
			{"another", func() error { return os.WriteFile(file, []byte("others"), 0o644) }, Different, false, name + " changed since"},
			{"gone", func() error { return os.Remove(file) }, Recorded, true, name + " is gone, or unreadable, since"},
		} {
			if err := c.change(); err != nil {
				t.Fatal(err)
			}
			r, err := reproduce(t, b.dir, b.runner.Kinds)
			if err != nil || r.Match != c.match || !slices.ContainsFunc(r.Checks, func(k Check) bool { return k.What == "file "+name && k.Finding == c.finding }) {
				t.Errorf("%s is %s: match %v, %v: %q", name, c.why, r.Match, err, checks(r))
			}
			_, err = b.runner.Store.Accept(a.Lock.Accepted.Run, AcceptOptions{Kinds: b.runner.Kinds, Page: testPage})
			if !errors.Is(err, ErrRefused) || !strings.Contains(fmt.Sprint(err), c.refusal) {
				t.Errorf("%s is %s, and accepted again: %v", name, c.why, err)
			}
			if err := os.WriteFile(file, before, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// An engine that is another one by now makes the run stale; one that does not
// answer proves nothing.
func TestAnotherEngineIsStale(t *testing.T) {
	b, a := acceptSmall(t)
	dir := clone(t, a)
	for _, r := range []struct {
		why           string
		id            func() (map[string]string, error)
		want          Finding
		match, unsure bool
		note          string
	}{
		{"the same", nil, Recorded, true, false, "still the same: engine fake 1"},
		{"another", func() (map[string]string, error) { return map[string]string{"engine": "fake 2"}, nil }, Stale, false, false, "fake 1 → fake 2"},
		{"silent", func() (map[string]string, error) { return nil, errBoom }, Undecided, true, true, "cannot be asked whether it is still the same: boom"},
	} {
		b.fakes.id = r.id
		got, err := Reproduce(t.Context(), filepath.Join(dir, "plan.lock.yaml"), ReproduceOptions{
			Kinds: b.runner.Kinds, Log: nolog, Page: testPage, Limit: packLimit, Engine: true,
		})
		if err != nil || got.Match != r.match || got.Unsure != r.unsure {
			t.Fatalf("%s: match %v, unsure %v, %v", r.why, got.Match, got.Unsure, err)
		}
		i := slices.IndexFunc(got.Checks, func(c Check) bool { return c.What == "round 1 hw" })
		if got.Checks[i].Finding != r.want || !strings.Contains(got.Checks[i].Note, r.note) {
			t.Errorf("%s: %+v, want %s", r.why, got.Checks[i], r.want)
		}
	}
}
