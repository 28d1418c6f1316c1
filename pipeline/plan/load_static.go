package plan

import (
	"fmt"
	"slices"
	"strings"

	"calrun/pipeline/document"
	"calrun/pipeline/expr"
	"calrun/pipeline/field"
	"calrun/pipeline/kind"
	"calrun/pipeline/suggest"
)

// static asks each step, in order, for the names that its results will hold
// and for what it finds wrong with its literal fields.
func (l *loader) static() {
	for _, d := range slices.Concat(l.plan.order, l.plan.Remedies) {
		if d.with == nil || d.with.step == nil {
			continue
		}
		in := l.staticOf(d)
		if n, ok := d.with.step.(kind.Namer); ok && !d.faulty {
			d.with.names = n.Names(in)
		}
		if c, ok := d.with.step.(kind.Checker); ok {
			l.checked(d, c.Check(in))
		}
	}
}

// Static is what is known of a step before it runs: what a [kind.Namer], a
// [kind.Checker] or a [kind.Estimator] wants.
func (p *Plan) Static(name string) (kind.Step, kind.Static) {
	d := p.Decl(name)
	if d == nil || d.with == nil {
		return nil, kind.Static{}
	}
	l := &loader{plan: p}
	return d.with.step, l.staticOf(d)
}

func (l *loader) staticOf(d *Decl) kind.Static {
	w := d.with
	names := map[string][]string{}
	for _, p := range w.root.Pairs {
		t := w.texts[p.Val]
		if t == nil {
			continue
		}
		e := t.lone()
		if e == nil {
			continue
		}
		c, lone := e.Lone()
		if !lone || c.Root != "steps" {
			continue
		}
		path := c.Path()
		if other := l.plan.decls[path[0]]; other != nil && other.with != nil {
			if list, ok := other.with.names[strings.Join(path[1:], ".")]; ok {
				names[p.Key] = list
			}
		}
	}
	return kind.NewStatic(names, w.root.UnknownAt)
}

// checked turns what a kind found into problems at their places.
func (l *loader) checked(d *Decl, found []field.Problem) {
	for _, f := range found {
		at, path := d.with.root.Name(), d.where()+".with"
		if names := document.SplitPath(f.Field); len(names) > 0 {
			p := d.with.root.Pair(names[0])
			if p != nil && p.Shared {
				path = "shared"
			}
			if p != nil {
				at = d.with.root.Place(f.Field)
			}
			path = document.JoinField(path, f.Field)
		}
		p := document.Problem{Path: path, Message: f.Message, Suggest: f.Suggest, Warning: f.Warning}
		l.Add(at, p)
	}
}

// namesAt holds the constant names of an assertion to those that the result
// will have: points["rps-3"].
func (l *loader) namesAt(of *Decl, e *expr.Expr, v *document.Value, path string) {
	if of.with == nil || len(of.with.names) == 0 {
		return
	}
	for _, c := range e.Chains() {
		parts := c.Path()
		for n := 1; n < len(parts); n++ {
			known, ok := of.with.names[strings.Join(parts[:n], ".")]
			if !ok || parts[n] == "*" || slices.Contains(known, parts[n]) {
				continue
			}
			offset := strings.Index(v.Text, parts[n])
			at := v.Pos
			if offset >= 0 {
				at = l.Within(v, document.Width(v.Text[:offset]), document.Width(parts[n]))
			}
			l.Complain(at, path, fmt.Sprintf("%s will have no %s %q", of.Name, singular(parts[n-1]), parts[n]), suggest.DidYouMeanOr(parts[n], known, "there will be"))
		}
	}
}

func singular(s string) string { return strings.TrimSuffix(s, "s") }
