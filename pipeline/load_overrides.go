package pipeline

import (
	"fmt"
	"reflect"
	"strings"
)

// hole is a Go variable for the decoder to fill.
func hole(p any) *decoded { return &decoded{reflect.ValueOf(p).Elem()} }

// overrides reads the `sets` and `forget` of remedies and the `set` of routes.
func (l *loader) overrides() {
	for _, d := range l.plan.Remedies {
		if v := d.src.get("sets"); v != nil && d.src.form == isObject {
			l.sets(d, v, d.where()+".sets")
		}
		if v := d.src.get("forget"); v != nil && d.src.form == isObject {
			l.forget(d, v, d.where()+".forget")
		}
	}
	for _, d := range l.plan.Steps {
		if d.Gate == nil {
			continue
		}
		for _, r := range append(append([]*Route(nil), d.Gate.Routes...), d.Gate.broken...) {
			if r.set != nil {
				l.routeSet(r, fmt.Sprintf("%s.routes[%d].set", d.where(), r.Index))
			}
		}
	}
}

func (l *loader) sets(d *Decl, v *value, path string) {
	if !l.isObject(v, path, "step.field: field of the remedy's result") {
		return
	}
	for _, p := range v.pairs {
		at := join(path, p.key)
		o, fd := l.field(p, at)
		if p.val.form != isText || p.val.text == "" {
			l.complain(p.val.pos, at, p.val.String()+" is not a field of the remedy's result", l.resultHint(d))
			continue
		}
		if strings.Contains(p.val.text, "${{") {
			inner := strings.TrimSpace(strings.NewReplacer("${{", "", "}}", "", "steps."+d.Name+".", "").Replace(p.val.text))
			l.complain(p.val.pos, at, "a field of the remedy's own result stands here without ${{ }}", "write "+inner)
			continue
		}
		if d.with == nil {
			continue
		}
		result := d.with.result
		e, flaws := compileExpr(p.val.text, &scope{what: "sets", result: &result, of: d.Name})
		if l.flaws(p.val, at, flaws) || fd == nil {
			continue
		}
		if len(e.chains) == 0 {
			l.complain(p.val.pos, at, "the value is constant: it does not come from the remedy", l.resultHint(d))
			continue
		}
		if !fd.shape.typ.takes(e.typ) {
			l.complain(p.val.pos, at, fmt.Sprintf("%s is %s, %s wants %s", e.source, e.typ.article(), p.key, fd.shape.typ.article()), l.resultHint(d))
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
	return "its result has " + andMore(d.with.result.Names(), 12)
}

func (l *loader) forget(d *Decl, v *value, path string) {
	for i, name := range l.texts(v, path) {
		at := v.pos
		if v.form == isList {
			at = v.items[i].pos
		}
		other := l.plan.decls[name]
		where := fmt.Sprintf("%s[%d]", path, i)
		var known []string
		for _, r := range l.plan.Remedies {
			known = append(known, r.Name)
		}
		switch {
		case other == nil:
			l.complain(at, where, fmt.Sprintf("there is no remedy %q", name), didYouMeanOr(name, known, "remedies"))
		case !other.Remedy:
			l.complain(at, where, fmt.Sprintf("%s is a step: only what a remedy has set can be forgotten", name), didYouMeanOr("", known, "remedies"))
		case other == d:
			l.complain(at, where, "a remedy cannot forget itself", "its newest result replaces the one before")
		default:
			d.Forget = append(d.Forget, name)
		}
	}
}

func (l *loader) routeSet(r *Route, path string) {
	if !l.isObject(r.set, path, "step.field: value") {
		return
	}
	for _, p := range r.set.pairs {
		at := join(path, p.key)
		o, fd := l.field(p, at)
		if fd == nil {
			continue
		}
		w := &with{root: p.val, want: map[*value]Type{}, paths: map[*value]bool{}, dir: l.plan.Dir}
		l.templates(p.val, at)
		dec := &decoder{dir: l.plan.Dir}
		dec.template = func(v *value, fd *field, path string) {
			w.refs = append(w.refs, use{v, fd, path})
			w.want[v] = fd.shape.typ
		}
		dec.literal = func(v *value, t Type, path string) {
			w.paths[v] = true
			l.exists(v.pos, path, v.text, absolute(l.plan.Dir, v.text), t.Holds)
		}
		dec.field(reflect.New(fd.shape.rt).Elem(), fd, p.val, at)
		l.faults(dec.found)
		holder := &Decl{}
		for _, u := range w.refs {
			if l.compile(u.v, u.path, nil) {
				l.fits(u, holder)
			}
		}
		o.value, o.with = p.val, w
		r.Set = append(r.Set, o)
	}
}

// field finds the field that an override names. The field is nil after a
// complaint, and where the step is faulty.
func (l *loader) field(p pair, path string) (Override, *field) {
	name, rest, dotted := strings.Cut(p.key, ".")
	o := Override{Step: name, Field: rest, Line: p.pos.line, Col: p.pos.col}
	d := l.plan.decls[name]
	point := func(from, n int) pos { return pos{p.pos.line, p.pos.col + from, n} }
	switch {
	case d == nil:
		l.complain(point(0, runes(name)), path, fmt.Sprintf("there is no step %q", name), didYouMeanOr(name, l.stepNames(), "steps"))
		return o, nil
	case d.Gate != nil:
		l.complain(point(0, runes(name)), path, name+" is a gate: it has no fields to set", "")
		return o, nil
	case !dotted || rest == "":
		l.complain(p.pos, path, "names a step and no field", "write "+name+".FIELD")
		return o, nil
	case d.with == nil:
		return o, nil
	}
	return o, l.deep(d, rest, point(runes(name)+1, runes(rest)), path)
}

// deep follows a dotted path through the fields of a kind.
func (l *loader) deep(d *Decl, rest string, at pos, path string) *field {
	fd := &field{shape: d.Kind.described()}
	what := d.Uses
	for rest != "" {
		name, next, _ := strings.Cut(rest, ".")
		here := pos{at.line, at.col, runes(name)}
		switch {
		case fd.shape.union != nil || fd.shape.typ.Sort == Any:
			return &field{name: name, shape: &shape{rt: rawGo}}
		case fd.shape.typ.Sort == Map:
			fd = fd.inner()
		case fd.shape.typ.Sort != Object:
			l.complain(here, path, fmt.Sprintf("%s is %s, it has no field %q", what, fd.shape.typ.article(), name), "")
			return nil
		default:
			known := fd.shape.names()
			sh := fd.shape
			if fd = sh.find(name); fd == nil {
				l.complain(here, path, fmt.Sprintf("%s has no field %q", what, name), didYouMeanOr(name, known, "fields"))
				return nil
			}
		}
		if fd.fill != "" {
			l.complain(here, path, name+" cannot be set: calrun computes it from the routes of the gates", "")
			return nil
		}
		what, rest = name, next
		at.col += runes(name) + 1
	}
	return fd
}
