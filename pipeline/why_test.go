package pipeline

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// sort is a step with one field of every sort, and an identity.
type sortStep struct {
	Seeds int            `yaml:"seeds" default:"1"`
	Where string         `yaml:"where" key:"-"`
	For   time.Duration  `yaml:"for"`
	Names []string       `yaml:"names"`
	Sizes map[string]int `yaml:"sizes"`
	Deep  struct {
		Rates []float64 `yaml:"rates"`
	} `yaml:"deep"`
	Data *Artefact `yaml:"data" artefact:"data"`
	File *Artefact `yaml:"file" artefact:"file"`

	identity map[string]string
}

func (s *sortStep) Identity(context.Context) (map[string]string, error) { return s.identity, nil }

func (s *sortStep) Run(context.Context, *Runtime) (any, error) { return modelled{Bias: 1}, nil }

const sortPlan = `version: calrun/v1
name: sorts
steps:
  x:
    uses: sort
    with:
      where: "http://one"
      for: 10m
      names: [a, b]
      sizes: {a: 1}
      deep: {rates: [1, 2]}
      data: data
      file: data/rows
`

// sorts is one run after another of the plan, with the world as it is then.
type sorts struct {
	*bench
	version  int
	identity map[string]string
	name     string
}

func newSorts(t *testing.T) *sorts {
	s := &sorts{bench: newBench(t), version: 1, identity: map[string]string{"engine": "fake 1"}, name: "sort"}
	for path, text := range map[string]string{"data/rows": "1\n", "data/more/deep": "2\n", "other": "1\n"} {
		path = filepath.Join(s.dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func (s *sorts) once(source string) (st *StepState, why WhyRound) {
	s.t.Helper()
	s.runner.Kinds = NewKinds(Kind{
		Name: s.name, Version: s.version, Repeat: Exact, Result: modelled{},
		New: func() Step { return &sortStep{Seeds: 1, identity: s.identity} },
	})
	state := s.run(strings.Replace(source, "uses: sort", "uses: "+s.name, 1), RunOptions{})
	if state.Exit != ExitPass {
		s.t.Fatalf("exit %d: %v", state.Exit, state.Reasons)
	}
	told, err := s.runner.Store.Why(state.Run, "x")
	if err != nil {
		s.t.Fatal(err)
	}
	return state.Rounds[0].Steps["x"], told.Rounds[0]
}

// Every ingredient of a key that changes makes the step run again, and why
// names that ingredient, and it alone, with its old value and its new one.
func TestEveryIngredientCountsAndIsNamed(t *testing.T) {
	replace := func(old, now string) func(*sorts, string) string {
		return func(_ *sorts, source string) string {
			if !strings.Contains(source, old) {
				panic(old)
			}
			return strings.Replace(source, old, now, 1)
		}
	}
	write := func(path, text string) func(*sorts, string) string {
		return func(s *sorts, source string) string {
			if err := os.WriteFile(filepath.Join(s.dir, path), []byte(text), 0o644); err != nil {
				panic(err)
			}
			return source
		}
	}
	tests := []struct {
		name     string
		change   func(*sorts, string) string
		named    string // the ingredient; empty: the result is reused
		old, now string // empty: digests
		files    string // of an artefact: what changed inside
	}{
		{"nothing", replace("x", "x"), "", "", "", ""},
		{"a location", replace("http://one", "http://two"), "", "", "", ""},
		{"a default, written out", replace("for: 10m", "seeds: 1\n      for: 10m"), "", "", "", ""},
		{"a copy of the same content", func(s *sorts, source string) string {
			if err := os.CopyFS(filepath.Join(s.dir, "copy"), os.DirFS(filepath.Join(s.dir, "data"))); err != nil {
				panic(err)
			}
			return strings.Replace(source, "data: data", "data: copy", 1)
		}, "", "", "", ""},
		{"times of files alone", func(s *sorts, source string) string {
			for _, path := range []string{"data/rows", "data/more/deep", "data/more", "data", "plan.yaml"} {
				_ = os.Chtimes(filepath.Join(s.dir, path), time.Unix(1, 0), time.Unix(1, 0))
			}
			return source
		}, "", "", "", ""},
		{"a comment in the plan", replace("steps:", "# why not\nsteps:"), "", "", "", ""},
		{"a timeout, which is no ingredient", replace("uses: sort", "uses: sort\n    timeout: 5m"), "", "", "", ""},
		{"a field that was not given", replace("for: 10m", "seeds: 2\n      for: 10m"), "with.seeds", "1", "2", ""},
		{"a duration", replace("for: 10m", "for: 11m"), "with.for", `"10m"`, `"11m"`, ""},
		{"one of a list", replace("[a, b]", "[a, c]"), "with.names[1]", `"b"`, `"c"`, ""},
		{"a longer list", replace("[a, b]", "[a, b, c]"), "with.names", `["a","b"]`, `["a","b","c"]`, ""},
		{"the order of a list", replace("rates: [1, 2]", "rates: [2, 2]"), "with.deep.rates[0]", "1", "2", ""},
		{"a value of a map", replace("{a: 1}", "{a: 2}"), "with.sizes.a", "1", "2", ""},
		{"a new name in a map", replace("{a: 1}", "{a: 1, b: 1}"), "with.sizes.b", "null", "1", ""},
		{"a field that is left out", replace("      for: 10m\n", ""), "with.for", `"10m"`, "null", ""},
		{"a byte deep in a folder", write("data/more/deep", "3\n"), "with.data", "", "", "more/deep"},
		{"a new file in a folder", write("data/new", ""), "with.data", "", "", "new"},
		{"a file that is gone", func(s *sorts, source string) string {
			if err := os.Remove(filepath.Join(s.dir, "data/more/deep")); err != nil {
				panic(err)
			}
			return source
		}, "with.data", "", "", "more/deep"},
		{"a file that may be executed", func(s *sorts, source string) string {
			if err := os.Chmod(filepath.Join(s.dir, "data/more/deep"), 0o755); err != nil {
				panic(err)
			}
			return source
		}, "with.data", "", "", "more/deep"},
		{"another file of another content", func(s *sorts, source string) string {
			return strings.Replace(write("other", "9\n")(s, source), "file: data/rows", "file: other", 1)
		}, "with.file", "", "", ""},
		{"the engine", func(s *sorts, source string) string {
			s.identity = map[string]string{"engine": "fake 2"}
			return source
		}, "identity.engine", `"fake 1"`, `"fake 2"`, ""},
		{"one more thing that it depends on", func(s *sorts, source string) string {
			s.identity = map[string]string{"engine": "fake 1", "driver": "5"}
			return source
		}, "identity.driver", "null", `"5"`, ""},
		{"the version of the kind", func(s *sorts, source string) string { s.version = 2; return source }, "version", "1", "2", ""},
		{"another kind", func(s *sorts, source string) string { s.name = "sort2"; return source }, "kind", `"sort"`, `"sort2"`, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newSorts(t)
			first, why := s.once(sortPlan)
			if first.Status != Done || !strings.HasPrefix(why.Why, "no earlier run") {
				t.Fatalf("first: %s, %s", first.Status, why.Why)
			}
			second, why := s.once(tt.change(s, sortPlan))
			if tt.named == "" {
				if second.Status != Reused || len(why.Changed) > 0 {
					t.Errorf("%s: %+v", second.Status, why)
				}
				return
			}
			if second.Status != Done || second.Key == first.Key {
				t.Fatalf("%s with key %s after %s", second.Status, second.Key, first.Key)
			}
			if len(why.Changed) != 1 || why.Changed[0].Name != tt.named {
				t.Fatalf("named %+v, want %s alone", why.Changed, tt.named)
			}
			c := why.Changed[0]
			if tt.old != "" && (string(c.Old) != tt.old || string(c.New) != tt.now) {
				t.Errorf("%s → %s, want %s → %s", c.Old, c.New, tt.old, tt.now)
			}
			if tt.old == "" && (digestIn(c.Old) == "" || digestIn(c.New) == "" || len(c.Files) != 1 || c.Files[0].Path != tt.files) {
				t.Errorf("of an artefact: %+v, want the file %q", c, tt.files)
			}
		})
	}
}

// What is in the journal is the key: anybody can take its digest again.
func TestKeyIsMadeOfWhatTheJournalSays(t *testing.T) {
	s := newSorts(t)
	st, _ := s.once(sortPlan)
	past, err := s.runner.Store.ReadRun(mustRun(t, s.runner.Store))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range resolutionsOf("", past.Events) {
		if key, err := r.resolved.Ingredients().Key(); err != nil || key != st.Key {
			t.Errorf("%s, %v; the step has %s", key, err, st.Key)
		}
	}
}

func mustRun(t *testing.T, s *Store) string {
	t.Helper()
	ids, err := s.Runs()
	if err != nil || len(ids) != 1 {
		t.Fatalf("%v, %v", ids, err)
	}
	return ids[0]
}

// Where the key is the same and the step ran all the same, why says so.
func TestWhyNothingWasReused(t *testing.T) {
	const failing = "version: calrun/v1\nname: small\nsteps: {sim: {uses: model, with: {bias: 0.5}}, hw: {uses: measure}}\n"
	b := newBench(t)
	b.fakes.hook = func(_ context.Context, rt *Runtime, _ string) error {
		if rt.Step() == "sim" {
			return errBoom
		}
		return nil
	}
	b.run(failing, RunOptions{})
	b.fakes.hook = nil
	second := b.run(failing, RunOptions{})
	tests := []struct{ step, want string }{
		{"sim", "it failed (boom)"},
		{"hw", "only by --from"},
	}
	for _, tt := range tests {
		why, err := b.runner.Store.Why(second.Run, tt.step)
		if err != nil {
			t.Fatal(err)
		}
		if got := why.Rounds[0]; !strings.Contains(got.Why, tt.want) || len(got.Changed) > 0 {
			t.Errorf("%s: %+v, want %q", tt.step, got, tt.want)
		}
	}
	if _, err := b.runner.Store.Why(second.Run, "smi"); err == nil || !strings.Contains(err.Error(), "hw, sim") {
		t.Errorf("a step that is not there: %v", err)
	}
	third := b.run(failing, RunOptions{From: second.Run})
	why, err := b.runner.Store.Why(third.Run, "hw")
	if err != nil || why.Rounds[0].From != "run "+second.Run {
		t.Errorf("--from: %+v, %v", why, err)
	}
}

// Rounds are compared with the round before.
func TestWhyOfRounds(t *testing.T) {
	b := newBench(t)
	s := b.run(small, RunOptions{})
	why, err := b.runner.Store.Why(s.Run, "sim")
	if err != nil || len(why.Rounds) != 3 {
		t.Fatalf("%+v, %v", why, err)
	}
	second := why.Rounds[1]
	if second.Against != "round 1" || len(second.Changed) != 1 || second.Changed[0].Name != "with.bias" || string(second.Changed[0].New) != "0.4" {
		t.Errorf("%+v", second)
	}
	hw, err := b.runner.Store.Why(s.Run, "hw")
	if err != nil || !strings.Contains(hw.Rounds[2].Why, "carried over") {
		t.Errorf("%+v, %v", hw, err)
	}
	fix, err := b.runner.Store.Why(s.Run, "fix")
	if err != nil || !strings.Contains(fix.Rounds[0].Why, "visit 1") {
		t.Errorf("%+v, %v", fix, err)
	}
	if raw, err := json.Marshal(why); err != nil || !strings.Contains(string(raw), `"old":0.5,"new":0.4`) {
		t.Errorf("%s, %v", raw, err)
	}
}
