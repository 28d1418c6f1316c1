package steps

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"

	"calrun/internal/report"
	"calrun/pipeline"
)

// pageRoute is a route with what its condition read, and below that what the
// assertions behind the condition read.
func pageRoute(r *pipeline.RouteState, round *pipeline.Round) *report.Route {
	g := round.Gates[r.Gate]
	out := &report.Route{Gate: r.Gate, When: r.When, Notes: r.Notes}
	numbers := map[string]float64{}
	for _, name := range inNameOrder(r.Values) {
		if r.Values[name] == false {
			continue // what did not hold led nowhere
		}
		v := report.Value{Name: name}
		if n, ok := r.Values[name].(float64); ok {
			v.Number = n
		} else {
			v.Text = fmt.Sprint(r.Values[name])
		}
		out.Values = append(out.Values, v)
		if g == nil {
			continue
		}
		for _, j := range g.Assert {
			if _, of, ok := strings.Cut(name, "."); ok && of == j.Name {
				maps.Copy(numbers, j.Values)
			}
		}
	}
	for _, name := range inNameOrder(numbers) {
		if _, said := r.Values[name]; said {
			continue
		}
		out.Values = append(out.Values, report.Value{Name: name, Number: numbers[name]})
	}
	sets := r.Sets
	if r.Remedy != nil {
		s := pageStep(r.Remedy)
		s.Name = r.Run
		out.Remedy = &s
		sets = r.Remedy.Sets
	}
	out.Sets = pageSets(sets, round)
	return out
}

// pageSets says what overrides changed; targets that got the same value share
// a line.
func pageSets(sets map[string]json.RawMessage, round *pipeline.Round) []report.Value {
	targets := map[string][]string{} // value → who got it
	for _, target := range inNameOrder(sets) {
		targets[string(sets[target])] = append(targets[string(sets[target])], target)
	}
	var out []report.Value
	for _, value := range inNameOrder(targets) {
		text := briefJSON(json.RawMessage(value))
		for _, target := range targets[value] {
			if changes := changedMembers(valueBefore(target, round), json.RawMessage(value)); changes != "" && len(changes) < len(text) {
				text = changes
			}
		}
		out = append(out, report.Value{Name: strings.Join(targets[value], ", "), Text: text})
	}
	return out
}

// valueBefore is what a field ("sim.params") had in a round: the result's
// field of that name, which has the defaults too, else the `with` field.
func valueBefore(target string, round *pipeline.Round) json.RawMessage {
	step, field, _ := strings.Cut(target, ".")
	st := round.Steps[step]
	if st == nil {
		return nil
	}
	for _, doc := range []json.RawMessage{st.Result, st.With} {
		var fields map[string]json.RawMessage
		if json.Unmarshal(doc, &fields) == nil && fields[field] != nil {
			return fields[field]
		}
	}
	return nil
}

// changedMembers lists the members of an object that differ from before, as
// "cpu_overhead_s 0 → 0.0026"; empty if one of the two is no object.
func changedMembers(before, after json.RawMessage) string {
	var old, now map[string]json.RawMessage
	if json.Unmarshal(before, &old) != nil || json.Unmarshal(after, &now) != nil || old == nil {
		return ""
	}
	var parts []string
	for _, name := range inNameOrder(now) {
		from, to := briefJSON(old[name]), briefJSON(now[name])
		switch from {
		case to:
		case "":
			parts = append(parts, name+" "+to)
		default:
			parts = append(parts, name+" "+from+" → "+to)
		}
	}
	return strings.Join(parts, ", ")
}
