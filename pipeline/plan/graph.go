package plan

import "slices"

// Order returns steps and gates so that each comes after what it depends on,
// in file order among equals. Remedies are not among them.
func (p *Plan) Order() []*Decl { return p.order }

// After returns the names of what a step, gate or remedy depends on directly:
// the steps it refers to, its needs, and what a gate judges. Sorted.
func (p *Plan) After(name string) []string { return p.after[name] }

// Before returns the names of the steps and gates that depend directly on a
// step or gate: those whose [Plan.After] has it.
func (p *Plan) Before(name string) []string { return p.before[name] }

// Descendants returns the named steps and all steps and gates that depend on
// them, directly or not, in [Plan.Order].
func (p *Plan) Descendants(names ...string) []string {
	in := map[string]bool{}
	todo := append([]string(nil), names...)
	for len(todo) > 0 {
		name := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if in[name] {
			continue
		}
		in[name] = true
		todo = append(todo, p.before[name]...)
	}
	var out []string
	for _, d := range p.order {
		if in[d.Name] {
			out = append(out, d.Name)
		}
	}
	return out
}

// WorstRounds is the largest number of rounds that a run of the plan can
// have: 1 and the sum of all routes' max, at most limits.rounds.
func (p *Plan) WorstRounds() int {
	n := 1
	for _, r := range p.Routes() {
		n += r.Max
	}
	if p.Limits.Rounds > 0 {
		n = min(n, p.Limits.Rounds)
	}
	return n
}

// WorstRuns is the largest number of times that a step, gate or remedy can
// run: once and once more for each visit of a route that changes something
// that it depends on. Reuse by key can only make it less.
func (p *Plan) WorstRuns(name string) int {
	d := p.Decl(name)
	if d == nil {
		return 0
	}
	n := 1
	if d.Remedy {
		n = 0
	}
	for _, r := range p.Routes() {
		if d.Remedy && r.Run == name || !d.Remedy && p.reaches(r, name) {
			n += r.Max
		}
	}
	if limit := p.WorstRounds(); d.Remedy {
		return min(n, limit-1)
	} else if n > limit {
		return limit
	}
	return n
}

// reaches says whether the overrides of a route change the with of the named
// step or of something before it.
func (p *Plan) reaches(r *Route, name string) bool {
	return slices.Contains(p.Descendants(r.Targets(p)...), name)
}

// Targets returns the steps that the route's overrides change, those of its
// remedy included, and those that become void by its forget.
func (r *Route) Targets(p *Plan) []string {
	var out []string
	for _, o := range r.Set {
		out = append(out, o.Step)
	}
	remedy := p.Decl(r.Run)
	if remedy == nil {
		return out
	}
	for _, o := range remedy.Sets {
		out = append(out, o.Step)
	}
	for _, name := range remedy.Forget {
		if other := p.Decl(name); other != nil {
			for _, o := range other.Sets {
				out = append(out, o.Step)
			}
		}
	}
	return out
}
