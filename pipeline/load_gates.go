package pipeline

import (
	"fmt"
	"strings"
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
	a := d.src.get("assert")
	if a == nil {
		l.complain(pos{d.Line, d.Col, runes(d.Name)}, path, "assert is missing", "a gate has at least one assertion: `assert: {name: expression}`")
	} else if l.isObject(a, path+".assert", "a name and an expression: `strict: ttft.p50.mape < 0.05`") && len(a.pairs) > 0 {
		d.Gate.Assert = l.assertions(d, a, path+".assert")
	} else if a.form == isNull || a.form == isObject {
		l.complain(a.name(), path+".assert", "there are no assertions", "a gate has at least one: `assert: {name: expression}`")
	}
	if w := d.src.get("warn"); w != nil && l.isObject(w, path+".warn", "a name and an expression") {
		if a != nil {
			for _, p := range w.pairs {
				if other := a.pair(p.key); other != nil {
					l.complain(p.pos, path+".warn."+p.key, fmt.Sprintf("%q stands in assert already, on line %d", p.key, other.pos.line), "give the warning another name")
				}
			}
		}
		d.Gate.Warn = l.assertions(d, w, path+".warn")
	}
	r := d.src.get("routes")
	if r == nil || r.form == isNull {
		return
	}
	if r.form != isList {
		l.lost = true
		l.complain(r.pos, path+".routes", r.String()+" is not a list of routes", "write - {when: ..., run: ..., max: 1}")
		return
	}
	for i, v := range r.items {
		l.route(d, i, v, fmt.Sprintf("%s.routes[%d]", path, i))
	}
}

func (l *loader) assertions(d *Decl, v *value, path string) []*Assertion {
	var out []*Assertion
	of := l.plan.decls[d.Gate.Of]
	for _, p := range v.pairs {
		at := join(path, p.key)
		l.checkName(p, at, "an assertion")
		if !l.expression(p.val, at, "ttft.p50.mape < 0.05") || of == nil || of.with == nil {
			continue
		}
		result := of.with.result
		sc := &scope{what: "assertion", result: &result, of: of.Name, gate: true}
		e, flaws := compileExpr(p.val.text, sc)
		if l.flaws(p.val, at, flaws) {
			continue
		}
		if !l.condition(e, p.val, at) {
			continue
		}
		l.namesAt(of, e, p.val, at)
		out = append(out, &Assertion{Name: p.key, Expr: e, Line: p.pos.line, Col: p.pos.col})
	}
	return out
}

// expression says whether a value can be an expression at all.
func (l *loader) expression(v *value, path, example string) bool {
	switch {
	case v.form == isBool || v.form == isNumber:
		l.complain(v.pos, path, fmt.Sprintf("%s is constant: it decides nothing", v), "write a condition, as "+example)
	case v.form == isNull:
		l.complain(v.name(), path, "the condition is empty", "write one, as "+example)
	case v.form != isText:
		l.complain(v.pos, path, v.String()+" is not an expression", "write a condition, as "+example)
	case strings.Contains(v.text, "${{"):
		inner := strings.TrimSpace(strings.NewReplacer("${{", "", "}}", "").Replace(v.text))
		l.complain(v.pos, path, "an expression stands here without ${{ }}", "write "+shorten(inner, 60))
	default:
		return true
	}
	return false
}

// flaws turns what is wrong with an expression into problems.
func (l *loader) flaws(v *value, path string, flaws []flaw) bool {
	for _, f := range flaws {
		l.complain(l.within(v, f.at, f.width), path, f.message, f.suggest)
	}
	return len(flaws) > 0
}

// condition holds an expression to being a bool that depends on something.
func (l *loader) condition(e *Expr, v *value, path string) bool {
	if len(e.chains) == 0 {
		l.complain(v.pos, path, "the condition is constant: it reads nothing", "compare a field, as ttft.p50.mape < 0.05")
		return false
	}
	switch t := e.typ; t.Sort {
	case Bool, Any:
		return true
	case Number:
		l.complain(v.pos, path, fmt.Sprintf("%s is a number, not a condition", shorten(e.source, 40)), "compare it, as "+shorten(e.source, 40)+" < 0.05")
	case Object:
		suggest := "it has " + andMore(t.Names(), 12)
		for _, m := range t.Members {
			if m.Type.Sort == Bool {
				suggest = fmt.Sprintf("did you mean %s.%s?", e.source, m.Name)
				break
			}
		}
		l.complain(v.pos, path, fmt.Sprintf("%s is an object, not a condition", shorten(e.source, 40)), suggest)
	default:
		l.complain(v.pos, path, fmt.Sprintf("%s is %s, not a condition", shorten(e.source, 40), t.article()), "")
	}
	return false
}

func (l *loader) route(d *Decl, i int, v *value, path string) {
	r := &Route{Gate: d.Name, Index: i, Max: 1, Line: v.pos.line, Col: v.pos.col}
	if !l.fields(v, path, routeKeys) {
		l.lost = true
		return
	}
	var whole bool
	if w := v.get("when"); w == nil {
		l.complain(v.pos, path, "when is missing", "say which assertion sends the run here, as failed."+l.someAssertion(d))
	} else {
		whole = l.when(d, r, w, path+".when")
	}
	if m := v.get("max"); m != nil {
		low, high := 1.0, 1000.0
		fd := &field{name: "max", shape: &shape{typ: wholeType}, min: &low, minText: "1", max: &high, maxText: "1000"}
		l.fill(m, path+".max", fd, hole(&r.Max))
	}
	run, set := v.get("run"), v.get("set")
	if run == nil && set == nil {
		l.complain(v.pos, path, "the route leads nowhere", "give it `run: REMEDY` or `set: {step.field: value}`")
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
	if a := d.src.get("assert"); a != nil && len(a.pairs) > 0 {
		return a.pairs[0].key
	}
	return "NAME"
}

func (l *loader) remedy(v *value, path string) bool {
	other := l.plan.decls[v.text]
	var known []string
	for _, r := range l.plan.Remedies {
		known = append(known, r.Name)
	}
	switch {
	case other == nil:
		l.complain(v.pos, path, fmt.Sprintf("there is no remedy %q", v.text), didYouMeanOr(v.text, known, "remedies"))
	case !other.Remedy:
		l.complain(v.pos, path, fmt.Sprintf("%s is a step: a route runs a remedy", v.text), "steps re-run by themselves when what they read changes")
	default:
		return true
	}
	return false
}

// when compiles the condition of a route.
func (l *loader) when(d *Decl, r *Route, v *value, path string) bool {
	if !l.expression(v, path, "failed."+l.someAssertion(d)) {
		return false
	}
	names := Type{Sort: Object}
	for _, key := range []string{"assert", "warn"} {
		if a := d.src.get(key); a != nil {
			for _, p := range a.pairs {
				names.Members = append(names.Members, Member{Name: p.key, Type: boolType})
			}
		}
	}
	sc := l.referenceScope(nil)
	sc.what = "when"
	sc.roots = map[string]Type{"passed": names, "failed": names, "unsure": names, "steps": anyType, "inputs": anyType}
	e, flaws := compileExpr(v.text, sc)
	if e != nil {
		flaws = append(flaws, wholeRoots(e)...)
	}
	if l.flaws(v, path, flaws) || !l.condition(e, v, path) {
		return false
	}
	r.When = e
	return true
}
