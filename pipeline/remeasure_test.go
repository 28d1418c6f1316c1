package pipeline

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A measurement is made again, judged by its kind, and left out of the rest:
// the recorded one alone leads to the recorded digests.
func TestAMeasurementIsMadeAgain(t *testing.T) {
	b, a := acceptSmall(t)
	dir := clone(t, a)
	says := func(verdict string) func(recorded, again json.RawMessage, margin float64) *Equivalence {
		return func(recorded, again json.RawMessage, margin float64) *Equivalence {
			if bytes.Equal(recorded, again) || margin != 0.07 {
				t.Errorf("margin %g, recorded %s, again %s; want another measurement and the margin of the call", margin, recorded, again)
			}
			return &Equivalence{Verdict: verdict, Note: "as the test says", Cells: []string{verdict}}
		}
	}
	for _, r := range []struct {
		why           string
		equal         func(recorded, again json.RawMessage, margin float64) *Equivalence
		id            func() (map[string]string, error)
		want          Finding
		match, unsure bool
		runs          int
	}{
		{"equivalent", says("equivalent"), nil, Alike, true, false, 1},
		{"undecided", says("inconclusive"), nil, Undecided, true, true, 1},
		{"different", says("different"), nil, Different, false, false, 1},
		{"without judgement", nil, nil, Undecided, true, true, 1},
		{"silent", nil, func() (map[string]string, error) { return nil, errBoom }, Undecided, true, true, 0},
		{"another engine", nil, func() (map[string]string, error) { return map[string]string{"engine": "fake 2"}, nil }, Stale, false, false, 0},
	} {
		b.fakes.equal, b.fakes.id = r.equal, r.id
		before := b.fakes.calls.count("run hw")
		got, err := Reproduce(t.Context(), filepath.Join(dir, "plan.lock.yaml"), ReproduceOptions{
			Kinds: b.runner.Kinds, Log: nolog, Page: testPage, Limit: packLimit, Rerun: true, Margin: 0.07,
		})
		if err != nil || got.Match != r.match || got.Unsure != r.unsure {
			t.Fatalf("%s: match %v, unsure %v, %v\n%s", r.why, got.Match, got.Unsure, err, strings.Join(checks(got), "\n"))
		}
		c := got.Checks[slices.IndexFunc(got.Checks, func(c Check) bool { return c.What == "round 1 hw" })]
		if c.Finding != r.want || r.equal != nil && (c.Note != "as the test says" || c.Cells == nil) {
			t.Errorf("%s: %+v, want %s", r.why, c, r.want)
		}
		if n := b.fakes.calls.count("run hw") - before; n != r.runs {
			t.Errorf("%s: measured %d times, want %d", r.why, n, r.runs)
		}
		for _, c := range got.Checks {
			if c.What != "round 1 hw" && c.Finding != Same {
				t.Errorf("%s: %s is %s: what was measured again must not lead to it", r.why, c.What, c.Finding)
			}
		}
	}
}

// A file that only a measurement reads is not in the pack: it is taken from
// where it lies, if it is still the same.
func TestWhatOnlyAMeasurementReadsIsLookedFor(t *testing.T) {
	b := newBench(t)
	file := filepath.Join(b.dir, "trace.csv")
	write := func(path, text string) {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(file, "arrivals")
	text := strings.Replace(small, `url: "http://here"`, `url: "http://here", trace: trace.csv`, 1)
	write(filepath.Join(b.dir, "plan.yaml"), text)
	a := b.accept(b.run(text, RunOptions{}).Run)
	b.fakes.equal = func(json.RawMessage, json.RawMessage, float64) *Equivalence {
		return &Equivalence{Verdict: string(Alike)}
	}
	dir := clone(t, a)
	rerun := func() Check {
		got, err := Reproduce(t.Context(), filepath.Join(dir, "plan.lock.yaml"), ReproduceOptions{
			Kinds: b.runner.Kinds, Log: nolog, Page: testPage, Limit: packLimit, Rerun: true, Margin: 0.1,
		})
		if err != nil {
			t.Fatal(err)
		}
		return got.Checks[slices.IndexFunc(got.Checks, func(c Check) bool { return c.What == "round 1 hw" })]
	}
	if c := rerun(); c.Finding != Alike {
		t.Errorf("the file lies where it lay: %+v", c)
	}
	if err := os.Rename(file, filepath.Join(dir, "trace.csv")); err != nil {
		t.Fatal(err)
	}
	if c := rerun(); c.Finding != Alike {
		t.Errorf("the file lies beside the plan here: %+v", c)
	}
	write(filepath.Join(dir, "trace.csv"), "others")
	if c := rerun(); c.Finding != Undecided || !strings.Contains(c.Note, "trace.csv") {
		t.Errorf("the file is another one: %+v", c)
	}
}
