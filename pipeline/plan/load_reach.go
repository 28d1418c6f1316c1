package plan

import (
	"fmt"
	"slices"

	"calrun/pipeline/document"
)

// reach finds what a run could never get to, and counts looks.
func (l *loader) reach() {
	routed := map[string]bool{}
	for _, d := range l.plan.Steps {
		if d.Gate == nil {
			continue
		}
		for _, r := range slices.Concat(d.Gate.Routes, d.Gate.broken) {
			routed[r.Run] = true
		}
	}
	for _, d := range l.plan.Remedies {
		at := d.name()
		if !routed[d.Name] && !l.lost {
			l.Complain(at, d.where(), fmt.Sprintf("no route runs %s", d.Name), fmt.Sprintf("add a route `{when: ..., run: %s}` to a gate, or remove it", d.Name))
		}
		if d.src.Form == document.Object && d.src.Get("sets") == nil {
			l.Doubt(at, d.where(), fmt.Sprintf("%s sets nothing: its route is closed after one visit", d.Name), "lay its result on a field with `sets: {step.field: field}`")
		}
	}
	if l.Failed() {
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
		at := document.Pos{Line: r.Line, Col: r.Col, Width: 1}
		l.Doubt(at, fmt.Sprintf("%s.routes[%d]", d.where(), r.Index), fmt.Sprintf("this route changes nothing that %s reads: the gate would judge the same again", d.Gate.Of), "")
	}
	of := l.plan.decls[d.Gate.Of]
	for _, fd := range of.Kind.Shape().Fields {
		if fd.Fill != "looks" {
			continue
		}
		if of.with.fill == nil {
			of.with.fill = map[string]int{}
		}
		of.with.fill[fd.Name] = max(of.with.fill[fd.Name], d.Gate.Looks)
	}
}

// unusedInputs warns about inputs that nothing reads.
func (l *loader) unusedInputs() {
	if l.Failed() {
		return
	}
	for _, in := range l.plan.Inputs {
		if !l.read[in.Name] {
			l.Doubt(document.Pos{Line: in.Line, Col: in.Col, Width: document.Width(in.Name)}, "inputs."+in.Name, fmt.Sprintf("nothing reads %s", in.Name), fmt.Sprintf("use it as ${{ inputs.%s }}, or remove it", in.Name))
		}
	}
}
