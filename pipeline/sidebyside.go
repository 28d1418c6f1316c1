package pipeline

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"calrun/pipeline/canonical"
)

// Row is one thing in which two runs can be compared. An empty text is one
// that only the other run has.
type Row struct {
	Group string   `json:"group"` // run, inputs, files, pins, parameters, figures, artefacts
	Name  string   `json:"name"`
	A     string   `json:"a"`
	B     string   `json:"b"`
	Same  bool     `json:"same"`
	Delta *float64 `json:"delta,omitempty"` // B - A, of two numbers

	Figure bool `json:"-"` // a number that gates read: of interest also where it is the same
}

// LockOf is what a lock of a finished run would hold, without a pack and
// without a page: what [SideBySide] compares.
func (s *Store) LockOf(id string, kinds *Kinds) (*Lock, error) {
	past, err := s.ReadRun(id)
	if err != nil {
		return nil, err
	}
	p, err := recordedPlan(past, kinds, past.Given())
	if err != nil {
		return nil, err
	}
	l := &Lock{Version: LockVersion, Accepted: Provenance{id, past.State.Closed, past.State.Version}}
	l.Findings, err = findings(past, p, "")
	return l, err
}

// SideBySide compares two runs: plan, inputs, files, what steps depended on,
// parameters, the figures of the gates, and what the steps made. Rows stand in
// the order of these groups and of their names.
func SideBySide(a, b *Lock) []Row {
	x, y := sheet(a), sheet(b)
	var rows []Row
	for _, group := range []string{"run", "inputs", "files", "pins", "parameters", "figures", "artefacts"} {
		for _, name := range namesOf(x[group], y[group]) {
			r := Row{Group: group, Name: name, A: x[group][name], B: y[group][name], Figure: group == "figures"}
			r.Same = r.A == r.B
			m, err1 := strconv.ParseFloat(r.A, 64)
			n, err2 := strconv.ParseFloat(r.B, 64)
			if err1 == nil && err2 == nil {
				d := n - m
				r.Delta = &d
			}
			rows = append(rows, r)
		}
	}
	return rows
}

// sheet is a run as texts, by group and name.
func sheet(l *Lock) map[string]map[string]string {
	out := map[string]map[string]string{}
	put := func(group, name, text string) {
		if out[group] == nil {
			out[group] = map[string]string{}
		}
		out[group][name] = text
	}
	put("run", "plan", l.Plan.Name+" "+l.Plan.Digest)
	put("run", "verdict", string(l.Verdict))
	put("run", "rounds", strconv.Itoa(len(l.Rounds)))
	put("run", "calrun", l.Accepted.Calrun)
	for _, in := range l.Inputs {
		put("inputs", in.Name, string(in.Value)+in.Digest)
	}
	for name, digest := range l.Files {
		put("files", name, digest)
	}
	for _, r := range l.Rounds {
		steps := r.Steps
		if r.Route != nil && r.Route.Remedy != nil {
			steps = append(slices.Clone(steps), *r.Route.Remedy)
		}
		for _, s := range steps { // of several rounds the last
			put("pins", s.Step, s.Kind)
			for name, id := range s.Identity {
				put("pins", s.Step+"."+name, id)
			}
			for name, digest := range s.Artefacts {
				put("artefacts", s.Step+"."+name, digest)
			}
		}
	}
	for gate, values := range l.past().Figures {
		for name, v := range values {
			put("figures", gate+" "+name, strconv.FormatFloat(v, 'g', -1, 64))
		}
	}
	if tuned, err := canonical.Decode(l.Tuned); err == nil {
		flatten("", tuned, func(name, text string) { put("parameters", name, text) })
	}
	return out
}

// flatten gives every leaf of a decoded JSON document with its path.
func flatten(at string, v any, leaf func(path, text string)) {
	if m, ok := v.(map[string]any); ok {
		for name, e := range m {
			flatten(strings.TrimPrefix(at+"."+name, "."), e, leaf)
		}
		return
	}
	leaf(at, strings.Trim(text(v), `"`))
}

// Drift is the history of accepted runs as rows: each run against the one
// before it.
func Drift(history []AcceptedPast) []Row {
	var rows []Row
	for i, e := range history {
		for gate, values := range e.Figures {
			for name, v := range values {
				r := Row{Group: e.Run, Name: gate + " " + name, B: strconv.FormatFloat(v, 'g', -1, 64), Figure: true}
				if i > 0 {
					if before, ok := history[i-1].Figures[gate][name]; ok {
						d := v - before
						r.A, r.Delta = strconv.FormatFloat(before, 'g', -1, 64), &d
					}
				}
				r.Same = r.A == r.B
				rows = append(rows, r)
			}
		}
		if i > 0 {
			before := history[i-1]
			for step, id := range e.Engine {
				rows = append(rows, Row{Group: e.Run, Name: "engine of " + step, A: before.Engine[step], B: id, Same: before.Engine[step] == id})
			}
			rows = append(rows, Row{Group: e.Run, Name: "plan", A: before.Plan, B: e.Plan, Same: before.Plan == e.Plan})
		}
		rows = append(rows, Row{Group: e.Run, Name: "verdict", B: string(e.Verdict)})
	}
	place := map[string]int{}
	for i, e := range history {
		place[e.Run] = i
	}
	slices.SortFunc(rows, func(a, b Row) int {
		return cmp.Or(place[a.Group]-place[b.Group], strings.Compare(a.Name, b.Name))
	})
	return rows
}
