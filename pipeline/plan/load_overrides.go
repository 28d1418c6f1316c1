package plan

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"calrun/pipeline/document"
	"calrun/pipeline/expr"
	"calrun/pipeline/field"
	"calrun/pipeline/suggest"
)

// overrides reads the `sets` and `forget` of remedies and the `set` of routes.
func (l *loader) overrides() {
	for _, d := range l.plan.Remedies {
		if v := d.src.Get("sets"); v != nil && d.src.Form == document.Object {
			l.sets(d, v, d.where()+".sets")
		}
		if v := d.src.Get("forget"); v != nil && d.src.Form == document.Object {
			l.forget(d, v, d.where()+".forget")
		}
	}
	for _, d := range l.plan.Steps {
		if d.Gate == nil {
			continue
		}
		for _, r := range slices.Concat(d.Gate.Routes, d.Gate.broken) {
			if r.set != nil {
				l.routeSet(r, fmt.Sprintf("%s.routes[%d].set", d.where(), r.Index))
			}
		}
	}
}

func (l *loader) sets(d *Decl, v *document.Value, path string) {
	if !l.isObject(v, path, "step.field: field of the remedy's result") {
		return
	}
	for _, p := range v.Pairs {
		at := document.Join(path, p.Key)
		o, fd := l.field(p, at)
		if p.Val.Form != document.Text || p.Val.Text == "" {
			l.Complain(p.Val.Pos, at, p.Val.String()+" is not a field of the remedy's result", l.resultHint(d))
			continue
		}
		if strings.Contains(p.Val.Text, "${{") {
			inner := strings.TrimSpace(strings.NewReplacer("${{", "", "}}", "", "steps."+d.Name+".", "").Replace(p.Val.Text))
			l.Complain(p.Val.Pos, at, "a field of the remedy's own result stands here without ${{ }}", "write "+inner)
			continue
		}
		if d.with == nil {
			continue
		}
		result := d.with.result
		e, flaws := expr.Compile(p.Val.Text, &expr.Scope{Result: &result, Of: d.Name})
		if l.flaws(p.Val, at, flaws) || fd == nil {
			continue
		}
		if len(e.Chains()) == 0 {
			l.Complain(p.Val.Pos, at, "the value is constant: it does not come from the remedy", l.resultHint(d))
			continue
		}
		if !fd.Shape.Type.Takes(e.Type()) {
			l.Complain(p.Val.Pos, at, fmt.Sprintf("%s is %s, %s wants %s", e.Source(), e.Type().Article(), p.Key, fd.Shape.Type.Article()), l.resultHint(d))
			continue
		}
		o.from = e
		d.Sets = append(d.Sets, o)
	}
}

func (l *loader) resultHint(d *Decl) string {
	if d.with == nil || len(d.with.result.Members) == 0 {
		return ""
	}
	return "its result has " + suggest.AndMore(d.with.result.Names(), 12)
}

func (l *loader) forget(d *Decl, v *document.Value, path string) {
	for i, name := range l.names(v, path) {
		at := v.Pos
		if v.Form == document.List {
			at = v.Items[i].Pos
		}
		other := l.plan.decls[name]
		where := fmt.Sprintf("%s[%d]", path, i)
		switch {
		case other == nil:
			l.Complain(at, where, fmt.Sprintf("there is no remedy %q", name), suggest.DidYouMeanOr(name, l.remedyNames(), "remedies"))
		case !other.Remedy:
			l.Complain(at, where, fmt.Sprintf("%s is a step: only what a remedy has set can be forgotten", name), suggest.DidYouMeanOr("", l.remedyNames(), "remedies"))
		case other == d:
			l.Complain(at, where, "a remedy cannot forget itself", "its newest result replaces the one before")
		default:
			d.Forget = append(d.Forget, name)
		}
	}
}

func (l *loader) routeSet(r *Route, path string) {
	if !l.isObject(r.set, path, "step.field: value") {
		return
	}
	for _, p := range r.set.Pairs {
		at := document.Join(path, p.Key)
		o, fd := l.field(p, at)
		if fd == nil {
			continue
		}
		w := l.newWith()
		l.templates(p.Val, at)
		dec := l.decoder(w)
		dec.Field(reflect.New(fd.Shape.Go).Elem(), fd, p.Val, at)
		l.faults(dec.Found)
		holder := &Decl{}
		for _, u := range w.refs {
			if l.compile(u.v, u.path, nil) {
				l.fits(u, holder)
			}
		}
		o.value, o.with = p.Val, w
		r.Set = append(r.Set, o)
	}
}

// field finds the field that an override names. The field is nil after a
// complaint, and where the step is faulty.
func (l *loader) field(p document.Pair, path string) (Override, *field.Field) {
	name, rest, dotted := strings.Cut(p.Key, ".")
	o := Override{Step: name, Field: rest, Line: p.Pos.Line, Col: p.Pos.Col}
	d := l.plan.decls[name]
	point := func(from, n int) document.Pos { return document.Pos{Line: p.Pos.Line, Col: p.Pos.Col + from, Width: n} }
	switch {
	case d == nil:
		l.Complain(point(0, document.Width(name)), path, fmt.Sprintf("there is no step %q", name), suggest.DidYouMeanOr(name, l.stepNames(), "steps"))
		return o, nil
	case d.Gate != nil:
		l.Complain(point(0, document.Width(name)), path, name+" is a gate: it has no fields to set", "")
		return o, nil
	case !dotted || rest == "":
		l.Complain(p.Pos, path, "names a step and no field", "write "+name+".FIELD")
		return o, nil
	case d.with == nil:
		return o, nil
	}
	return o, l.deep(d, rest, point(document.Width(name)+1, document.Width(rest)), path)
}

// deep follows a dotted path through the fields of a kind.
func (l *loader) deep(d *Decl, rest string, at document.Pos, path string) *field.Field {
	fd := &field.Field{Shape: d.Kind.Shape()}
	what := d.Uses
	for rest != "" {
		name, next, _ := strings.Cut(rest, ".")
		here := document.Pos{Line: at.Line, Col: at.Col, Width: document.Width(name)}
		switch {
		case fd.Shape.Opaque():
			return field.New(name, reflect.TypeFor[json.RawMessage](), "")
		case fd.Shape.Type.Sort == field.Map:
			fd = fd.Inner()
		case fd.Shape.Type.Sort != field.Object:
			l.Complain(here, path, fmt.Sprintf("%s is %s, it has no field %q", what, fd.Shape.Type.Article(), name), "")
			return nil
		default:
			known := fd.Shape.Names()
			sh := fd.Shape
			if fd = sh.Find(name); fd == nil {
				l.Complain(here, path, fmt.Sprintf("%s has no field %q", what, name), suggest.DidYouMeanOr(name, known, "fields"))
				return nil
			}
		}
		if fd.Fill != "" {
			l.Complain(here, path, name+" cannot be set: calrun computes it from the routes of the gates", "")
			return nil
		}
		what, rest = name, next
		at.Col += document.Width(name) + 1
	}
	return fd
}
