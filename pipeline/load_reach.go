package pipeline

import "fmt"

// reach finds what a run could never get to, and counts looks.
func (l *loader) reach() {
	routed := map[string]bool{}
	for _, d := range l.plan.Steps {
		if d.Gate == nil {
			continue
		}
		for _, r := range append(append([]*Route(nil), d.Gate.Routes...), d.Gate.broken...) {
			routed[r.Run] = true
		}
	}
	for _, d := range l.plan.Remedies {
		at := pos{d.Line, d.Col, runes(d.Name)}
		if !routed[d.Name] && !l.lost {
			l.complain(at, d.where(), fmt.Sprintf("no route runs %s", d.Name), fmt.Sprintf("add a route `{when: ..., run: %s}` to a gate, or remove it", d.Name))
		}
		if d.src.form == isObject && d.src.get("sets") == nil {
			l.doubt(at, d.where(), fmt.Sprintf("%s sets nothing: its route is closed after one visit", d.Name), "lay its result on a field with `sets: {step.field: field}`")
		}
	}
	if l.failed() {
		return
	}
	for _, d := range l.plan.Steps {
		if d.Gate != nil {
			l.looks(d)
		}
	}
}

// looks counts how often a gate may look: 1 and the visits of those of its
// routes that change what it judges.
func (l *loader) looks(d *Decl) {
	d.Gate.Looks = 1
	for _, r := range d.Gate.Routes {
		if l.plan.reaches(r, d.Gate.Of) {
			d.Gate.Looks += r.Max
			continue
		}
		at := pos{r.Line, r.Col, 1}
		l.doubt(at, fmt.Sprintf("%s.routes[%d]", d.where(), r.Index), fmt.Sprintf("this route changes nothing that %s reads: the gate would judge the same again", d.Gate.Of), "")
	}
	of := l.plan.decls[d.Gate.Of]
	for _, fd := range of.Kind.described().fields {
		if fd.fill != "looks" {
			continue
		}
		if of.with.fill == nil {
			of.with.fill = map[string]int{}
		}
		of.with.fill[fd.name] = max(of.with.fill[fd.name], d.Gate.Looks)
	}
}

// unusedInputs warns about inputs that nothing reads.
func (l *loader) unusedInputs() {
	if l.failed() {
		return
	}
	for _, in := range l.plan.Inputs {
		if !l.read[in.Name] {
			l.doubt(pos{in.Line, in.Col, runes(in.Name)}, "inputs."+in.Name, fmt.Sprintf("nothing reads %s", in.Name), fmt.Sprintf("use it as ${{ inputs.%s }}, or remove it", in.Name))
		}
	}
}
