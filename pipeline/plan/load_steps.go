package plan

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"calrun/pipeline/document"
	"calrun/pipeline/field"
	"calrun/pipeline/kind"
	"calrun/pipeline/suggest"
)

// with is the `with` of a step or remedy.
type with struct {
	root   *document.Value // literal fields and shared ones
	step   kind.Step       // decoded from what is literal; nil if that is faulty
	result field.Type
	refs   []use
	want   map[*document.Value]field.Type // references → type of the field
	paths  map[*document.Value]bool       // texts that are paths of artefacts
	names  map[string][]string
	texts  templates                         // every text with references in it
	late   map[*document.Value][]field.Fault // found in a reference that inputs decide
	fill   map[string]int
	dir    string // what its relative paths start from
}

// use is a reference and the field that it fills.
type use struct {
	v    *document.Value
	fd   *field.Field
	path string
}

func (l *loader) newWith() *with {
	return &with{
		texts: l.texts, dir: l.plan.Dir,
		want: map[*document.Value]field.Type{}, paths: map[*document.Value]bool{}, late: map[*document.Value][]field.Fault{},
	}
}

// decoder notes in w the references and the paths that it meets.
func (l *loader) decoder(w *with) *field.Decoder {
	return &field.Decoder{
		Dir: l.plan.Dir,
		Reference: func(v *document.Value, fd *field.Field, path string) {
			w.refs = append(w.refs, use{v, fd, path})
			w.want[v] = fd.Shape.Type
		},
		Path: func(v *document.Value, t field.Type, path string) {
			w.paths[v] = true
			l.exists(v.Pos, path, v.Text, field.Absolute(l.plan.Dir, v.Text), t.Holds)
		},
	}
}

// decls reads steps, gates and remedies, as far as they can be read alone.
func (l *loader) decls(root *document.Value) {
	steps := root.Pair("steps")
	if steps == nil {
		l.Complain(root.Pos, "", "steps are missing", "a plan has at least one step")
	} else if !l.isObject(steps.Val, "steps", "a name, with `uses` and `with`") || len(steps.Val.Pairs) == 0 {
		if steps.Val.Form == document.Null || steps.Val.Form == document.Object {
			l.Complain(steps.Pos, "steps", "there are no steps", "a plan has at least one step")
		}
	} else {
		for _, p := range steps.Val.Pairs {
			l.decl(p, false)
		}
	}
	if v := root.Get("remedies"); v != nil && l.isObject(v, "remedies", "a name, with `uses`, `sets` and `with`") {
		for _, p := range v.Pairs {
			l.decl(p, true)
		}
	}
}

func (l *loader) decl(p document.Pair, remedy bool) {
	d := &Decl{Name: p.Key, Remedy: remedy, Line: p.Pos.Line, Col: p.Pos.Col}
	path := d.where()
	if other := l.plan.decls[p.Key]; other != nil {
		l.Complain(p.Pos, path, fmt.Sprintf("there is a step %q already, on line %d", p.Key, other.Line), "give the remedy another name")
		return
	}
	l.checkName(p, path, "a step")
	l.plan.decls[d.Name] = d
	if remedy {
		l.plan.Remedies = append(l.plan.Remedies, d)
	} else {
		l.plan.Steps = append(l.plan.Steps, d)
	}
	d.src = p.Val
	if p.Val.Form != document.Object {
		if p.Val.Form == document.Null {
			l.Complain(p.Pos, path, "is empty", "a step has `uses` and `with`")
		} else {
			l.isObject(p.Val, path, "a step has `uses` and `with`")
		}
		d.faulty = true
		return
	}
	l.uses(d, p)
	if v := p.Val.Get("doc"); v != nil {
		d.Doc = l.text(v, path+".doc")
	}
	l.common(d, p.Val)
}

// uses reads the kind of a step, and with it which keys the block may have.
func (l *loader) uses(d *Decl, p document.Pair) {
	v, path := p.Val.Get("uses"), d.where()
	known := stepKeys
	if d.Remedy {
		known = remedyKeys
	}
	defer func() { l.keys(d, p.Val, known) }()
	if v == nil {
		l.Complain(p.Pos, path, "uses is missing", "name a kind: "+suggest.AndMore(l.kindNames(d.Remedy), 8))
		d.faulty = true
		if p.Val.Get("of") != nil && p.Val.Get("assert") != nil {
			known = gateKeys
		}
		return
	}
	if d.Uses = l.text(v, path+".uses"); d.Uses == "" {
		d.faulty = true
		return
	}
	if d.Uses == kind.GateUses {
		if d.Remedy {
			l.Complain(v.Pos, path+".uses", "a gate cannot be a remedy", "gates stand among the steps")
			d.faulty = true
			return
		}
		known = gateKeys
		d.Gate = &Gate{}
		return
	}
	k, ok := l.opt.Kinds.Lookup(d.Uses)
	if !ok {
		l.Complain(v.Pos, path+".uses", fmt.Sprintf("there is no kind %q", d.Uses), suggest.DidYouMeanOr(d.Uses, l.kindNames(d.Remedy), "kinds"))
		d.faulty = true
		return
	}
	d.Kind = k
	d.with = l.newWith()
}

func (l *loader) kindNames(remedy bool) []string {
	var out []string
	for _, k := range l.opt.Kinds.All() {
		out = append(out, k.Name)
	}
	if !remedy {
		out = append(out, kind.GateUses)
	}
	return out
}

// keys complains about keys that a block does not have, and says where they
// belong if that is known.
func (l *loader) keys(d *Decl, v *document.Value, known []string) {
	for _, p := range v.Pairs {
		if slices.Contains(known, p.Key) {
			continue
		}
		message, hint := "unknown field "+document.Quote(p.Key), suggest.DidYouMean(p.Key, known)
		switch {
		case d.Kind != nil && d.Kind.Shape().Find(p.Key) != nil:
			hint = fmt.Sprintf("it is a field of %s: put it below `with`", d.Uses)
		case d.Remedy && p.Key == "needs":
			message, hint = "a remedy has no needs", "it runs when a route calls it, after the round"
		case d.Gate != nil && (p.Key == "with" || p.Key == "timeout" || p.Key == "locks" || p.Key == "retry"):
			message, hint = fmt.Sprintf("a gate has no %s", p.Key), "it only judges the result of the step in `of`"
		case d.Gate == nil && (p.Key == "assert" || p.Key == "warn" || p.Key == "routes" || p.Key == "of"):
			message, hint = fmt.Sprintf("only a gate has %s", p.Key), "add a step with `uses: gate`"
		case !d.Remedy && (p.Key == "sets" || p.Key == "forget"):
			message, hint = fmt.Sprintf("only a remedy has %s", p.Key), "move the step below `remedies`"
		case hint == "":
			hint = "fields: " + suggest.AndMore(known, 12)
		}
		l.Complain(p.Pos, document.Join(d.where(), p.Key), message, hint)
	}
}

// common reads needs, timeout, locks and retry.
func (l *loader) common(d *Decl, v *document.Value) {
	path := d.where()
	if n := v.Get("needs"); n != nil && !d.Remedy {
		d.Needs = l.names(n, path+".needs")
	}
	if d.Gate != nil {
		return
	}
	if n := v.Get("locks"); n != nil {
		d.Locks = l.names(n, path+".locks")
	}
	if n := v.Get("timeout"); n != nil {
		l.fill(n, path+".timeout", "timeout", &d.Timeout, `min:"1s"`)
	}
	if n := v.Get("retry"); n != nil {
		var f retryFile
		if n.Form == document.Number {
			n = &document.Value{Form: document.Object, Pos: n.Pos, Pairs: []document.Pair{{Key: "max", Pos: n.Pos, Val: n}}}
		}
		l.fill(n, path+".retry", "retry", &f, "")
		d.Retry = Retry(f)
	}
}

// names reads a list of names; one alone stands for a list of one.
func (l *loader) names(v *document.Value, path string) []string {
	items := v.Items
	switch v.Form {
	case document.Text:
		items = []*document.Value{v}
	case document.List:
	default:
		l.Complain(v.Pos, path, v.String()+" is not a list of names", "write [name]")
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
	w, sh := d.with, d.Kind.Shape()
	w.root = &document.Value{Form: document.Object, Pos: d.name()}
	if p := d.src.Pair("with"); p != nil {
		switch p.Val.Form {
		case document.Object:
			w.root = &document.Value{Form: document.Object, Pos: p.Val.Pos, Key: p.Pos, Pairs: append([]document.Pair(nil), p.Val.Pairs...)}
		case document.Null:
			w.root.Key = p.Pos
		default:
			l.Complain(p.Val.Pos, path, p.Val.String()+" is not an object", fieldList(sh))
			d.faulty = true
			return
		}
	}
	for _, p := range l.shared {
		if sh.Find(p.Key) == nil {
			continue
		}
		l.taken[p.Key] = true
		if w.root.Pair(p.Key) == nil {
			p.Shared = true
			w.root.Pairs = append(w.root.Pairs, p)
		}
	}
	l.templates(w.root, path)
	step := d.Kind.New()
	dec := l.decoder(w)
	dec.Object(reflect.Indirect(reflect.ValueOf(step)), sh, w.root, path)
	l.filled(d, sh)
	for _, f := range dec.Found {
		if p := w.root.Pair(f.Path[strings.LastIndexByte(f.Path, '.')+1:]); p != nil && f.Path == document.Join(path, p.Key) && sh.Find(p.Key) == nil && slices.Contains(stepKeys, p.Key) {
			f.Suggest = "it stands beside `with`, not below it"
		}
		if v := w.reference(f.At); v != nil {
			w.late[v] = append(w.late[v], f)
			continue
		}
		l.Complain(f.At, f.Path, f.Message, f.Suggest)
		d.faulty = true
	}
	if len(dec.Found) == 0 {
		w.step = step
		l.sources(d, step)
	}
	if t, err := d.Kind.ResultType(step); err == nil {
		w.result = t
	} else if len(dec.Found) == 0 {
		f := field.Problem{Message: err.Error()}
		var at *field.Problem
		if errors.As(err, &at) {
			f = *at
		} else if name, rest, ok := strings.Cut(f.Message, ": "); ok && w.root.Has(name) {
			f.Field, f.Message = name, rest
		}
		l.checked(d, []field.Problem{f})
		d.faulty = true
	}
	l.schema(d)
}

// sources doubts secrets that the `with` itself names and that are not here.
func (l *loader) sources(d *Decl, step kind.Step) {
	at := d.name()
	_ = field.EachSecret(step, func(s *field.Secret) error {
		if why := s.Source.Missing(); s.Source.Env != "" && why != "" { // of a file the decoder has told
			l.lacks(at, d.where()+".with", why, why+" ("+d.where()+")")
		}
		return nil
	})
}

// reference returns the reference at a place, if one is there.
func (w *with) reference(at document.Pos) *document.Value {
	for _, u := range w.refs {
		if u.v.Pos == at {
			return u.v
		}
	}
	return nil
}

// filled refuses a value for a field that the loader fills itself.
func (l *loader) filled(d *Decl, sh *field.Shape) {
	for _, fd := range sh.Fields {
		if p := d.with.root.Pair(fd.Name); fd.Fill != "" && p != nil {
			l.Complain(p.Pos, document.Join(d.where()+".with", fd.Name), fmt.Sprintf("%s cannot be set: calrun computes it from the routes of the gates", fd.Name), "remove it")
		}
	}
}

func fieldList(sh *field.Shape) string { return "fields: " + suggest.AndMore(sh.Names(), 12) }

// unusedShared complains about shared fields that reach no step.
func (l *loader) unusedShared() {
	for _, d := range l.all() {
		if d.Gate == nil && d.Kind == nil {
			return // its kind is not known: it may be the one
		}
	}
	for _, p := range l.shared {
		if l.taken[p.Key] {
			continue
		}
		var known []string
		for _, d := range l.all() {
			if d.Kind != nil {
				known = append(known, d.Kind.Shape().Names()...)
			}
		}
		suggest := suggest.DidYouMean(p.Key, known)
		if suggest == "" {
			suggest = "remove it"
		}
		l.Complain(p.Pos, "shared."+p.Key, fmt.Sprintf("no step has a field %q", p.Key), suggest)
	}
}
