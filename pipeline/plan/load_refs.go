package plan

import (
	"fmt"
	"regexp"
	"strings"

	"calrun/pipeline/document"
	"calrun/pipeline/expr"
	"calrun/pipeline/field"
	"calrun/pipeline/suggest"
)

var (
	onlyInput = regexp.MustCompile(`^inputs\.([A-Za-z_][A-Za-z0-9_]*)$`)
	bareRef   = regexp.MustCompile(`^(steps|inputs)\.([A-Za-z_][A-Za-z0-9_]*)(\.[A-Za-z_][A-Za-z0-9_]*)*$`)
	almostRef = regexp.MustCompile(`\$?\{\{?\s*((?:steps|inputs)\.[A-Za-z0-9_.\[\]"]+)\s*\}?\}`)
)

// templates finds the references in a value and puts in the inputs that are
// known, so that what they decide is checked like a literal.
func (l *loader) templates(v *document.Value, path string) {
	for i, e := range v.Items {
		l.templates(e, fmt.Sprintf("%s[%d]", path, i))
	}
	for _, p := range v.Pairs {
		if p.Shared {
			l.templates(p.Val, "shared."+p.Key)
			continue
		}
		l.templates(p.Val, document.Join(path, p.Key))
	}
	if v.Form != document.Text || v.Ref {
		return
	}
	t, unclosed := split(v.Text)
	if unclosed >= 0 {
		v.Bad = true
		l.Complain(l.Within(v, unclosed, 3), path, "${{ is not closed", "end it with }}")
		return
	}
	if t == nil {
		if !strings.Contains(v.Text, "steps.") && !strings.Contains(v.Text, "inputs.") {
			return // what the patterns look for costs more than to see that it is not there
		}
		if m := bareRef.FindStringSubmatch(v.Text); m != nil && (m[1] == "steps" && l.plan.decls[m[2]] != nil || m[1] == "inputs" && l.plan.Input(m[2]) != nil) {
			v.Bad = true
			l.Complain(v.Pos, path, v.Text+" is plain text, not a reference", fmt.Sprintf(`write "${{ %s }}"`, v.Text))
			return
		}
		if m := almostRef.FindStringSubmatchIndex(v.Text); m != nil {
			v.Bad = true
			at := l.Within(v, document.Width(v.Text[:m[0]]), document.Width(v.Text[m[0]:m[1]]))
			l.Complain(at, path, fmt.Sprintf("%s is plain text, not a reference", v.Text[m[0]:m[1]]), fmt.Sprintf("write ${{ %s }}", v.Text[m[2]:m[3]]))
		}
		return
	}
	v.Ref, l.texts[v] = true, t
	l.known(v, t)
}

// known computes a template that only inputs decide, if they have values.
func (l *loader) known(v *document.Value, t *template) {
	var text strings.Builder
	for _, p := range t.parts {
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
		val, err := document.ParseJSON(in.Value)
		if err != nil {
			return
		}
		if len(t.parts) == 1 {
			val.Pos = v.Pos
			v.Known, v.AsPath = val, inputType(in.Type).Sort == field.File
			return
		}
		text.WriteString(scalarText(val))
	}
	v.Known = &document.Value{Form: document.Text, Text: text.String(), Pos: v.Pos}
}

// scalarText is how a value stands inside text.
func scalarText(v *document.Value) string {
	if v.Form == document.Bool {
		return v.String()
	}
	return v.Text
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
				l.Complain(f.At, f.Path, f.Message+fmt.Sprintf(" (%s)", u.v.Text), f.Suggest)
			}
		}
		for _, p := range l.texts[u.v].parts {
			if p.expr != nil {
				l.follow(d, p.expr, u)
			}
		}
	}
}

// follow notes what an expression reads as edges of the graph.
func (l *loader) follow(d *Decl, e *expr.Expr, u use) {
	for _, c := range e.Chains() {
		if c.Root == "steps" {
			if path := c.Path(); len(path) > 0 {
				l.edges[d.Name] = append(l.edges[d.Name], edge{to: path[0], at: u.v.Pos, path: u.path})
			}
		}
	}
}

// compile compiles the expressions of a template, once.
func (l *loader) compile(v *document.Value, path string, d *Decl) bool {
	t := l.texts[v]
	ok := true
	for i := range t.parts {
		p := &t.parts[i]
		if !p.ref || p.expr != nil {
			continue
		}
		e, flaws := expr.Compile(p.src, l.referenceScope(d))
		if e != nil {
			flaws = append(flaws, wholeRoots(e)...)
		}
		for _, f := range flaws {
			l.Complain(l.Within(v, p.offset+f.At, max(f.Width, 1)), path, f.Message, f.Suggest)
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
func wholeRoots(e *expr.Expr) []expr.Flaw {
	for _, c := range e.Chains() {
		path := c.Path()
		if (c.Root == "steps" || c.Root == "inputs") && (len(path) == 0 || path[0] == "*") {
			return []expr.Flaw{{Width: document.Width(e.Source()), Message: c.Root + " needs a name after it", Suggest: "as " + c.Root + ".name"}}
		}
	}
	return nil
}

// referenceScope is what ${{ }} sees.
func (l *loader) referenceScope(d *Decl) *expr.Scope {
	if l.syntax == nil {
		l.syntax = expr.NewSyntax(false)
	}
	return &expr.Scope{
		Syntax: l.syntax,
		Roots:  map[string]field.Type{"steps": {}, "inputs": {}},
		Lookup: func(root, name string) (field.Type, *expr.Flaw) {
			if root == "inputs" {
				return l.lookInput(name)
			}
			return l.lookStep(name, d)
		},
	}
}

func (l *loader) lookInput(name string) (field.Type, *expr.Flaw) {
	in := l.plan.Input(name)
	if in == nil {
		var known []string
		for _, in := range l.plan.Inputs {
			known = append(known, in.Name)
		}
		return field.Type{}, refusal(suggest.DidYouMeanOr(name, known, "inputs"), "there is no input %q", name)
	}
	l.read[name] = true
	return inputType(in.Type), nil
}

func (l *loader) lookStep(name string, d *Decl) (field.Type, *expr.Flaw) {
	other := l.plan.decls[name]
	switch {
	case other == nil:
		return field.Type{}, refusal(suggest.DidYouMeanOr(name, l.stepNames(), "steps"), "there is no step %q", name)
	case other.Remedy:
		return field.Type{}, refusal("its `sets` lays its result on the fields of steps", "%s is a remedy: steps cannot read its result", name)
	case other.Gate != nil:
		suggest := "`needs: [" + name + "]` orders after it"
		if d == nil {
			suggest = "passed.x, failed.x and unsure.x are its assertions"
		}
		return field.Type{}, refusal(suggest, "%s is a gate: it has no result", name)
	}
	t := field.Type{}
	if other.with != nil {
		t = other.with.result
	}
	return t, nil
}

// refusal is what is wrong with a name that was looked up.
func refusal(suggest, format string, args ...any) *expr.Flaw {
	return &expr.Flaw{Message: fmt.Sprintf(format, args...), Suggest: suggest}
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

func (l *loader) remedyNames() []string {
	var out []string
	for _, d := range l.plan.Remedies {
		out = append(out, d.Name)
	}
	return out
}

// waits turns `needs` and `of` into edges.
func (l *loader) waits() {
	for _, d := range l.plan.Steps {
		path := d.where()
		if n := d.src.Get("needs"); n != nil {
			items := n.Items
			if n.Form == document.Text {
				items = []*document.Value{n}
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

func (l *loader) need(d *Decl, e *document.Value, path string) {
	if e.Form != document.Text || e.Text == "" || strings.Contains(e.Text, "${{") {
		return
	}
	other := l.plan.decls[e.Text]
	switch {
	case other == nil:
		var known []string
		for _, s := range l.plan.Steps {
			known = append(known, s.Name)
		}
		l.Complain(e.Pos, path, fmt.Sprintf("there is no step %q", e.Text), suggest.DidYouMeanOr(e.Text, known, "steps"))
	case other.Remedy:
		l.Complain(e.Pos, path, fmt.Sprintf("%s is a remedy: nothing can wait for it", e.Text), "it runs between rounds, when a route calls it")
	default:
		l.edges[d.Name] = append(l.edges[d.Name], edge{to: e.Text, at: e.Pos, path: path})
	}
}

// of finds the step that a gate judges.
func (l *loader) of(d *Decl) {
	v, path := d.src.Get("of"), d.where()+".of"
	if v == nil {
		l.Complain(d.name(), d.where(), "of is missing", "name the step whose result the gate judges")
		return
	}
	name := l.text(v, path)
	if name == "" {
		return
	}
	other := l.plan.decls[name]
	switch {
	case other == nil:
		l.Complain(v.Pos, path, fmt.Sprintf("there is no step %q", name), suggest.DidYouMeanOr(name, l.stepNames(), "steps"))
	case other.Remedy:
		l.Complain(v.Pos, path, fmt.Sprintf("%s is a remedy: a gate judges a step", name), suggest.DidYouMeanOr("", l.stepNames(), "steps"))
	case other.Gate != nil:
		l.Complain(v.Pos, path, fmt.Sprintf("%s is a gate: it has no result to judge", name), suggest.DidYouMeanOr("", l.stepNames(), "steps"))
	default:
		d.Gate.Of = name
		l.edges[d.Name] = append(l.edges[d.Name], edge{to: name, at: v.Pos, path: path})
	}
}
