package pipeline

import (
	"fmt"
	"regexp"
	"strings"
)

var (
	onlyInput = regexp.MustCompile(`^inputs\.([A-Za-z_][A-Za-z0-9_]*)$`)
	bareRef   = regexp.MustCompile(`^(steps|inputs)\.([A-Za-z_][A-Za-z0-9_]*)(\.[A-Za-z_][A-Za-z0-9_]*)*$`)
	almostRef = regexp.MustCompile(`\$?\{\{?\s*((?:steps|inputs)\.[A-Za-z0-9_.\[\]"]+)\s*\}?\}`)
)

// templates finds the references in a value and puts in the inputs that are
// known, so that what they decide is checked like a literal.
func (l *loader) templates(v *value, path string) {
	for i, e := range v.items {
		l.templates(e, fmt.Sprintf("%s[%d]", path, i))
	}
	for _, p := range v.pairs {
		if p.shared {
			l.templates(p.val, "shared."+p.key)
			continue
		}
		l.templates(p.val, join(path, p.key))
	}
	if v.form != isText || v.tmpl != nil {
		return
	}
	t, unclosed := split(v.text)
	if unclosed >= 0 {
		v.bad = true
		l.complain(l.within(v, unclosed, 3), path, "${{ is not closed", "end it with }}")
		return
	}
	if t == nil {
		if m := bareRef.FindStringSubmatch(v.text); m != nil && (m[1] == "steps" && l.plan.decls[m[2]] != nil || m[1] == "inputs" && l.plan.Input(m[2]) != nil) {
			v.bad = true
			l.complain(v.pos, path, v.text+" is plain text, not a reference", fmt.Sprintf(`write "${{ %s }}"`, v.text))
			return
		}
		if m := almostRef.FindStringSubmatchIndex(v.text); m != nil {
			v.bad = true
			at := l.within(v, runes(v.text[:m[0]]), runes(v.text[m[0]:m[1]]))
			l.complain(at, path, fmt.Sprintf("%s is plain text, not a reference", v.text[m[0]:m[1]]), fmt.Sprintf("write ${{ %s }}", v.text[m[2]:m[3]]))
		}
		return
	}
	v.tmpl = t
	l.known(v)
}

// known computes a template that only inputs decide, if they have values.
func (l *loader) known(v *value) {
	var text strings.Builder
	for _, p := range v.tmpl.parts {
		if !p.ref {
			text.WriteString(p.text)
			continue
		}
		m := onlyInput.FindStringSubmatch(p.src)
		if m == nil {
			return
		}
		in := l.plan.Input(m[1])
		if in == nil || in.Value == nil {
			return
		}
		val, err := parseJSON(in.Value)
		if err != nil {
			return
		}
		if len(v.tmpl.parts) == 1 {
			val.pos = v.pos
			v.known, v.asPath = val, inputType(in.Type).Sort == File
			return
		}
		text.WriteString(scalarText(val))
	}
	v.known = &value{form: isText, text: text.String(), pos: v.pos}
}

// scalarText is how a value stands inside text.
func scalarText(v *value) string {
	if v.form == isBool {
		return v.String()
	}
	return v.text
}

// references compiles the references of a step's `with` and checks them
// against the fields that they fill.
func (l *loader) references(d *Decl) {
	for _, u := range d.with.refs {
		if !l.compile(u.v, u.path, d) {
			d.faulty = true
			continue
		}
		if l.fits(u, d) {
			for _, f := range d.with.late[u.v] {
				d.faulty = true
				l.complain(f.at, f.path, f.message+fmt.Sprintf(" (%s)", u.v.text), f.suggest)
			}
		}
		for _, p := range u.v.tmpl.parts {
			if p.expr != nil {
				l.follow(d, p.expr, u)
			}
		}
	}
}

// follow notes what an expression reads as edges of the graph.
func (l *loader) follow(d *Decl, e *Expr, u use) {
	for _, c := range e.chains {
		if c.Root == "steps" {
			if path := splitPointer(c.Pointer); len(path) > 0 {
				l.edges[d.Name] = append(l.edges[d.Name], edge{to: path[0], at: u.v.pos, path: u.path})
			}
		}
	}
}

// compile compiles the expressions of a template, once.
func (l *loader) compile(v *value, path string, d *Decl) bool {
	t := v.tmpl
	ok := true
	for i := range t.parts {
		p := &t.parts[i]
		if !p.ref || p.expr != nil {
			continue
		}
		e, flaws := compileExpr(p.src, l.referenceScope(d))
		if e != nil {
			flaws = append(flaws, wholeRoots(e)...)
		}
		for _, f := range flaws {
			l.complain(l.within(v, p.offset+f.at, max(f.width, 1)), path, f.message, f.suggest)
			ok = false
		}
		if len(flaws) == 0 {
			p.expr = e
			continue
		}
		ok = false
	}
	return ok
}

// wholeRoots refuses `steps` and `inputs` without a constant name after them:
// the graph must be known before the run.
func wholeRoots(e *Expr) []flaw {
	for _, c := range e.chains {
		path := splitPointer(c.Pointer)
		if (c.Root == "steps" || c.Root == "inputs") && (len(path) == 0 || path[0] == "*") {
			return []flaw{{width: runes(e.source), message: c.Root + " needs a name after it", suggest: "as " + c.Root + ".name"}}
		}
	}
	return nil
}

// referenceScope is what ${{ }} sees.
func (l *loader) referenceScope(d *Decl) *scope {
	if l.syntax == nil {
		l.syntax = newSyntax(false)
	}
	return &scope{
		what: "reference", syntax: l.syntax,
		roots: map[string]Type{"steps": anyType, "inputs": anyType},
		lookup: func(w *reader, root, name string) (Type, bool) {
			if root == "inputs" {
				return l.lookInput(w, name)
			}
			return l.lookStep(w, name, d)
		},
	}
}

func (l *loader) lookInput(w *reader, name string) (Type, bool) {
	in := l.plan.Input(name)
	if in == nil {
		var known []string
		for _, in := range l.plan.Inputs {
			known = append(known, in.Name)
		}
		return anyType, w.refuse(didYouMeanOr(name, known, "inputs"), "there is no input %q", name)
	}
	l.read[name] = true
	t := inputType(in.Type)
	w.use("inputs", name, asValue(t))
	return t, true
}

// asValue is the type that an expression computes with: the path of a file is
// text there.
func asValue(t Type) Type {
	if t.Sort == File {
		return textType
	}
	return t
}

func (l *loader) lookStep(w *reader, name string, d *Decl) (Type, bool) {
	other := l.plan.decls[name]
	switch {
	case other == nil:
		return anyType, w.refuse(didYouMeanOr(name, l.stepNames(), "steps"), "there is no step %q", name)
	case other.Remedy:
		return anyType, w.refuse("its `sets` lays its result on the fields of steps", "%s is a remedy: steps cannot read its result", name)
	case other.Gate != nil:
		suggest := "`needs: [" + name + "]` orders after it"
		if d == nil {
			suggest = "passed.x, failed.x and unsure.x are its assertions"
		}
		return anyType, w.refuse(suggest, "%s is a gate: it has no result", name)
	}
	t := anyType
	if other.with != nil {
		t = other.with.result
	}
	w.use("steps", name, t)
	return t, true
}

// stepNames are the steps that have a result.
func (l *loader) stepNames() []string {
	var out []string
	for _, d := range l.plan.Steps {
		if d.Gate == nil {
			out = append(out, d.Name)
		}
	}
	return out
}

// fits checks the type of a template against its field.
func (l *loader) fits(u use, d *Decl) bool {
	want := u.fd.shape.typ
	if e := u.v.tmpl.lone(); e != nil {
		if l.loneFits(e, want) {
			return true
		}
		suggest := ""
		switch {
		case want.Sort == Text && (e.typ.Sort == Number || e.typ.Sort == Bool):
			suggest = fmt.Sprintf("write ${{ string(%s) }}", e.source)
		case want.Sort == File && e.typ.Sort == File || len(e.chains) == 1 && e.chains[0].Root == "steps":
			suggest = l.suggestField(e, want)
		}
		d.faulty = true
		l.complain(u.v.pos, u.path, fmt.Sprintf("%s is %s, %s wants %s", e.source, e.typ.article(), u.fd.name, want.article()), suggest)
		return false
	}
	if want.Sort != Text && want.Sort != Any && want.Sort != Span && want.Sort != File {
		d.faulty = true
		l.complain(u.v.pos, u.path, fmt.Sprintf("text with a reference in it is text, %s wants %s", u.fd.name, want.article()), "write ${{ }} alone: its value keeps its type")
		return false
	}
	ok := true
	for _, p := range u.v.tmpl.parts {
		if p.expr == nil {
			continue
		}
		switch p.expr.typ.Sort {
		case List, Map, Object, File:
			if l.isPath(p.expr) {
				continue
			}
			d.faulty, ok = true, false
			l.complain(l.within(u.v, p.offset, runes(p.src)), u.path, fmt.Sprintf("%s is %s, it cannot stand inside text", p.src, p.expr.typ.article()), "write the reference alone: then its value keeps its type")
		}
	}
	return ok
}

// loneFits: an input of type file or dir may also stand where text is wanted,
// as its path.
func (l *loader) loneFits(e *Expr, want Type) bool {
	return want.takes(e.typ) || want.Sort == Text && l.isPath(e)
}

func (l *loader) isPath(e *Expr) bool {
	return e.typ.Sort == File && len(e.chains) == 1 && e.chains[0].Root == "inputs"
}

// suggestField names the fields of the same step's result that would fit.
func (l *loader) suggestField(e *Expr, want Type) string {
	if len(e.chains) != 1 || e.chains[0].Root != "steps" {
		return ""
	}
	path := splitPointer(e.chains[0].Pointer)
	other := l.plan.decls[path[0]]
	if other == nil || other.with == nil || want.Sort == Any {
		return ""
	}
	for _, m := range other.with.result.Members {
		if m.Type.Sort == want.Sort && want.takes(m.Type) {
			return fmt.Sprintf("did you mean steps.%s.%s?", path[0], m.Name)
		}
	}
	for _, s := range l.plan.Steps {
		if s.with == nil || s.with.result.Sort != Object {
			continue
		}
		for _, m := range s.with.result.Members {
			if want.Sort == File && !plain(want.Holds) && m.Type.Sort == File && m.Type.Holds == want.Holds {
				return fmt.Sprintf("steps.%s.%s is one", s.Name, m.Name)
			}
		}
	}
	return ""
}

// waits turns `needs` and `of` into edges.
func (l *loader) waits() {
	for _, d := range l.plan.Steps {
		path := d.where()
		if n := d.needsValue(); n != nil {
			items := n.items
			if n.form == isText {
				items = []*value{n}
			}
			for i, e := range items {
				l.need(d, e, fmt.Sprintf("%s.needs[%d]", path, i))
			}
		}
		if d.Gate != nil {
			l.of(d)
		}
	}
}

func (d *Decl) needsValue() *value {
	if d.src == nil {
		return nil
	}
	return d.src.get("needs")
}

func (l *loader) need(d *Decl, e *value, path string) {
	if e.form != isText || e.text == "" || strings.Contains(e.text, "${{") {
		return
	}
	other := l.plan.decls[e.text]
	switch {
	case other == nil:
		var known []string
		for _, s := range l.plan.Steps {
			known = append(known, s.Name)
		}
		l.complain(e.pos, path, fmt.Sprintf("there is no step %q", e.text), didYouMeanOr(e.text, known, "steps"))
	case other.Remedy:
		l.complain(e.pos, path, fmt.Sprintf("%s is a remedy: nothing can wait for it", e.text), "it runs between rounds, when a route calls it")
	default:
		l.edges[d.Name] = append(l.edges[d.Name], edge{to: e.text, at: e.pos, path: path})
	}
}

// of finds the step that a gate judges.
func (l *loader) of(d *Decl) {
	v, path := d.src.get("of"), d.where()+".of"
	if v == nil {
		l.complain(pos{d.Line, d.Col, runes(d.Name)}, d.where(), "of is missing", "name the step whose result the gate judges")
		return
	}
	name := l.text(v, path)
	if name == "" {
		return
	}
	other := l.plan.decls[name]
	switch {
	case other == nil:
		l.complain(v.pos, path, fmt.Sprintf("there is no step %q", name), didYouMeanOr(name, l.stepNames(), "steps"))
	case other.Remedy:
		l.complain(v.pos, path, fmt.Sprintf("%s is a remedy: a gate judges a step", name), didYouMeanOr("", l.stepNames(), "steps"))
	case other.Gate != nil:
		l.complain(v.pos, path, fmt.Sprintf("%s is a gate: it has no result to judge", name), didYouMeanOr("", l.stepNames(), "steps"))
	default:
		d.Gate.Of = name
		l.edges[d.Name] = append(l.edges[d.Name], edge{to: name, at: v.pos, path: path})
	}
}
