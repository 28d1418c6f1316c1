package pipeline

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"calrun/pipeline/canonical"
	"calrun/pipeline/document"
	"calrun/pipeline/kind"
	"calrun/pipeline/state"
	"calrun/pipeline/store"
)

// Why says, round by round, why a step of a run ran or was reused.
type Why struct {
	Run    string     `json:"run"`
	Plan   string     `json:"plan"`
	Step   string     `json:"step"`
	Rounds []WhyRound `json:"rounds"`
}

// WhyRound is a step in one round.
type WhyRound struct {
	Round   int      `json:"round"`
	Status  Status   `json:"status"`
	Repeat  string   `json:"repeat,omitempty"`
	Key     string   `json:"key,omitempty"`
	Why     string   `json:"why"`               // a sentence
	From    string   `json:"from,omitempty"`    // whose result was reused: "round 1", "run 2026…"
	Against string   `json:"against,omitempty"` // what Changed compares with: "round 1", "run 2026…"
	Changed []Change `json:"changed"`           // ingredients of the key that differ; empty if none does or there is nothing to compare with
}

// Change is one ingredient of a key that differs.
type Change struct {
	Name  string             `json:"ingredient"`        // "with.workload.sweep.seeds", "identity.engine", "version", "kind"
	Old   json.RawMessage    `json:"old"`               // null if it was not there
	New   json.RawMessage    `json:"new"`               // null if it is not there any more
	Files []store.FileChange `json:"files,omitempty"`   // of an artefact: what differs inside
	Made  string             `json:"made_by,omitempty"` // of an artefact: the step of this run that made the new one
}

// Why explains a step of a run.
func (s *Store) Why(id, step string) (*Why, error) {
	past, err := s.ReadRun(id)
	if err != nil {
		return nil, err
	}
	w := &whys{store: s, past: past, step: step, own: resolutionsOf(id, past.Events)}
	out := &Why{Run: id, Plan: past.State.Plan, Step: step}
	for _, r := range past.State.Rounds {
		if st := stepIn(r, step); st != nil {
			out.Rounds = append(out.Rounds, w.round(r.N, st))
		}
	}
	if out.Rounds == nil {
		return nil, w.unknown()
	}
	return out, nil
}

// stepIn is a step of a round, or a remedy after it, or nil.
func stepIn(r *Round, name string) *StepState {
	for _, t := range r.Routes() {
		if t.Remedy != nil && t.Run == name {
			return t.Remedy
		}
	}
	return r.Steps[name]
}

// ErrNoStep says that a run has no step of a name.
var ErrNoStep = fmt.Errorf("no such step")

// whys explains the rounds of one step.
type whys struct {
	store *Store
	past  *Past
	step  string
	own   []*resolution
	other results
}

// unknown is the error of a step that the run does not have.
func (w *whys) unknown() error {
	names := map[string]bool{}
	for _, r := range w.past.State.Rounds {
		if r.Gates[w.step] != nil {
			return fmt.Errorf("%w: %s is a gate: it is judged in every round and never reused; calrun show has its verdict", ErrNoStep, w.step)
		}
		for name := range r.Steps {
			names[name] = true
		}
		if r.Route != nil && r.Route.Run != "" {
			names[r.Route.Run] = true
		}
	}
	return fmt.Errorf("%w: run %s has none named %q; it has %s", ErrNoStep, w.past.State.Run, w.step, strings.Join(slices.Sorted(maps.Keys(names)), ", "))
}

func (w *whys) round(n int, st *StepState) WhyRound {
	out := WhyRound{Round: n, Status: st.Status, Repeat: st.Repeat, Key: st.Key, From: st.From, Changed: []Change{}}
	mine := w.resolved(n)
	switch {
	case mine == nil && st.Status == Reused:
		out.Why = "nothing that it depends on was changed since " + st.From + ", so its result was carried over"
	case mine == nil && st.Status == Blocked:
		out.Why = "it did not run: " + st.Error
	case mine == nil && st.Error != "":
		out.Why = "its key could not be found out: " + st.Error
	case mine == nil:
		out.Why = "it waits: the run ended before it could begin"
	case st.Status == Reused:
		out.Why = st.From + " has a result with the same key"
		if strings.Contains(st.From, "on trust") {
			out.Why = "the engine could not be asked, so the result of " + st.From + " was taken"
		}
	case mine.resolved.Visit > 0:
		out.Why = fmt.Sprintf("a remedy runs each time that a route calls it; this was visit %d", mine.resolved.Visit)
	default:
		w.ran(&out, mine)
	}
	return out
}

// resolved is what the step was last resolved to in a round.
func (w *whys) resolved(round int) *resolution {
	for _, r := range slices.Backward(w.own) {
		if r.step == w.step && r.round == round {
			return r
		}
	}
	return nil
}

// ran explains why no result was reused: what the step could have reused, and
// what of its key differs.
func (w *whys) ran(out *WhyRound, mine *resolution) {
	before, where := w.before(mine)
	if before == nil {
		out.Why = fmt.Sprintf("no earlier run of %s has worked on %s", w.past.State.Plan, w.step)
		return
	}
	out.Against = where
	if before.resolved.Key != mine.resolved.Key {
		out.Changed = w.changes(before.resolved, mine.resolved)
		names := make([]string, len(out.Changed))
		for i, c := range out.Changed {
			names[i] = c.Name
		}
		out.Why = fmt.Sprintf("its key is not that of %s: %s", where, strings.Join(names, ", "))
		return
	}
	switch {
	case before.value == nil && before.failed != "":
		out.Why = fmt.Sprintf("%s has the same key and no result: it failed (%s)", where, before.failed)
	case before.value == nil:
		out.Why = where + " has the same key and no result: it did not finish"
	case !w.kept(before.value):
		out.Why = where + " has a result with the same key, but an artefact of it is not in the store any more"
	case mine.resolved.Repeat == Measured.String() && w.past.State.From == "":
		out.Why = where + " has a result with the same key, but what is measured is reused in another run only by --from"
	case mine.resolved.Repeat == Measured.String():
		out.Why = fmt.Sprintf("%s has a result with the same key, but --from names run %s", where, w.past.State.From)
	default:
		out.Why = where + " has a result with the same key now; it had none when this run asked"
	}
}

func (w *whys) kept(v *state.Value) bool {
	known := *v
	return w.store.load(&known) == nil && w.store.whole(known.JSON)
}

// before is what the step could have reused: its newest earlier round, what
// --from names, the newest earlier run that has a result with the same key, or
// the newest earlier run of the plan.
func (w *whys) before(mine *resolution) (r *resolution, where string) {
	for _, old := range slices.Backward(w.own) {
		if old.step == w.step && old.round < mine.round {
			return old, state.FromRound(old.round)
		}
	}
	all, err := w.store.Summaries()
	if err != nil {
		return nil, ""
	}
	all = all[:max(0, slices.IndexFunc(all, func(s Summary) bool { return s.Run == mine.run }))]
	if from := w.past.State.From; from != "" && mine.resolved.Repeat == Measured.String() {
		all = slices.DeleteFunc(all, func(s Summary) bool { return s.Run != from })
	}
	key := mine.resolved.Key
	for _, run := range slices.Backward(all) {
		if !slices.Contains(run.Keys, shortKey(key)) {
			continue
		}
		for _, old := range w.other.resolutions(w.store, run.Run) {
			if old.resolved.Key == key {
				return old, "run " + old.run
			}
		}
	}
	for _, run := range slices.Backward(all) {
		if run.Plan != mine.plan {
			continue
		}
		for _, old := range slices.Backward(w.other.resolutions(w.store, run.Run)) {
			if old.step == w.step {
				return old, "run " + old.run
			}
		}
	}
	return nil, ""
}

// changes names the ingredients that differ, sorted.
func (w *whys) changes(old, now *state.Resolved) []Change {
	out := Changes(old.Ingredients(), now.Ingredients())
	for i := range out {
		a, b := digestIn(out[i].Old), digestIn(out[i].New)
		if a != "" && b != "" {
			out[i].Files, _ = w.store.Diff(a, b) // objects may be gone: then only the digests are known
		}
		if b != "" {
			out[i].Made = w.maker(b)
		}
	}
	return out
}

// maker is the step of the run whose result holds an artefact.
func (w *whys) maker(digest string) string {
	for _, r := range w.own {
		if r.value != nil && bytes.Contains(r.value.JSON, []byte(digest)) {
			return r.step
		}
	}
	return ""
}

// digestIn is the digest of a value that is an artefact, or "".
func digestIn(raw json.RawMessage) string {
	var a struct{ Artefact, Digest string }
	if json.Unmarshal(raw, &a) != nil || a.Artefact == "" {
		return ""
	}
	return a.Digest
}

// Changes names the ingredients of two keys that differ, sorted by name, each
// as deep as both have it.
func Changes(old, now kind.Ingredients) []Change {
	out := []Change{}
	dotted(func(at string, old, now any) {
		out = append(out, Change{Name: at, Old: ingredient(old), New: ingredient(now)})
	}).compare("", tree(old), tree(now))
	return out
}

// dotted is a walk that names fields as plans do: "with.workload.sweep.rps[1]".
func dotted(meet func(at string, old, now any)) walk {
	return walk{
		member: document.Join,
		item:   func(at string, i int) string { return fmt.Sprintf("%s[%d]", at, i) },
		whole:  whole, meet: meet,
	}
}

// tree is what a key is made of as a JSON tree.
func tree(in kind.Ingredients) map[string]any {
	with, err := canonical.Decode(in.With)
	if err != nil {
		with = string(in.With)
	}
	identity := map[string]any{}
	for name, v := range in.Identity {
		identity[name] = v
	}
	return map[string]any{"kind": in.Kind, "version": in.Version, "with": with, "identity": identity, "visit": in.Visit}
}

// whole says which values of a key are named as they are: an artefact, whose
// files tell more than its digest, and a list that grew or shrank.
func whole(old, now any) bool {
	switch a := old.(type) {
	case map[string]any:
		b, ok := now.(map[string]any)
		if !ok {
			return false
		}
		_, was := artefactIn(a)
		_, is := artefactIn(b)
		return was || is
	case []any:
		b, ok := now.([]any)
		return ok && len(a) != len(b)
	}
	return false
}

// ingredient is a value as JSON, null where there is none.
func ingredient(v any) json.RawMessage {
	if _, none := v.(absent); none {
		return json.RawMessage("null")
	}
	return json.RawMessage(text(v))
}
