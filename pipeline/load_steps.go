package pipeline

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"
)

// with is the `with` of a step or remedy.
type with struct {
	root   *value // literal fields and shared ones
	step   Step   // decoded from what is literal; nil if that is faulty
	result Type
	refs   []use
	want   map[*value]Type // references → type of the field
	paths  map[*value]bool // texts that are paths of artefacts
	names  map[string][]string
	late   map[*value][]fault // found in a reference that inputs decide
	fill   map[string]int
	dir    string // what its relative paths start from
}

// use is a reference and the field that it fills.
type use struct {
	v    *value
	fd   *field
	path string
}

// decls reads steps, gates and remedies, as far as they can be read alone.
func (l *loader) decls(root *value) {
	steps := root.pair("steps")
	if steps == nil {
		l.complain(root.pos, "", "steps are missing", "a plan has at least one step")
	} else if !l.isObject(steps.val, "steps", "a name, with `uses` and `with`") || len(steps.val.pairs) == 0 {
		if steps.val.form == isNull || steps.val.form == isObject {
			l.complain(steps.pos, "steps", "there are no steps", "a plan has at least one step")
		}
	} else {
		for _, p := range steps.val.pairs {
			l.decl(p, false)
		}
	}
	if v := root.get("remedies"); v != nil && l.isObject(v, "remedies", "a name, with `uses`, `sets` and `with`") {
		for _, p := range v.pairs {
			l.decl(p, true)
		}
	}
}

func (l *loader) decl(p pair, remedy bool) {
	d := &Decl{Name: p.key, Remedy: remedy, Line: p.pos.line, Col: p.pos.col}
	path := d.where()
	if other := l.plan.decls[p.key]; other != nil {
		l.complain(p.pos, path, fmt.Sprintf("there is a step %q already, on line %d", p.key, other.Line), "give the remedy another name")
		return
	}
	l.checkName(p, path, "a step")
	l.plan.decls[d.Name] = d
	if remedy {
		l.plan.Remedies = append(l.plan.Remedies, d)
	} else {
		l.plan.Steps = append(l.plan.Steps, d)
	}
	d.src = p.val
	if p.val.form != isObject {
		if p.val.form == isNull {
			l.complain(p.pos, path, "is empty", "a step has `uses` and `with`")
		} else {
			l.isObject(p.val, path, "a step has `uses` and `with`")
		}
		d.faulty = true
		return
	}
	l.uses(d, p)
	if v := p.val.get("doc"); v != nil {
		d.Doc = l.text(v, path+".doc")
	}
	l.common(d, p.val)
}

// uses reads the kind of a step, and with it which keys the block may have.
func (l *loader) uses(d *Decl, p pair) {
	v, path := p.val.get("uses"), d.where()
	known := stepKeys
	if d.Remedy {
		known = remedyKeys
	}
	defer func() { l.keys(d, p.val, known) }()
	if v == nil {
		l.complain(p.pos, path, "uses is missing", "name a kind: "+andMore(l.kindNames(d.Remedy), 8))
		d.faulty = true
		if p.val.get("of") != nil && p.val.get("assert") != nil {
			known = gateKeys
		}
		return
	}
	if d.Uses = l.text(v, path+".uses"); d.Uses == "" {
		d.faulty = true
		return
	}
	if d.Uses == gateUses {
		if d.Remedy {
			l.complain(v.pos, path+".uses", "a gate cannot be a remedy", "gates stand among the steps")
			d.faulty = true
			return
		}
		known = gateKeys
		d.Gate = &Gate{}
		return
	}
	k, ok := l.opt.Kinds.Lookup(d.Uses)
	if !ok {
		l.complain(v.pos, path+".uses", fmt.Sprintf("there is no kind %q", d.Uses), didYouMeanOr(d.Uses, l.kindNames(d.Remedy), "kinds"))
		d.faulty = true
		return
	}
	d.Kind = k
	d.with = &with{result: anyType, want: map[*value]Type{}, late: map[*value][]fault{}, paths: map[*value]bool{}, dir: l.plan.Dir}
}

func (l *loader) kindNames(remedy bool) []string {
	var out []string
	for _, k := range l.opt.Kinds.All() {
		out = append(out, k.Name)
	}
	if !remedy {
		out = append(out, gateUses)
	}
	return out
}

// keys complains about keys that a block does not have, and says where they
// belong if that is known.
func (l *loader) keys(d *Decl, v *value, known []string) {
	for _, p := range v.pairs {
		if contains(known, p.key) {
			continue
		}
		message, suggest := "unknown field "+quote(p.key), didYouMean(p.key, known)
		switch {
		case d.Kind != nil && d.Kind.described().find(p.key) != nil:
			suggest = fmt.Sprintf("it is a field of %s: put it below `with`", d.Uses)
		case d.Remedy && p.key == "needs":
			message, suggest = "a remedy has no needs", "it runs when a route calls it, after the round"
		case d.Gate != nil && (p.key == "with" || p.key == "timeout" || p.key == "locks" || p.key == "retry"):
			message, suggest = fmt.Sprintf("a gate has no %s", p.key), "it only judges the result of the step in `of`"
		case d.Gate == nil && (p.key == "assert" || p.key == "warn" || p.key == "routes" || p.key == "of"):
			message, suggest = fmt.Sprintf("only a gate has %s", p.key), "add a step with `uses: gate`"
		case !d.Remedy && (p.key == "sets" || p.key == "forget"):
			message, suggest = fmt.Sprintf("only a remedy has %s", p.key), "move the step below `remedies`"
		case suggest == "":
			suggest = "fields: " + andMore(known, 12)
		}
		l.complain(p.pos, join(d.where(), p.key), message, suggest)
	}
}

// common reads needs, timeout, locks and retry.
func (l *loader) common(d *Decl, v *value) {
	path := d.where()
	if n := v.get("needs"); n != nil && !d.Remedy {
		d.Needs = l.texts(n, path+".needs")
	}
	if d.Gate != nil {
		return
	}
	if n := v.get("locks"); n != nil {
		d.Locks = l.texts(n, path+".locks")
	}
	if n := v.get("timeout"); n != nil {
		low := float64(time.Second)
		fd := &field{name: "timeout", shape: &shape{typ: spanType}, min: &low, minText: "1s"}
		l.fill(n, path+".timeout", fd, &decoded{reflect.ValueOf(&d.Timeout).Elem()})
	}
	if n := v.get("retry"); n != nil {
		var f retryFile
		if n.form == isNumber {
			n = &value{form: isObject, pos: n.pos, pairs: []pair{{key: "max", pos: n.pos, val: n}}}
		}
		l.fill(n, path+".retry", &field{name: "retry", shape: shapeOf(reflect.TypeOf(f), "")}, &decoded{reflect.ValueOf(&f).Elem()})
		d.Retry = Retry(f)
	}
}

// texts reads a list of texts; one alone stands for a list of one.
func (l *loader) texts(v *value, path string) []string {
	items := v.items
	switch v.form {
	case isText:
		items = []*value{v}
	case isList:
	default:
		l.complain(v.pos, path, v.String()+" is not a list of names", "write [name]")
		return nil
	}
	var out []string
	for i, e := range items {
		if s := l.text(e, fmt.Sprintf("%s[%d]", path, i)); s != "" {
			out = append(out, s)
		}
	}
	return out
}

// decode fills the step from what is literal in its `with` and in the shared
// fields that its kind declares.
func (l *loader) decode(d *Decl) {
	path := d.where() + ".with"
	w, sh := d.with, d.Kind.described()
	w.root = &value{form: isObject, pos: pos{line: d.Line, col: d.Col, width: runes(d.Name)}}
	if p := d.src.pair("with"); p != nil {
		switch p.val.form {
		case isObject:
			w.root = &value{form: isObject, pos: p.val.pos, key: p.pos, pairs: append([]pair(nil), p.val.pairs...)}
		case isNull:
			w.root.key = p.pos
		default:
			l.complain(p.val.pos, path, p.val.String()+" is not an object", fieldList(sh))
			d.faulty = true
			return
		}
	}
	for _, p := range l.shared {
		if sh.find(p.key) == nil {
			continue
		}
		l.taken[p.key] = true
		if w.root.pair(p.key) == nil {
			p.shared = true
			w.root.pairs = append(w.root.pairs, p)
		}
	}
	l.templates(w.root, path)
	step := d.Kind.New()
	dec := &decoder{dir: l.plan.Dir}
	dec.template = func(v *value, fd *field, path string) {
		w.refs = append(w.refs, use{v, fd, path})
		w.want[v] = fd.shape.typ
	}
	dec.literal = func(v *value, t Type, path string) {
		w.paths[v] = true
		l.exists(v.pos, path, v.text, absolute(l.plan.Dir, v.text), t.Holds)
	}
	dec.object(reflect.Indirect(reflect.ValueOf(step)), sh, w.root, path)
	l.filled(d, sh)
	for _, f := range dec.found {
		if p := w.root.pair(lastName(f.path)); p != nil && f.path == join(path, p.key) && sh.find(p.key) == nil && contains(stepKeys, p.key) {
			f.suggest = "it stands beside `with`, not below it"
		}
		if v := w.reference(f.at); v != nil {
			w.late[v] = append(w.late[v], f)
			continue
		}
		l.complain(f.at, f.path, f.message, f.suggest)
		d.faulty = true
	}
	if len(dec.found) == 0 {
		w.step = step
	}
	if t, err := d.Kind.ResultType(step); err == nil {
		w.result = t
	} else if len(dec.found) == 0 {
		f := FieldProblem{Message: err.Error()}
		var at *FieldProblem
		if errors.As(err, &at) {
			f = *at
		} else if name, rest, ok := strings.Cut(f.Message, ": "); ok && w.root.has(name) {
			f.Field, f.Message = name, rest
		}
		l.checked(d, []FieldProblem{f})
		d.faulty = true
	}
	l.schema(d)
}

// reference returns the reference at a place, if one is there.
func (w *with) reference(at pos) *value {
	for _, u := range w.refs {
		if u.v.pos == at {
			return u.v
		}
	}
	return nil
}

// filled refuses a value for a field that the loader fills itself.
func (l *loader) filled(d *Decl, sh *shape) {
	for _, fd := range sh.fields {
		if p := d.with.root.pair(fd.name); fd.fill != "" && p != nil {
			l.complain(p.pos, join(d.where()+".with", fd.name), fmt.Sprintf("%s cannot be set: calrun computes it from the routes of the gates", fd.name), "remove it")
		}
	}
}

func fieldList(sh *shape) string { return "fields: " + andMore(sh.names(), 12) }

func lastName(path string) string {
	for i := len(path) - 1; i >= 0; i-- {
		if path[i] == '.' {
			return path[i+1:]
		}
	}
	return path
}

// unusedShared complains about shared fields that reach no step.
func (l *loader) unusedShared() {
	for _, d := range l.all() {
		if d.Gate == nil && d.Kind == nil {
			return // its kind is not known: it may be the one
		}
	}
	for _, p := range l.shared {
		if l.taken[p.key] {
			continue
		}
		var known []string
		for _, d := range l.all() {
			if d.Kind != nil {
				known = append(known, d.Kind.described().names()...)
			}
		}
		suggest := didYouMean(p.key, known)
		if suggest == "" {
			suggest = "remove it"
		}
		l.complain(p.pos, "shared."+p.key, fmt.Sprintf("no step has a field %q", p.key), suggest)
	}
}
