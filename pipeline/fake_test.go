package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"calrun/pipeline/canonical"
	"calrun/pipeline/store"

	"github.com/rs/zerolog"
)

var nolog = zerolog.Nop()

// calls are the fake kinds' diary: which step ran, which part was made. It is
// a file, so that a process that is killed leaves it behind.
type calls struct{ path string }

func (c calls) note(format string, args ...any) {
	f, err := os.OpenFile(c.path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		panic(err)
	}
	defer f.Close()
	fmt.Fprintf(f, format+"\n", args...)
}

func (c calls) all() []string {
	data, err := os.ReadFile(c.path)
	if err != nil {
		return nil
	}
	return strings.Split(strings.TrimSpace(string(data)), "\n")
}

func (c calls) count(what string) int {
	n := 0
	for _, line := range c.all() {
		if line == what {
			n++
		}
	}
	return n
}

// fakes are kinds whose behaviour a test changes by its hooks.
type fakes struct {
	calls calls
	hook  func(ctx context.Context, rt *Runtime, where string) error // called inside every step; nil is no hook
	id    func() (map[string]string, error)                          // identity of measure
	equal func(recorded, again json.RawMessage, margin float64) *Equivalence
}

func (f *fakes) at(ctx context.Context, rt *Runtime, where string) error {
	if f.hook == nil {
		return ctx.Err()
	}
	return f.hook(ctx, rt, where)
}

func (f *fakes) kinds() *Kinds {
	return NewKinds(
		Kind{Name: "measure", Version: 1, Repeat: Measured, New: func() Step { return &measure{f: f, Seeds: 1} }, Result: measured{}},
		Kind{Name: "grid", Version: 1, Repeat: Exact, New: func() Step { return &measure{f: f, Seeds: 1} }, Result: measured{}},
		Kind{Name: "model", Version: 1, Repeat: Exact, New: func() Step { return &model{f: f} }, Result: modelled{}},
		Kind{Name: "fix", Version: 1, Repeat: Exact, New: func() Step { return &fix{f: f} }, Result: fixed{}},
	)
}

// measure makes a folder of one file for each seed, each a part.
type measure struct {
	f     *fakes
	URL   string    `yaml:"url" key:"-"`
	Seeds int       `yaml:"seeds" default:"1"`
	Trace *Artefact `yaml:"trace" artefact:"trace"`
}

type measured struct {
	Data  Artefact `json:"data" artefact:"data"`
	Seeds float64  `json:"seeds"`
}

func (m *measure) Identity(context.Context) (map[string]string, error) {
	if m.f.id == nil {
		return map[string]string{"engine": "fake 1"}, nil
	}
	return m.f.id()
}

// Locks implements [Locker].
func (m *measure) Locks() []string {
	if m.URL == "" {
		return nil
	}
	return []string{"engine " + m.URL}
}

// Equivalent implements [Equivalent] as the test wants it.
func (m *measure) Equivalent(recorded, again json.RawMessage, open func(Artefact) (string, error), margin float64) (*Equivalence, error) {
	if m.f.equal == nil {
		return nil, errBoom
	}
	for _, doc := range []json.RawMessage{recorded, again} {
		var res measured
		err := json.Unmarshal(doc, &res)
		if err == nil {
			_, err = open(res.Data)
		}
		if err != nil {
			return nil, err
		}
	}
	return m.f.equal(recorded, again, margin), nil
}

func (m *measure) Run(ctx context.Context, rt *Runtime) (any, error) {
	m.f.calls.note("run %s", rt.Step())
	if err := m.f.at(ctx, rt, "begin"); err != nil {
		return nil, err
	}
	out := filepath.Join(rt.Dir(), "data")
	if err := os.Mkdir(out, 0o755); err != nil {
		return nil, err
	}
	for seed := 1; seed <= m.Seeds; seed++ {
		rt.Progress(float64(seed), float64(m.Seeds), "seed")
		dir, _, err := rt.Part(fmt.Sprintf("seed %d", seed), func(dir string) error {
			m.f.calls.note("part %s %d", rt.Step(), seed)
			if err := os.WriteFile(filepath.Join(dir, "half"), []byte("half"), 0o644); err != nil {
				return err
			}
			if err := m.f.at(ctx, rt, fmt.Sprintf("part %d", seed)); err != nil {
				return err
			}
			// Content that tells two makings apart.
			text := fmt.Sprintf("seed %d, made at %d", seed, time.Now().UnixNano())
			return os.WriteFile(filepath.Join(dir, "rows"), []byte(text), 0o644)
		})
		if err != nil {
			return nil, err
		}
		if err := os.Link(filepath.Join(dir, "rows"), filepath.Join(out, fmt.Sprint(seed))); err != nil {
			return nil, err
		}
	}
	if err := m.f.at(ctx, rt, "end"); err != nil {
		return nil, err
	}
	return measured{Data: Artefact{Path: "data"}, Seeds: float64(m.Seeds)}, nil
}

// model's error is the distance of its bias from the truth, 0.2.
type model struct {
	f    *fakes
	Data *Artefact `yaml:"data" artefact:"data"`
	Bias float64   `yaml:"bias"`
}

type modelled struct {
	Error float64 `json:"error"`
	Bias  float64 `json:"bias"`
	Good  *bool   `json:"good,omitempty"`
}

func (m *model) Run(ctx context.Context, rt *Runtime) (any, error) {
	m.f.calls.note("run %s", rt.Step())
	if m.Data != nil {
		if _, err := os.ReadFile(filepath.Join(m.Data.Path, "1")); err != nil {
			return nil, err
		}
	}
	if err := m.f.at(ctx, rt, "begin"); err != nil {
		return nil, err
	}
	return modelled{Error: max(m.Bias-0.2, 0.2-m.Bias), Bias: m.Bias}, nil
}

// fix goes a step towards the truth.
type fix struct {
	f     *fakes
	Start float64 `yaml:"start"`
	Step  float64 `yaml:"step"`
}

type fixed struct {
	Bias float64 `json:"bias"`
}

func (m *fix) Run(ctx context.Context, rt *Runtime) (any, error) {
	m.f.calls.note("run %s", rt.Step())
	if err := m.f.at(ctx, rt, "begin"); err != nil {
		return nil, err
	}
	return fixed{Bias: m.Start - m.Step}, nil
}

// bench is a store, kinds and a runner for one test.
type bench struct {
	t      *testing.T
	fakes  *fakes
	runner *Runner
	dir    string

	mu      sync.Mutex
	updates []Update
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{t: t, dir: t.TempDir()}
	b.fakes = &fakes{calls: calls{filepath.Join(b.dir, "calls")}}
	store, err := OpenStore(filepath.Join(b.dir, ".calrun"))
	if err != nil {
		t.Fatal(err)
	}
	b.runner = &Runner{
		Kinds: b.fakes.kinds(), Store: store, Log: nolog, Locks: filepath.Join(b.dir, "locks"), Version: "test",
		Observe: func(u Update) {
			b.mu.Lock()
			b.updates = append(b.updates, u)
			b.mu.Unlock()
		},
	}
	return b
}

func (b *bench) plan(source string) *Plan {
	b.t.Helper()
	p, problems := LoadBytes(filepath.Join(b.dir, "plan.yaml"), []byte(source), LoadOptions{Kinds: b.runner.Kinds})
	if err := problems.Err(); err != nil {
		b.t.Fatal(err)
	}
	return p
}

func (b *bench) run(source string, opt RunOptions) *State {
	b.t.Helper()
	s, err := b.runner.Run(b.t.Context(), b.plan(source), opt)
	if err != nil {
		b.t.Fatal(err)
	}
	b.check(s)
	return s
}

func (b *bench) resume(id string) *State {
	b.t.Helper()
	s, err := b.runner.Resume(b.t.Context(), id)
	if err != nil {
		b.t.Fatal(err)
	}
	b.check(s)
	return s
}

// check holds a state against its journal: one is the fold of the other.
func (b *bench) check(s *State) {
	b.t.Helper()
	past, err := b.runner.Store.ReadRun(s.Run)
	if err != nil {
		b.t.Fatal(err)
	}
	got, want := mustJSON(past.State), mustJSON(s)
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			from := max(0, i-80)
			b.t.Fatalf("the journal tells …%.200s…, the run had …%.200s…", got[from:], want[from:])
		}
	}
	if len(got) != len(want) {
		b.t.Fatal("the journal tells another state than the run had")
	}
}

func mustJSON(v any) string {
	raw, err := canonical.Encode(v)
	if err != nil {
		panic(err)
	}
	return string(raw)
}

// story is a run's journal in short lines.
func (b *bench) story(id string) []string {
	b.t.Helper()
	past, err := b.runner.Store.ReadRun(id)
	if err != nil {
		b.t.Fatal(err)
	}
	var out []string
	for _, e := range past.Events {
		words := []string{string(e.Type)}
		if e.Round > 0 {
			words = append(words, fmt.Sprint(e.Round))
		}
		words = append(words, e.Step)
		switch {
		case e.Resolved != nil:
			words = append(words, string(e.Resolved.With), e.Resolved.From)
		case e.Part != nil:
			words = append(words, e.Part.Key)
		case e.Gate != nil:
			words = append(words, string(e.Gate.Verdict), e.Gate.Error)
		case e.Routed != nil:
			words = append(words, e.Routed.When, "→", e.Routed.Run)
		case e.Over != nil:
			words = append(words, mustJSON(e.Over))
		case e.Result != nil:
			words = append(words, string(e.Result.JSON))
		case e.Closed != nil:
			words = append(words, string(e.Closed.Verdict), fmt.Sprint(e.Closed.Exit), strings.Join(e.Closed.Reasons, " | "))
		}
		words = append(words, e.Why, strings.Join(e.Notes, " | "), strings.Join(e.Touched, ","))
		words = slices.DeleteFunc(words, func(w string) bool { return w == "" })
		out = append(out, hideDigests(strings.Join(words, " ")))
	}
	return out
}

// hideDigests replaces what differs between two runs of one plan.
func hideDigests(s string) string {
	for {
		i := strings.Index(s, store.DigestPrefix)
		if i < 0 || len(s) < i+len(store.DigestPrefix)+64 {
			return s
		}
		s = s[:i] + "#" + s[i+len(store.DigestPrefix)+64:]
	}
}

var errBoom = errors.New("boom")
