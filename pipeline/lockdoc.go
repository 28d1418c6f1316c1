package pipeline

import (
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"calrun/pipeline/canonical"
	"calrun/pipeline/plan"
	"calrun/pipeline/store"
)

// LockVersion is the form of a lock.
const LockVersion = "calrun/v1"

// Lock is what an accepted run was made of and what it found. Findings follows
// from the run's journal and the page's digest alone; the rest says where they
// came from.
type Lock struct {
	Version string `json:"lock"`
	Findings
	Pack     LockedPack     `json:"pack"`
	Accepted Provenance     `json:"accepted"`
	History  []AcceptedPast `json:"history"` // oldest first, the accepted run last
}

// Findings are the part of a [Lock] that a reproduction must find again.
type Findings struct {
	Plan    LockedPlan        `json:"plan"`
	Verdict Verdict           `json:"verdict"`
	Reasons []string          `json:"reasons,omitempty"`
	Inputs  []LockedInput     `json:"inputs,omitempty"`
	Files   map[string]string `json:"files,omitempty"` // read by the run: path from the plan's folder → digest
	Rounds  []LockedRound     `json:"rounds"`
	Tuned   json.RawMessage   `json:"tuned,omitempty"`  // overrides in force at the end: "sim.params" → value
	Report  string            `json:"report,omitempty"` // digest of the page without its provenance
}

// LockedPlan is the plan of an accepted run.
type LockedPlan struct {
	Name   string `json:"name"`
	File   string `json:"file"`
	Digest string `json:"digest"`
}

// LockedInput is a value that the run was given: of a file or folder its digest.
type LockedInput struct {
	Name   string          `json:"name"`
	Value  json.RawMessage `json:"value,omitempty"`
	Digest string          `json:"digest,omitempty"`
}

// LockedRound is a round of an accepted run: the steps that were resolved in
// it, its gates, and the route that was taken.
type LockedRound struct {
	Round int          `json:"round"`
	Steps []LockedStep `json:"steps"`
	Gates []LockedGate `json:"gates,omitempty"`
	Route *LockedRoute `json:"route,omitempty"`
}

// LockedStep is a step that has a result.
type LockedStep struct {
	Step      string            `json:"step"`
	Kind      string            `json:"kind"` // with its version: "simulate 3"
	Repeat    string            `json:"repeat"`
	Key       string            `json:"key"`
	Identity  map[string]string `json:"identity,omitempty"`
	Result    string            `json:"result"` // digest
	Artefacts map[string]string `json:"artefacts,omitempty"`
}

// LockedGate is a gate that was judged.
type LockedGate struct {
	Gate    string            `json:"gate"`
	Verdict Verdict           `json:"verdict"`
	Assert  []LockedAssertion `json:"assert"`
	Warn    []LockedAssertion `json:"warn,omitempty"`
}

// LockedAssertion is an assertion with what it read.
type LockedAssertion struct {
	Name    string             `json:"name"`
	Expr    string             `json:"expr"`
	Verdict Verdict            `json:"verdict"`
	Values  map[string]float64 `json:"values,omitempty"`
	Shares  map[string]float64 `json:"shares,omitempty"`
}

// LockedRoute is a route that was taken.
type LockedRoute struct {
	Gate   string      `json:"gate"`
	When   string      `json:"when"`
	Run    string      `json:"run,omitempty"`
	Remedy *LockedStep `json:"remedy,omitempty"`
}

// LockedPack is the pack beside a lock.
type LockedPack struct {
	File   string `json:"file"`
	Digest string `json:"digest"`
	Bytes  int64  `json:"bytes"`
}

// Provenance is where an accepted run came from. Nothing in it is compared.
type Provenance struct {
	Run    string    `json:"run"`
	Closed time.Time `json:"closed"`
	Calrun string    `json:"calrun"`
}

// AcceptedPast is an accepted run in the history of its plan. Link is the
// digest of the link before it and of this entry, so that a changed or lost
// entry is found.
type AcceptedPast struct {
	Run     string                        `json:"run"`
	Closed  time.Time                     `json:"closed"`
	Verdict Verdict                       `json:"verdict"`
	Plan    string                        `json:"plan"`    // digest
	Engine  map[string]string             `json:"engine"`  // identities of measured steps, by step
	Figures map[string]map[string]float64 `json:"figures"` // gate → what its assertions read
	Link    string                        `json:"link"`
}

// findings derives what a run found from its state; page is the digest of its
// page.
func findings(past *Past, p *Plan, page string) (Findings, error) {
	s := past.State
	f := Findings{
		Plan:    LockedPlan{Name: s.Plan, File: filepath.Base(s.File), Digest: store.Digest(past.PlanSource)},
		Verdict: s.Verdict, Reasons: s.Reasons, Report: page, Files: localFiles(s),
	}
	for _, in := range p.Inputs {
		value, given := s.Inputs[in.Name]
		if !given {
			continue // a secret: nothing of it is kept
		}
		locked := LockedInput{Name: in.Name, Value: value}
		var path string
		if json.Unmarshal(value, &path) == nil && s.Imported[path] != "" && (in.Type == "file" || in.Type == "dir") {
			locked = LockedInput{Name: in.Name, Digest: s.Imported[path]}
		}
		f.Inputs = append(f.Inputs, locked)
	}
	for _, r := range s.Rounds {
		f.Rounds = append(f.Rounds, lockedRound(p, r))
	}
	if len(s.Over) > 0 {
		values := map[string]json.RawMessage{}
		for target, o := range s.Over {
			values[target] = o.Value
		}
		var err error
		if f.Tuned, err = canonical.JSON(values); err != nil {
			return f, err
		}
	}
	return f, nil
}

// localFiles are the files and folders below the plan's own folder that the
// run read, inputs among them.
func localFiles(s *State) map[string]string {
	out := map[string]string{}
	for path, digest := range s.Imported {
		if rel, err := filepath.Rel(s.Dir, path); err == nil && filepath.IsLocal(rel) {
			out[filepath.ToSlash(rel)] = digest
		}
	}
	return out
}

func lockedRound(p *Plan, r *Round) LockedRound {
	out := LockedRound{Round: r.N, Steps: []LockedStep{}}
	for _, d := range p.Order() {
		if g := r.Gates[d.Name]; d.Gate != nil && g != nil {
			out.Gates = append(out.Gates, LockedGate{
				Gate: d.Name, Verdict: g.Verdict, Assert: lockedAssertions(g.Assert), Warn: lockedAssertions(g.Warn),
			})
		}
		if st := r.Steps[d.Name]; d.Gate == nil && st != nil && st.Result != nil && !carried(st, r.N) {
			out.Steps = append(out.Steps, lockedStep(d, st))
		}
	}
	if rt := r.Route; rt != nil {
		out.Route = &LockedRoute{Gate: rt.Gate, When: rt.When, Run: rt.Run}
		if rt.Remedy != nil && rt.Remedy.Result != nil {
			remedy := lockedStep(p.Decl(rt.Run), rt.Remedy)
			out.Route.Remedy = &remedy
		}
	}
	return out
}

// carried says whether a step's result is that of an earlier round of the run.
func carried(st *StepState, round int) bool {
	text, ok := strings.CutPrefix(st.From, "round ")
	n, err := strconv.Atoi(text)
	return ok && err == nil && st.Status == Reused && n < round
}

func lockedStep(d *plan.Decl, st *StepState) LockedStep {
	return LockedStep{
		Step: d.Name, Kind: d.Kind.Name + " " + strconv.Itoa(d.Kind.Version), Repeat: st.Repeat, Key: st.Key,
		Identity: st.ID, Result: store.Digest(st.Result), Artefacts: topArtefacts(st.Result),
	}
}

// topArtefacts are the artefacts at the top of a result, by name.
func topArtefacts(result json.RawMessage) map[string]string {
	tree, err := canonical.Decode(result)
	fields, ok := tree.(map[string]any)
	if err != nil || !ok {
		return nil
	}
	out := map[string]string{}
	for name, v := range fields {
		x, _ := v.(map[string]any)
		if digest, ok := artefactIn(x); ok && digest != "" {
			out[name] = digest
		}
	}
	return out
}

func lockedAssertions(js []Judgement) []LockedAssertion {
	out := []LockedAssertion{}
	for _, j := range js {
		out = append(out, LockedAssertion{j.Name, j.Expr, j.Verdict, j.Values, j.Shares})
	}
	return out
}

// past is the entry of the history for the run of a lock.
func (l *Lock) past() AcceptedPast {
	e := AcceptedPast{
		Run: l.Accepted.Run, Closed: l.Accepted.Closed, Verdict: l.Verdict, Plan: l.Plan.Digest,
		Engine: map[string]string{}, Figures: map[string]map[string]float64{},
	}
	for _, r := range l.Rounds {
		for _, s := range r.Steps {
			if s.Repeat == Measured.String() {
				e.Engine[s.Step] = strings.Join(sortedPairs(s.Identity), ", ")
			}
		}
		for _, g := range r.Gates {
			e.Figures[g.Gate] = map[string]float64{}
			for _, a := range slices.Concat(g.Assert, g.Warn) {
				maps.Copy(e.Figures[g.Gate], a.Values)
			}
		}
	}
	return e
}

func sortedPairs(m map[string]string) []string {
	var out []string
	for name, v := range m {
		out = append(out, name+" "+v)
	}
	slices.Sort(out)
	return out
}

// link is the digest that chains an entry to the one before it.
func (e AcceptedPast) link(before string) (string, error) {
	e.Link = before
	raw, err := canonical.JSON(e)
	return store.Digest(raw), err
}

// append puts an accepted run at the end of a history; the same run accepted
// again takes the place of itself.
func appendPast(history []AcceptedPast, e AcceptedPast) ([]AcceptedPast, error) {
	if n := len(history); n > 0 && history[n-1].Run == e.Run {
		history = history[:n-1]
	}
	before := ""
	if n := len(history); n > 0 {
		before = history[n-1].Link
	}
	var err error
	e.Link, err = e.link(before)
	return append(slices.Clone(history), e), err
}

// checkHistory says which entry of a history does not follow from the one
// before it.
func checkHistory(history []AcceptedPast) error {
	before := ""
	for _, e := range history {
		want, err := e.link(before)
		if err != nil {
			return err
		}
		if e.Link != want {
			return fmt.Errorf("history: the entry of run %s does not follow from the one before it: %w", e.Run, ErrChanged)
		}
		before = e.Link
	}
	return nil
}
