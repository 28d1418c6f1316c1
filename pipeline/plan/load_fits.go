package plan

import (
	"fmt"

	"calrun/pipeline/document"
	"calrun/pipeline/expr"
	"calrun/pipeline/field"
	"calrun/pipeline/kind"
	"calrun/pipeline/suggest"
)

// fits checks the type of a template against its field.
func (l *loader) fits(u use, d *Decl) bool {
	want := u.fd.Shape.Type
	if !l.hidden(u, d) {
		return false
	}
	if e := l.texts[u.v].lone(); e != nil {
		if loneFits(e, want) {
			return true
		}
		suggest := ""
		switch {
		case want.Sort == field.Text && (e.Type().Sort == field.Number || e.Type().Sort == field.Bool):
			suggest = fmt.Sprintf("write ${{ string(%s) }}", e.Source())
		case want.Sort == field.File && e.Type().Sort == field.File || len(e.Chains()) == 1 && e.Chains()[0].Root == "steps":
			suggest = l.suggestField(e, want)
		}
		d.faulty = true
		l.Complain(u.v.Pos, u.path, fmt.Sprintf("%s is %s, %s wants %s", e.Source(), e.Type().Article(), u.fd.Name, want.Article()), suggest)
		return false
	}
	if want.Sort != field.Text && want.Sort != field.Any && want.Sort != field.Span && want.Sort != field.File {
		d.faulty = true
		l.Complain(u.v.Pos, u.path, fmt.Sprintf("text with a reference in it is text, %s wants %s", u.fd.Name, want.Article()), "write ${{ }} alone: its value keeps its type")
		return false
	}
	ok := true
	for _, p := range l.texts[u.v].parts {
		if p.expr == nil {
			continue
		}
		switch p.expr.Type().Sort {
		case field.List, field.Map, field.Object, field.File:
			if isInputPath(p.expr) {
				continue
			}
			d.faulty, ok = true, false
			l.Complain(l.Within(u.v, p.offset, document.Width(p.src)), u.path, fmt.Sprintf("%s is %s, it cannot stand inside text", p.src, p.expr.Type().Article()), "write the reference alone: then its value keeps its type")
		}
	}
	return ok
}

// hidden holds secrets to the fields that are made for them: anywhere else one
// would be shown, stored or passed on as text.
func (l *loader) hidden(u use, d *Decl) bool {
	t := l.texts[u.v]
	for _, p := range t.parts {
		if p.expr == nil {
			continue
		}
		for _, c := range p.expr.Chains() {
			if c.Type.Sort != field.Hidden || c.Root != "inputs" {
				continue
			}
			if _, lone := p.expr.Lone(); lone && t.lone() != nil && u.fd.Shape.Type.Sort == field.Hidden {
				continue
			}
			d.faulty = true
			message := fmt.Sprintf("%s is a secret, %s is %s", c.Text, u.fd.Name, u.fd.Shape.Type.Article())
			if t.lone() == nil || p.expr.Source() != c.Text {
				message = fmt.Sprintf("%s is a secret, it cannot be part of anything else", c.Text)
			}
			l.Complain(l.Within(u.v, p.offset, document.Width(p.src)), u.path, message, secretFields(l.opt.Kinds))
			return false
		}
	}
	return true
}

// secretFields names the fields that take a secret.
func secretFields(ks *kind.Kinds) string {
	var all []string
	var look func(prefix string, t field.Type)
	look = func(prefix string, t field.Type) {
		for _, m := range t.Members {
			inner := m.Type
			if inner.Sort == field.Map {
				inner = *inner.Elem
			}
			if name := prefix + m.Name; inner.Sort == field.Hidden && inner.Holds == "" {
				all = append(all, name)
			} else {
				look(name+".", inner)
			}
		}
	}
	for _, k := range ks.All() {
		look(k.Name+": ", k.Shape().Type)
	}
	if all == nil {
		return "no kind here takes a secret"
	}
	return "secrets go into " + suggest.AndMore(all, 6)
}

// loneFits: an input of type file or dir may also stand where text is wanted,
// as its path.
func loneFits(e *expr.Expr, want field.Type) bool {
	return want.Takes(e.Type()) || want.Sort == field.Text && isInputPath(e)
}

// suggestField names the fields of the same step's result that would fit.
func (l *loader) suggestField(e *expr.Expr, want field.Type) string {
	if len(e.Chains()) != 1 || e.Chains()[0].Root != "steps" {
		return ""
	}
	path := e.Chains()[0].Path()
	other := l.plan.decls[path[0]]
	if other == nil || other.with == nil || want.Sort == field.Any {
		return ""
	}
	for _, m := range other.with.result.Members {
		if m.Type.Sort == want.Sort && want.Takes(m.Type) {
			return fmt.Sprintf("did you mean steps.%s.%s?", path[0], m.Name)
		}
	}
	for _, s := range l.plan.Steps {
		if s.with == nil || s.with.result.Sort != field.Object {
			continue
		}
		for _, m := range s.with.result.Members {
			if want.Sort == field.File && !field.IsPlain(want.Holds) && m.Type.Sort == field.File && m.Type.Holds == want.Holds {
				return fmt.Sprintf("steps.%s.%s is one", s.Name, m.Name)
			}
		}
	}
	return ""
}
