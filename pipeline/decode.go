package pipeline

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	"github.com/hashicorp/go-multierror"
)

// Decode makes a step from the JSON of its `with`: unknown fields, values out
// of bounds and missing required fields are errors, all of them at once, each
// with the path of its field; absent fields get their defaults.
//
// An artefact is {"artefact": sort, "digest": "sha256:..."}; its Path is left
// empty unless the JSON has a "path" beside them.
func (k *Kind) Decode(with json.RawMessage) (Step, error) {
	root := &value{form: isObject}
	if len(with) > 0 {
		var err error
		if root, err = parseJSON(with); err != nil {
			return nil, fmt.Errorf("with of %s: not JSON: %w", k.Name, err)
		}
	}
	step := k.New()
	d := &decoder{resolved: true}
	d.object(reflect.Indirect(reflect.ValueOf(step)), k.described(), root, "")
	if err := d.err(); err != nil {
		return nil, fmt.Errorf("with of %s: %w", k.Name, err)
	}
	return step, nil
}

// Unmarshal decodes JSON into a struct with the tags of a `with` as strictly
// as [Kind.Decode]: what a union does with its object form. into is a pointer.
func Unmarshal(data json.RawMessage, into any) error {
	v, err := parseJSON(data)
	if err != nil {
		return err
	}
	rv := reflect.ValueOf(into).Elem()
	d := &decoder{resolved: true}
	d.into(rv, &field{shape: shapeOf(rv.Type(), "")}, v, "")
	if len(d.found) == 1 {
		f := d.found[0]
		return &FieldProblem{Field: strings.TrimPrefix(f.path, "."), Message: f.message, Suggest: f.suggest}
	}
	return d.err()
}

// UnmarshalJSON reads {"artefact", "digest"} as a result has it; "path", if it
// is there, is where the artefact lies now.
func (a *Artefact) UnmarshalJSON(data []byte) error {
	var in struct {
		Of     string `json:"artefact"`
		Digest string `json:"digest"`
		Path   string `json:"path"`
	}
	if err := json.Unmarshal(data, &in); err != nil {
		return fmt.Errorf("an artefact is an object with artefact and digest: %w", err)
	}
	*a = Artefact{Of: in.Of, Digest: in.Digest, Path: in.Path}
	return nil
}

// Error makes a FieldProblem an error: a union's UnmarshalJSON returns one to
// say where below the union it is.
func (p *FieldProblem) Error() string {
	s := p.Message
	if p.Field != "" {
		s = p.Field + ": " + s
	}
	if p.Suggest != "" {
		s += ", " + p.Suggest
	}
	return s
}

// decoder fills a struct from a value and keeps everything it finds wrong.
type decoder struct {
	found []fault
	// resolved: the value comes from a run, where texts are only texts.
	resolved bool
	dir      string // what relative paths start from
	// template is told each reference met and the field that it fills.
	template func(v *value, fd *field, path string)
	// literal is told each text that is the path of an artefact.
	literal func(v *value, t Type, path string)
}

// fault is something wrong with a value.
type fault struct {
	at               pos
	path             string
	message, suggest string
	missing          bool // of a required field: at is what is around it
}

func (d *decoder) wrong(at pos, path, suggest, format string, args ...any) {
	d.found = append(d.found, fault{at: at, path: path, message: fmt.Sprintf(format, args...), suggest: suggest})
}

func (d *decoder) err() error {
	var all *multierror.Error
	for _, f := range d.found {
		all = multierror.Append(all, &FieldProblem{Field: f.path, Message: f.message, Suggest: f.suggest})
	}
	if all == nil {
		return nil
	}
	all.ErrorFormat = func(errs []error) string {
		lines := make([]string, len(errs))
		for i, err := range errs {
			lines[i] = err.Error()
		}
		return strings.Join(lines, "; ")
	}
	return all
}

// object fills the fields of a struct.
func (d *decoder) object(rv reflect.Value, sh *shape, v *value, path string) {
	if v.form == isNull {
		v = &value{form: isObject, pos: v.pos}
	}
	if v.form != isObject {
		d.wrong(v.pos, path, "fields: "+andMore(sh.names(), 12), "%s is not an object", v)
		return
	}
	meant := map[string]bool{}
	for _, p := range v.pairs {
		fd := sh.find(p.key)
		below := join(path, p.key)
		if p.shared {
			below = "shared." + p.key
		}
		if fd == nil {
			meant[nearest(p.key, sh.names())] = true
			d.wrong(p.pos, below, didYouMeanOr(p.key, sh.names(), "fields"), "unknown field %q", p.key)
			continue
		}
		d.field(rv.FieldByIndex(fd.index), fd, p.val, below)
	}
	for _, fd := range sh.fields {
		if v.pair(fd.name) != nil || meant[fd.name] {
			continue // misspelt is not missing too
		}
		if fd.required {
			d.found = append(d.found, fault{
				at: v.name(), path: path, missing: true,
				message: fmt.Sprintf("%s is missing", fd.name), suggest: wantText(fd),
			})
			continue
		}
		if d.defaults(rv.FieldByIndex(fd.index), fd) {
			continue
		}
	}
}

// wantText says what a field is for, as a suggestion.
func wantText(fd *field) string {
	s := "it is " + fd.shape.typ.article()
	if fd.shape.typ.Sort == Any {
		s = "it is required"
	}
	if len(fd.enum) > 0 {
		s = "one of " + strings.Join(fd.enum, ", ")
	}
	if fd.doc != "" {
		s += ": " + fd.doc
	}
	return s
}

// defaults sets an absent field, and the absent fields of an absent struct.
func (d *decoder) defaults(rv reflect.Value, fd *field) bool {
	if fd.std != nil {
		if rv.IsZero() {
			sub := decoder{resolved: true}
			sub.into(rv, fd, fd.std, fd.name)
		}
		return true
	}
	if rv.Kind() == reflect.Struct && fd.shape.typ.Sort == Object {
		for _, inner := range fd.shape.fields {
			d.defaults(rv.FieldByIndex(inner.index), inner)
		}
	}
	return false
}

// field fills one field, and holds it to its bounds.
func (d *decoder) field(rv reflect.Value, fd *field, v *value, path string) {
	if v.bad {
		return
	}
	if v.form == isNull {
		if rv.Kind() == reflect.Pointer || fd.shape.typ.Sort == Any && fd.shape.union == nil || d.resolved && !fd.required {
			return
		}
		d.wrong(v.name(), path, "give it a value or remove it", "%s is empty", fd.name)
		return
	}
	d.into(rv, fd, v, path)
}

// into fills any value; fd is the field whose bounds hold inside it.
func (d *decoder) into(rv reflect.Value, fd *field, v *value, path string) {
	sh := fd.shape
	if v.bad {
		return
	}
	if v.tmpl != nil && !d.resolved {
		if d.template != nil {
			d.template(v, fd, path)
		}
		if v.known == nil {
			return
		}
		at, literal := v.pos, v.literal()
		if v = v.known; fd.shape.typ.Sort != Text {
			v = literal
		}
		v.pos = at
	}
	for rv.Kind() == reflect.Pointer {
		if rv.IsNil() {
			rv.Set(reflect.New(rv.Type().Elem()))
		}
		rv = rv.Elem()
	}
	switch {
	case sh.union != nil:
		d.union(rv, fd, v, path)
	case sh.typ.Sort == Object:
		d.object(rv, sh, v, path)
	case sh.typ.Sort == List:
		d.list(rv, fd, v, path)
	case sh.typ.Sort == Map:
		d.dict(rv, fd, v, path)
	case sh.typ.Sort == File:
		d.artefact(rv, sh.typ, v, path)
	case sh.typ.Sort == Any:
		d.anything(rv, fd, v, path)
	default:
		d.scalar(rv, fd, v, path)
	}
}

func (d *decoder) list(rv reflect.Value, fd *field, v *value, path string) {
	if v.form != isList {
		suggest := ""
		if v.form == isNumber || v.form == isText {
			suggest = fmt.Sprintf("write [%s]", v.text)
		}
		d.wrong(v.pos, path, suggest, "%s is not %s", v, fd.shape.typ.article())
		return
	}
	if rv.Kind() == reflect.Array {
		if len(v.items) != rv.Len() {
			d.wrong(v.pos, path, "", "has %d values, it needs %d", len(v.items), rv.Len())
			return
		}
	} else {
		rv.Set(reflect.MakeSlice(rv.Type(), len(v.items), len(v.items)))
	}
	inner := fd.inner()
	for i, e := range v.items {
		at := fmt.Sprintf("%s[%d]", path, i)
		if e.form == isNull {
			d.wrong(e.pos, at, "remove it or give it a value", "is empty")
			continue
		}
		d.into(rv.Index(i), inner, e, at)
	}
}

func (d *decoder) dict(rv reflect.Value, fd *field, v *value, path string) {
	if v.form != isObject {
		d.wrong(v.pos, path, "", "%s is not %s", v, fd.shape.typ.article())
		return
	}
	rv.Set(reflect.MakeMapWithSize(rv.Type(), len(v.pairs)))
	inner := fd.inner()
	for _, p := range v.pairs {
		ev := reflect.New(rv.Type().Elem()).Elem()
		if p.val.form == isNull && inner.shape.typ.Sort != Any {
			d.wrong(p.pos, join(path, p.key), "give it a value or remove it", "%s is empty", p.key)
			continue
		}
		d.into(ev, inner, p.val, join(path, p.key))
		rv.SetMapIndex(reflect.ValueOf(p.key).Convert(rv.Type().Key()), ev)
	}
}

// inner is the field as its elements see it: same bounds, their shape.
func (fd *field) inner() *field {
	in := *fd
	in.shape = fd.shape.elem
	return &in
}

func (d *decoder) artefact(rv reflect.Value, t Type, v *value, path string) {
	switch v.form {
	case isText:
		if v.text == "" {
			d.wrong(v.pos, path, "", "a path is empty")
			return
		}
		d.tell(v, t, path)
		rv.Set(reflect.ValueOf(Artefact{Of: t.Holds, Path: absolute(d.dir, v.text)}))
	case isObject:
		d.reference(rv, t, v, path)
	default:
		d.wrong(v.pos, path, "a reference ${{ steps.x.field }}, an input or a path", "%s is not %s", v, t.article())
	}
}

func (d *decoder) tell(v *value, t Type, path string) {
	if d.literal != nil {
		d.literal(v, t, path)
	}
}

func (d *decoder) reference(rv reflect.Value, t Type, v *value, path string) {
	a := Artefact{Of: t.Holds}
	for _, p := range v.pairs {
		if p.val.form != isText {
			d.wrong(p.val.pos, join(path, p.key), "", "%s is not text", p.val)
			return
		}
		switch p.key {
		case "artefact":
			a.Of = p.val.text
		case "digest":
			a.Digest = p.val.text
		case "path":
			a.Path = absolute(d.dir, p.val.text)
		default:
			d.wrong(p.pos, path, "an artefact is a path or a reference", "unknown field %q", p.key)
			return
		}
	}
	if !t.takes(Type{Sort: File, Holds: a.Of}) {
		d.wrong(v.pos, path, "", "is %s, it needs %s", Type{Sort: File, Holds: a.Of}.article(), t.article())
		return
	}
	if a.IsZero() {
		d.wrong(v.pos, path, "", "an artefact needs a digest or a path")
		return
	}
	rv.Set(reflect.ValueOf(a))
}
