package pipeline

import (
	"encoding/json"
	"fmt"
	"slices"
	"sort"
	"strings"

	"calrun/pipeline/canonical"
	"calrun/pipeline/plan"
	"calrun/pipeline/state"
)

// route chooses what to do after a round: the first route in plan order, of
// the gates that are not passed, whose condition holds, whose visits are not
// spent and which is not closed.
func (j *job) route() *Event {
	var notes []string
	for _, rt := range j.e.plan.Routes() {
		g := j.round.Gates[rt.Gate]
		if g == nil || g.Verdict == Pass {
			continue
		}
		id := state.RouteID(rt.Gate, rt.Index)
		if why := j.shut[id]; why != "" {
			notes = append(notes, fmt.Sprintf("route %s (%s) is closed: %s", id, rt.Aim(), why))
			continue
		}
		if j.spent[id] >= rt.Max {
			notes = append(notes, fmt.Sprintf("route %s (%s) is spent: %d of %d visits", id, rt.Aim(), j.spent[id], rt.Max))
			continue
		}
		t, note := j.try(rt, g)
		if note != "" {
			notes = append(notes, note)
		}
		if t != nil {
			t.Notes = notes
			return &Event{Type: state.EventRouted, Round: j.cmd.Round, Routed: t}
		}
	}
	return &Event{Type: state.EventSettled, Round: j.cmd.Round, Notes: notes}
}

// try evaluates a route's condition. Both results are empty if it simply
// does not hold.
func (j *job) try(rt *Route, g *GateState) (*Routed, string) {
	id := state.RouteID(rt.Gate, rt.Index)
	env := j.env
	env.Passed, env.Failed, env.Unsure = sides(g)
	values := map[string]any{}
	for _, c := range rt.When.Chains() {
		for _, r := range c.Read(env) {
			if r.Missing || r.Value == nil {
				return nil, fmt.Sprintf("route %s (%s) does not hold: %s has no value in this round", id, rt.Aim(), c.Text)
			}
			if !composite(r.Value) {
				values[c.Name(r)] = r.Value
			}
		}
	}
	holds, err := rt.When.Holds(env)
	if err != nil {
		return nil, fmt.Sprintf("route %s (%s) does not hold: %v", id, rt.Aim(), err)
	}
	if !holds {
		return nil, ""
	}
	t := &Routed{Gate: rt.Gate, Index: rt.Index, When: rt.When.Source(), Values: values, Run: rt.Run}
	if rt.Run != "" {
		remedy := j.e.plan.Decl(rt.Run)
		t.Kind = remedy.Uses
		for _, name := range j.e.plan.After(rt.Run) {
			if _, there := j.env.Steps[name]; !there && j.e.plan.Decl(name).Gate == nil {
				return nil, fmt.Sprintf("route %s (%s) cannot be taken: %s reads %s, which has no result in this round", id, rt.Aim(), rt.Run, name)
			}
		}
	}
	if t.Sets, err = valuesOf(rt.Set, env); err != nil {
		return nil, fmt.Sprintf("route %s (%s) cannot be taken: %v", id, rt.Aim(), err)
	}
	return t, ""
}

func composite(v any) bool {
	switch v.(type) {
	case map[string]any, []any:
		return true
	}
	return false
}

// sides says of each assertion and warning of a gate whether it passed,
// failed or is not sure. A gate that was not judged has none.
func sides(g *GateState) (passed, failed, unsure map[string]bool) {
	passed, failed, unsure = map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, a := range slices.Concat(g.Assert, g.Warn) {
		passed[a.Name] = a.Verdict == Pass
		failed[a.Name] = a.Verdict == Fail
		unsure[a.Name] = a.Verdict == Inconclusive
	}
	return passed, failed, unsure
}

// valuesOf computes overrides: "sim.params" → value. An optional value that
// is absent is left out.
func valuesOf(over []plan.Override, env Env) (map[string]json.RawMessage, error) {
	var out map[string]json.RawMessage
	for _, o := range over {
		v, ok, err := o.Value(env)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", o.Target(), err)
		}
		if !ok {
			continue
		}
		if out == nil {
			out = map[string]json.RawMessage{}
		}
		out[o.Target()] = v
	}
	return out, nil
}

// weigh finds out what the route that was taken changes: which of the steps
// that it overrides get another key, with everything else as it was in the
// round. If none does, the route is closed, since taking it again would be
// the same round again.
func (j *job) weigh() *Event {
	t := j.round.Route
	over, targets, err := j.overrides(t)
	if err != nil {
		return j.shutRoute(fmt.Sprintf("what it sets has no value: %v", err))
	}
	var changed []string
	for _, name := range targets {
		same, err := j.sameKey(name, over)
		if err != nil {
			return j.shutRoute(fmt.Sprintf("what it sets does not fit: %v", err))
		}
		if !same {
			changed = append(changed, name)
		}
	}
	if len(changed) == 0 {
		aim := j.e.plan.Routes()[j.routeAt(t)].Aim()
		return j.shutRoute(fmt.Sprintf("no progress: %s changed nothing in %s", aim, strings.Join(targets, ", ")))
	}
	return &Event{Type: state.EventProgress, Round: j.cmd.Round, Changed: changed, Over: over}
}

func (j *job) shutRoute(why string) *Event {
	return &Event{Type: state.EventShut, Round: j.cmd.Round, Why: why}
}

func (j *job) routeAt(t *RouteState) int {
	return slices.IndexFunc(j.e.plan.Routes(), func(r *Route) bool { return r.Gate == t.Gate && r.Index == t.Index })
}

// overrides returns the overrides that are in force once the route is taken,
// and the steps whose fields they may have changed.
func (j *job) overrides(t *RouteState) (over state.Overrides, targets []string, err error) {
	over = state.Overrides{}
	steps := map[string]bool{}
	var remedy *plan.Decl
	if t.Run != "" {
		remedy = j.e.plan.Decl(t.Run)
	}
	for target, o := range j.all {
		if remedy != nil && slices.Contains(remedy.Forget, o.By) {
			steps[stepOf(target)] = true
			continue
		}
		over[target] = o
	}
	lay := func(by string, values map[string]json.RawMessage) {
		for target, v := range values {
			over[target] = state.Overriding{Value: v, By: by}
			steps[stepOf(target)] = true
		}
	}
	lay(t.ID(), t.Sets)
	if remedy != nil {
		env := j.env
		if env.Result, err = canonical.DecodeFloats(t.Remedy.Result); err != nil {
			return nil, nil, err
		}
		values, err := valuesOf(remedy.Sets, env)
		if err != nil {
			return nil, nil, err
		}
		lay(remedy.Name, values)
	}
	for name := range steps {
		targets = append(targets, name)
	}
	sort.Strings(targets)
	return over, targets, nil
}

func stepOf(target string) string {
	name, _, _ := strings.Cut(target, ".")
	return name
}

// sameKey says whether a step would have, with these overrides, the key that
// it has in the round. A step that has none yet is changed by any override
// that is not in force already.
func (j *job) sameKey(name string, over state.Overrides) (bool, error) {
	st := j.round.Steps[name]
	if st == nil || st.Key == "" {
		a, err := canonical.JSON(overFor(over, name))
		if err != nil {
			return false, err
		}
		b, err := canonical.JSON(overFor(j.all, name))
		return string(a) == string(b), err
	}
	sub := &job{e: j.e, decl: j.e.plan.Decl(name), env: j.env, over: overFor(over, name)}
	with, err := j.e.plan.Resolve(sub.decl, sub.env, sub.over)
	if err != nil {
		return false, err
	}
	if with, err = sub.importPaths(with, map[string]string{}); err != nil {
		return false, err
	}
	made := &state.Resolved{With: with}
	err = sub.seal(made, st.ID)
	return made.Key == st.Key, err
}
