package plan

import (
	"fmt"
	"strings"

	"calrun/pipeline/document"
	"calrun/pipeline/expr"
	"calrun/pipeline/field"
	"calrun/pipeline/suggest"
)

// gates compiles the assertions and routes of all gates.
func (l *loader) gates() {
	for _, d := range l.plan.Steps {
		if d.Gate != nil {
			l.gate(d)
		}
	}
}

func (l *loader) gate(d *Decl) {
	path := d.where()
	a := d.src.Get("assert")
	if a == nil {
		l.Complain(d.name(), path, "assert is missing", "a gate has at least one assertion: `assert: {name: expression}`")
	} else if l.isObject(a, path+".assert", "a name and an expression: `strict: ttft.p50.mape < 0.05`") && len(a.Pairs) > 0 {
		d.Gate.Assert = l.assertions(d, a, path+".assert")
	} else if a.Form == document.Null || a.Form == document.Object {
		l.Complain(a.Name(), path+".assert", "there are no assertions", "a gate has at least one: `assert: {name: expression}`")
	}
	if w := d.src.Get("warn"); w != nil && l.isObject(w, path+".warn", "a name and an expression") {
		if a != nil {
			for _, p := range w.Pairs {
				if other := a.Pair(p.Key); other != nil {
					l.Complain(p.Pos, path+".warn."+p.Key, fmt.Sprintf("%q stands in assert already, on line %d", p.Key, other.Pos.Line), "give the warning another name")
				}
			}
		}
		d.Gate.Warn = l.assertions(d, w, path+".warn")
	}
	r := d.src.Get("routes")
	if r == nil || r.Form == document.Null {
		return
	}
	if r.Form != document.List {
		l.lost = true
		l.Complain(r.Pos, path+".routes", r.String()+" is not a list of routes", "write - {when: ..., run: ..., max: 1}")
		return
	}
	for i, v := range r.Items {
		l.route(d, i, v, fmt.Sprintf("%s.routes[%d]", path, i))
	}
}

func (l *loader) assertions(d *Decl, v *document.Value, path string) []*Assertion {
	var out []*Assertion
	of := l.plan.decls[d.Gate.Of]
	for _, p := range v.Pairs {
		at := document.Join(path, p.Key)
		l.checkName(p, at, "an assertion")
		if !l.expression(p.Val, at, "ttft.p50.mape < 0.05") || of == nil || of.with == nil {
			continue
		}
		result := of.with.result
		sc := &expr.Scope{Result: &result, Of: of.Name, Gate: true}
		e, flaws := expr.Compile(p.Val.Text, sc)
		if l.flaws(p.Val, at, flaws) {
			continue
		}
		if !l.condition(e, p.Val, at) {
			continue
		}
		l.namesAt(of, e, p.Val, at)
		out = append(out, &Assertion{Name: p.Key, Expr: e, Line: p.Pos.Line, Col: p.Pos.Col})
	}
	return out
}

// expression says whether a value can be an expression at all.
func (l *loader) expression(v *document.Value, path, example string) bool {
	switch {
	case v.Form == document.Bool || v.Form == document.Number:
		l.Complain(v.Pos, path, fmt.Sprintf("%s is constant: it decides nothing", v), "write a condition, as "+example)
	case v.Form == document.Null:
		l.Complain(v.Name(), path, "the condition is empty", "write one, as "+example)
	case v.Form != document.Text:
		l.Complain(v.Pos, path, v.String()+" is not an expression", "write a condition, as "+example)
	case strings.Contains(v.Text, "${{"):
		inner := strings.TrimSpace(strings.NewReplacer("${{", "", "}}", "").Replace(v.Text))
		l.Complain(v.Pos, path, "an expression stands here without ${{ }}", "write "+document.Shorten(inner, 60))
	default:
		return true
	}
	return false
}

// flaws turns what is wrong with an expression into problems.
func (l *loader) flaws(v *document.Value, path string, flaws []expr.Flaw) bool {
	for _, f := range flaws {
		l.Complain(l.Within(v, f.At, f.Width), path, f.Message, f.Suggest)
	}
	return len(flaws) > 0
}

// condition holds an expression to being a bool that depends on something.
func (l *loader) condition(e *expr.Expr, v *document.Value, path string) bool {
	if len(e.Chains()) == 0 {
		l.Complain(v.Pos, path, "the condition is constant: it reads nothing", "compare a field, as ttft.p50.mape < 0.05")
		return false
	}
	switch t := e.Type(); t.Sort {
	case field.Bool, field.Any:
		return true
	case field.Number:
		l.Complain(v.Pos, path, fmt.Sprintf("%s is a number, not a condition", document.Shorten(e.Source(), 40)), "compare it, as "+document.Shorten(e.Source(), 40)+" < 0.05")
	case field.Object:
		suggest := "it has " + suggest.AndMore(t.Names(), 12)
		for _, m := range t.Members {
			if m.Type.Sort == field.Bool {
				suggest = fmt.Sprintf("did you mean %s.%s?", e.Source(), m.Name)
				break
			}
		}
		l.Complain(v.Pos, path, fmt.Sprintf("%s is an object, not a condition", document.Shorten(e.Source(), 40)), suggest)
	default:
		l.Complain(v.Pos, path, fmt.Sprintf("%s is %s, not a condition", document.Shorten(e.Source(), 40), t.Article()), "")
	}
	return false
}

func (l *loader) route(d *Decl, i int, v *document.Value, path string) {
	r := &Route{Gate: d.Name, Index: i, Max: 1, Line: v.Pos.Line, Col: v.Pos.Col}
	if !l.fields(v, path, routeKeys) {
		l.lost = true
		return
	}
	var whole bool
	if w := v.Get("when"); w == nil {
		l.Complain(v.Pos, path, "when is missing", "say which assertion sends the run here, as failed."+l.someAssertion(d))
	} else {
		whole = l.when(d, r, w, path+".when")
	}
	if m := v.Get("max"); m != nil {
		l.fill(m, path+".max", "max", &r.Max, `min:"1" max:"1000"`)
	}
	run, set := v.Get("run"), v.Get("set")
	if run == nil && set == nil {
		l.Complain(v.Pos, path, "the route leads nowhere", "give it `run: REMEDY` or `set: {step.field: value}`")
		return
	}
	if run != nil {
		if r.Run = l.text(run, path+".run"); r.Run != "" && !l.remedy(run, path+".run") {
			r.Run, whole, l.lost = "", false, true
		}
	}
	r.set = set
	if whole {
		d.Gate.Routes = append(d.Gate.Routes, r)
	} else {
		d.Gate.broken = append(d.Gate.broken, r)
	}
}

func (l *loader) someAssertion(d *Decl) string {
	if a := d.src.Get("assert"); a != nil && len(a.Pairs) > 0 {
		return a.Pairs[0].Key
	}
	return "NAME"
}

func (l *loader) remedy(v *document.Value, path string) bool {
	other := l.plan.decls[v.Text]
	switch {
	case other == nil:
		l.Complain(v.Pos, path, fmt.Sprintf("there is no remedy %q", v.Text), suggest.DidYouMeanOr(v.Text, l.remedyNames(), "remedies"))
	case !other.Remedy:
		l.Complain(v.Pos, path, fmt.Sprintf("%s is a step: a route runs a remedy", v.Text), "steps re-run by themselves when what they read changes")
	default:
		return true
	}
	return false
}

// when compiles the condition of a route.
func (l *loader) when(d *Decl, r *Route, v *document.Value, path string) bool {
	if !l.expression(v, path, "failed."+l.someAssertion(d)) {
		return false
	}
	names := field.Type{Sort: field.Object}
	for _, key := range []string{"assert", "warn"} {
		if a := d.src.Get(key); a != nil {
			for _, p := range a.Pairs {
				names.Members = append(names.Members, field.Member{Name: p.Key, Type: field.Type{Sort: field.Bool}})
			}
		}
	}
	sc := l.referenceScope(nil)
	sc.Roots = map[string]field.Type{"passed": names, "failed": names, "unsure": names, "steps": {}, "inputs": {}}
	e, flaws := expr.Compile(v.Text, sc)
	if e != nil {
		flaws = append(append(flaws, wholeRoots(e)...), noSecrets(e)...)
	}
	if l.flaws(v, path, flaws) || !l.condition(e, v, path) {
		return false
	}
	r.When = e
	return true
}

// noSecrets refuses a condition over a secret: the journal keeps what it saw.
func noSecrets(e *expr.Expr) []expr.Flaw {
	for _, c := range e.Chains() {
		if c.Root == "inputs" && c.Type.Sort == field.Hidden {
			return []expr.Flaw{{Width: document.Width(e.Source()), Message: c.Text + " is a secret: nothing can be decided by it", Suggest: "use an input of another type"}}
		}
	}
	return nil
}
