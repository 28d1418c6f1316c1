package pipeline

import (
	"fmt"
	"strconv"
	"strings"
)

// static asks each step, in order, for the names that its results will hold
// and for what it finds wrong with its literal fields.
func (l *loader) static() {
	for _, d := range append(append([]*Decl(nil), l.plan.order...), l.plan.Remedies...) {
		if d.with == nil || d.with.step == nil {
			continue
		}
		in := l.staticOf(d)
		if n, ok := d.with.step.(Namer); ok && !d.faulty {
			d.with.names = n.Names(in)
		}
		if c, ok := d.with.step.(Checker); ok {
			l.checked(d, c.Check(in))
		}
	}
}

// Static is what is known of a step before it runs: what a [Namer], a
// [Checker] or an [Estimator] wants.
func (p *Plan) Static(name string) (Step, Static) {
	d := p.Decl(name)
	if d == nil || d.with == nil {
		return nil, Static{}
	}
	l := &loader{plan: p}
	return d.with.step, l.staticOf(d)
}

func (l *loader) staticOf(d *Decl) Static {
	w := d.with
	names := map[string][]string{}
	for _, p := range w.root.pairs {
		if p.val.tmpl == nil {
			continue
		}
		e := p.val.tmpl.lone()
		if e == nil || e.prog != nil || len(e.chains) != 1 || e.chains[0].Root != "steps" {
			continue
		}
		path := splitPointer(e.chains[0].Pointer)
		if other := l.plan.decls[path[0]]; other != nil && other.with != nil {
			if list, ok := other.with.names[strings.Join(path[1:], ".")]; ok {
				names[p.key] = list
			}
		}
	}
	return Static{names: names, dynamic: func(path string) bool { return w.root.unknownAt(path) }}
}

// unknownAt says whether the value at a path, or one around it or in it, is
// known only at run time.
func (v *value) unknownAt(path string) bool {
	at := v
	for _, name := range fieldPath(path) {
		if at.tmpl != nil && at.known == nil {
			return true
		}
		at = at.literal()
		var next *value
		if i, err := strconv.Atoi(name); err == nil && at.form == isList {
			if i >= 0 && i < len(at.items) {
				next = at.items[i]
			}
		} else {
			next = at.get(name)
		}
		if next == nil {
			return false
		}
		at = next
	}
	return at.dynamic()
}

// has says whether there is a value at a path.
func (v *value) has(path string) bool {
	at := v
	for _, name := range fieldPath(path) {
		if at = at.get(name); at == nil {
			return false
		}
	}
	return at != v
}

// fieldPath splits "workload.probes.lengths[2][0]".
func fieldPath(path string) []string {
	path = strings.NewReplacer("[", ".", "]", "").Replace(path)
	return strings.FieldsFunc(path, func(r rune) bool { return r == '.' })
}

// checked turns what a kind found into problems at their places.
func (l *loader) checked(d *Decl, found []FieldProblem) {
	for _, f := range found {
		at, path := d.with.root.name(), d.where()+".with"
		if names := fieldPath(f.Field); len(names) > 0 {
			p := d.with.root.pair(names[0])
			if p != nil && p.shared {
				path = "shared"
			}
			if len(names) == 1 && p != nil && p.val.form == isObject {
				at = p.pos
			} else if p != nil {
				at = d.with.root.walk(f.Field)
			}
			path = joinField(path, f.Field)
		}
		p := Problem{Path: path, Message: f.Message, Suggest: f.Suggest, Warning: f.Warning}
		l.add(at, p)
	}
}

// namesAt holds the constant names of an assertion to those that the result
// will have: points["rps-3"].
func (l *loader) namesAt(of *Decl, e *Expr, v *value, path string) {
	if of.with == nil || len(of.with.names) == 0 {
		return
	}
	for _, c := range e.chains {
		parts := splitPointer(c.Pointer)
		for n := 1; n < len(parts); n++ {
			known, ok := of.with.names[strings.Join(parts[:n], ".")]
			if !ok || parts[n] == "*" || contains(known, parts[n]) {
				continue
			}
			offset := strings.Index(v.text, parts[n])
			at := v.pos
			if offset >= 0 {
				at = l.within(v, runes(v.text[:offset]), runes(parts[n]))
			}
			l.complain(at, path, fmt.Sprintf("%s will have no %s %q", of.Name, singular(parts[n-1]), parts[n]), didYouMeanOr(parts[n], known, "there will be"))
		}
	}
}

func singular(s string) string { return strings.TrimSuffix(s, "s") }
