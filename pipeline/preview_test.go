package pipeline

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// anyPlan is the source of a plan of the fake kinds: a random graph with
// references, gates that others need, and a route.
func anyPlan(t *rapid.T) string {
	var b strings.Builder
	b.WriteString("version: calrun/v1\nname: any\nlimits: {rounds: 2}\nsteps:\n")
	var numbers, folders, gates []string // what later steps may refer to
	var models []string
	remedies := ""
	pick := func(label string, from []string) string { return rapid.SampledFrom(from).Draw(t, label) }
	for i := range rapid.IntRange(4, 8).Draw(t, "steps") {
		name := fmt.Sprintf("s%d", i)
		kind := pick("kind", []string{"measure", "grid", "model", "model", "gate", "gate"})
		if kind == "gate" && len(models) == 0 {
			kind = "model"
		}
		needs := ""
		if len(gates) > 0 && rapid.IntRange(0, 3).Draw(t, "needs") > 0 {
			needs = fmt.Sprintf(", needs: [%s]", pick("gate", gates))
		}
		switch kind {
		case "gate":
			of := pick("of", models)
			route := ""
			if len(gates) == 0 {
				route = ", routes: [{when: failed.close, run: fix}]"
			}
			fmt.Fprintf(&b, "  %s: {uses: gate, of: %s, assert: {close: error < 0.15}%s%s}\n", name, of, route, needs)
			if route != "" {
				remedies = fmt.Sprintf("remedies:\n  fix: {uses: fix, sets: {%s.bias: bias}, with: {start: \"${{ steps.%s.bias }}\", step: 0.1}}\n", of, of)
			}
			gates = append(gates, name)
		case "model":
			bias := fmt.Sprint(rapid.IntRange(1, 6).Draw(t, "bias")) + "e-1"
			if len(numbers) > 0 && rapid.Bool().Draw(t, "refers") {
				bias = fmt.Sprintf(`"${{ steps.%s }}"`, pick("number", numbers))
			}
			data := ""
			if len(folders) > 0 && rapid.Bool().Draw(t, "reads") {
				data = fmt.Sprintf(`, data: "${{ steps.%s.data }}"`, pick("folder", folders))
			}
			fmt.Fprintf(&b, "  %s: {uses: model, with: {bias: %s%s}%s}\n", name, bias, data, needs)
			numbers, models = append(numbers, name+".bias"), append(models, name)
		default:
			fmt.Fprintf(&b, "  %s: {uses: %s, with: {seeds: %d}%s}\n", name, kind, rapid.IntRange(1, 2).Draw(t, "seeds"), needs)
			numbers, folders = append(numbers, name+".seeds"), append(folders, name)
		}
	}
	return b.String() + remedies
}

// What a preview says of the first round is what the run then does, whatever
// the graph and whatever is known already; and it writes nothing.
func TestPreviewIsWhatRunsDo(t *testing.T) {
	b := newBench(t)
	said := map[Action]int{}
	for seed := range 14 {
		source := rapid.Custom(anyPlan).Example(seed)
		from := ""
		for again := range 3 {
			before, err := DigestPath(b.dir)
			if err != nil {
				t.Fatal(err)
			}
			f, err := Preview(t.Context(), b.plan(source), b.runner.Store, RunOptions{From: from})
			if err != nil {
				t.Fatal(err)
			}
			if after, err := DigestPath(b.dir); err != nil || after != before {
				t.Fatalf("a preview changed the folder: %v", err)
			}
			s := b.run(source, RunOptions{From: from})
			for _, p := range f.Steps {
				said[p.Action]++
				if wrong := contradicts(p, s.Rounds[0], f); wrong != "" {
					t.Fatalf("time %d of\n%s\n%s: said %s (%s): %s", again+1, source, p.Name, p.Action, p.Why, wrong)
				}
			}
			if again == 1 {
				from = s.Run
			}
		}
	}
	for _, a := range []Action{ActRun, ActReuse, ActUnknown, ActJudge, ActBlock, ActRouted} {
		if said[a] == 0 {
			t.Errorf("no plan of the test has a step that is said to %s: %v", a, said)
		}
	}
}

// contradicts says how a round differs from what was said of a step, or "".
func contradicts(p StepForecast, r *Round, f *Forecast) string {
	st := r.Steps[p.Name]
	switch p.Action {
	case ActRun:
		if st.Status != Done {
			return string(st.Status)
		}
	case ActReuse:
		if st.Status != Reused || st.From != "run "+p.From {
			return fmt.Sprintf("%s from %q", st.Status, st.From)
		}
	case ActBlock:
		if st.Status != Blocked {
			return string(st.Status)
		}
	case ActJudge:
		if _, verdict, known := strings.Cut(p.Why, "is known: "); known && string(r.Gates[p.Name].Verdict) != verdict {
			return string(r.Gates[p.Name].Verdict)
		}
	case ActUnknown: // only where something before it runs or cannot be known
		for _, q := range f.Steps {
			if slices.Contains(p.After, q.Name) && (q.Action == ActRun || q.Action == ActUnknown || q.Action == ActJudge && !strings.Contains(q.Why, "is known")) {
				return ""
			}
		}
		return "all before it is known"
	}
	return ""
}

// Old runs go, and only what they alone needed; what is left is whole.
// What is reused at first may run in a later round all the same: the worst case
// counts it.
func TestPreviewCountsTheWorstCase(t *testing.T) {
	b := newBench(t)
	s := b.run(small, RunOptions{})
	f, err := Preview(t.Context(), b.plan(small), b.runner.Store, RunOptions{From: s.Run})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]int{}
	for _, s := range f.Steps {
		if s.Action == ActReuse {
			got[s.Name] = s.Worst
		}
	}
	if want := map[string]int{"hw": 0, "sim": 3}; !maps.Equal(got, want) {
		t.Errorf("reused steps run at most %v times, want %v", got, want)
	}
}

// A step's locks are its plan's and its kind's own, in the order in which they
// are taken.
func TestPreviewNamesLocks(t *testing.T) {
	b := newBench(t)
	f, err := Preview(t.Context(), b.plan(`version: calrun/v1
name: locked
inputs: {url: {type: string, default: "localhost:1"}}
steps:
  a: {uses: measure, locks: [gpu, a-node], with: {url: "${{ inputs.url }}"}}
  b: {uses: model}
`), b.runner.Store, RunOptions{})
	if err != nil || !slices.Equal(f.Steps[0].Locks, []string{"a-node", "engine localhost:1", "gpu"}) || f.Steps[1].Locks != nil {
		t.Errorf("%+v, %v", f.Steps, err)
	}
}

func TestGC(t *testing.T) {
	b := newBench(t)
	source := func(seeds int) string {
		return fmt.Sprintf("version: calrun/v1\nname: small\nsteps:\n  hw: {uses: grid, with: {seeds: %d}}\n  sim: {uses: model, with: {data: \"${{ steps.hw.data }}\"}}\n", seeds)
	}
	var ids []string
	for seeds := range 4 {
		ids = append(ids, b.run(source(seeds+1), RunOptions{}).Run)
	}
	s := b.runner.Store
	before, err := DigestPath(b.dir)
	if err != nil {
		t.Fatal(err)
	}
	dry, err := s.GC(GCOptions{Keep: 2, DryRun: true, Now: b.runner.now()})
	if err != nil || len(dry.Runs) != 2 || dry.Objects == 0 || dry.Bytes == 0 {
		t.Fatalf("%+v, %v", dry, err)
	}
	if after, err := DigestPath(b.dir); err != nil || after != before {
		t.Errorf("a dry run changed the folder: %v", err)
	}
	if err := os.Rename(s.RunDir(ids[0]), filepath.Join(s.Dir(), runsDir, gravePrefix+ids[0])); err != nil { // as a gc that was killed
		t.Fatal(err)
	}
	wet, err := s.GC(GCOptions{Keep: 2, Now: b.runner.now()})
	if err != nil || len(wet.Runs) != 1 || wet.Objects != dry.Objects {
		t.Fatalf("%+v, %v; the dry run said %+v", wet, err, dry)
	}
	if left, err := s.Runs(); err != nil || !slices.Equal(sorted(left), sorted(ids[2:])) {
		t.Fatalf("%v are left of %v: %v", left, ids, err)
	}
	if graves, _ := filepath.Glob(filepath.Join(s.Dir(), runsDir, gravePrefix+"*")); len(graves) > 0 {
		t.Errorf("left behind: %v", graves)
	}
	for _, id := range ids[2:] {
		if n, problems, err := s.Verify(id); err != nil || len(problems) > 0 || n == 0 {
			t.Errorf("run %s: %d artefacts, %v, %v", id, n, problems, err)
		}
	}
	writer, err := s.Enter()
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Unlock()
	if _, err := s.GC(GCOptions{Now: b.runner.now()}); err == nil || !strings.Contains(err.Error(), "is writing") {
		t.Errorf("beside a writer: %v", err)
	}
	if dry, err := s.GC(GCOptions{DryRun: true, Now: b.runner.now()}); err != nil || !dry.Busy || len(dry.Runs) != 2 {
		t.Errorf("a dry run beside a writer: %+v, %v", dry, err)
	}
}

func sorted(ids []string) []string { return slices.Sorted(slices.Values(ids)) }

// What a result names stays, however large the result is, and wherever in it
// the name stands.
func TestGCLooksIntoLargeResults(t *testing.T) {
	const window = 1 << 20 // that is looked at in one go
	s := newBench(t).runner.Store
	for _, at := range []int{0, window - 40, 3*window - 200, 65 << 20} {
		inner, err := s.PutBytes([]byte(fmt.Sprint(at)))
		if err != nil {
			t.Fatal(err)
		}
		result, err := s.PutBytes(fmt.Appendf(nil, `{"pad":"%s","data":{"artefact":"data","digest":"%s"},"more":"%s"}`,
			strings.Repeat("x", at), inner, strings.Repeat("y", window)))
		if err != nil {
			t.Fatal(err)
		}
		named := map[string]bool{}
		if s.name(result, named); !named[inner] || len(named) != 2 {
			t.Errorf("a name at byte %d: %d are found", at, len(named)-1)
		}
	}
}

// A run that is not finished stays however old it is, and so do the runs and
// the objects that are spared.
func TestGCSpares(t *testing.T) {
	b := newBench(t)
	const source = "version: calrun/v1\nname: small\nsteps: {hw: {uses: grid}}\n"
	first := b.run(source, RunOptions{}).Run
	b.fakes.hook = func(_ context.Context, rt *Runtime, _ string) error { return errBoom }
	failed := b.run(strings.Replace(source, "grid", "grid, with: {seeds: 2}", 1), RunOptions{}).Run
	g, err := b.runner.Store.GC(GCOptions{Spare: []string{first}, Now: b.runner.now()})
	if err != nil || len(g.Runs) != 0 || g.Objects != 0 {
		t.Errorf("%+v, %v", g, err)
	}
	if g.Kept[keptSpared] != 1 || g.Kept[keptUnfinished] != 1 {
		t.Errorf("%v, want %s spared and %s not finished", g.Kept, first, failed)
	}
}

// One byte that is changed in any file of the store is found, and named.
func TestVerifyFindsAByte(t *testing.T) {
	b := newBench(t)
	s := b.run(small, RunOptions{})
	objects, err := filepath.Glob(filepath.Join(b.runner.Store.Dir(), "objects", "sha256", "*", "*"))
	if err != nil || len(objects) < 3 {
		t.Fatalf("%v, %v", objects, err)
	}
	for _, path := range objects {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, at := range []int{0, len(data) / 2, len(data) - 1} {
			changed := slices.Clone(data)
			changed[at] ^= 1
			rewrite(t, path, changed)
			if _, problems, err := b.runner.Store.Verify(s.Run); err == nil && len(problems) == 0 {
				t.Errorf("%s, byte %d: not found", filepath.Base(path), at)
			}
			rewrite(t, path, data)
		}
	}
	if _, problems, err := b.runner.Store.Verify(s.Run); err != nil || len(problems) > 0 {
		t.Errorf("all is as it was: %v, %v", problems, err)
	}
}

func rewrite(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o444); err != nil {
		t.Fatal(err)
	}
}

// A journal that a newer calrun wrote is refused whole, with what to do.
func TestNewerJournal(t *testing.T) {
	b := newBench(t)
	id, err := b.runner.Store.createRun(b.runner.now())
	if err != nil {
		t.Fatal(err)
	}
	j, err := createJournal(b.runner.Store.RunDir(id))
	if err != nil {
		t.Fatal(err)
	}
	defer j.close()
	if err := j.append(&Event{Type: EventOpened, Opened: &Opened{Format: 2, Run: id, Version: "v9"}}); err != nil {
		t.Fatal(err)
	}
	_, readErr := b.runner.Store.ReadRun(id)
	_, resumeErr := b.runner.Resume(t.Context(), id)
	for _, err := range []error{readErr, resumeErr} {
		if err == nil || !strings.Contains(err.Error(), "format 2, of calrun v9, where this one reads up to 1; install that one") {
			t.Errorf("%v", err)
		}
	}
}
