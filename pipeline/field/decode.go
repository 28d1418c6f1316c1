package field

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	"calrun/pipeline/document"
	"calrun/pipeline/suggest"

	"github.com/hashicorp/go-multierror"
)

// Decode fills a struct of this shape, which holds its defaults, from JSON.
func (sh *Shape) Decode(into any, with json.RawMessage) error {
	root := &document.Value{Form: document.Object}
	if len(with) > 0 {
		var err error
		if root, err = document.ParseJSON(with); err != nil {
			return fmt.Errorf("not JSON: %w", err)
		}
	}
	d := &Decoder{Resolved: true}
	d.Object(reflect.Indirect(reflect.ValueOf(into)), sh, root, "")
	return d.err()
}

// Unmarshal decodes JSON into a struct with the tags of a `with` as strictly
// as [Shape.Decode]: what a union does with its object form. into is a pointer.
func Unmarshal(data json.RawMessage, into any) error {
	v, err := document.ParseJSON(data)
	if err != nil {
		return err
	}
	rv := reflect.ValueOf(into).Elem()
	d := &Decoder{Resolved: true}
	d.into(rv, &Field{Shape: ShapeOf(rv.Type(), "")}, v, "")
	if len(d.Found) == 1 {
		f := d.Found[0]
		return &Problem{Field: strings.TrimPrefix(f.Path, "."), Message: f.Message, Suggest: f.Suggest}
	}
	return d.err()
}

// Decoder fills a struct from a value and keeps everything it finds wrong.
type Decoder struct {
	Found []Fault
	// Resolved: the value comes from a run, where texts are only texts.
	Resolved bool
	Dir      string // what relative paths start from
	// Reference is told each reference met and the field that it fills.
	Reference func(v *document.Value, fd *Field, path string)
	// Path is told each text that is the path of an artefact.
	Path func(v *document.Value, t Type, path string)
}

// Fault is something wrong with a value; At of a missing field is what is
// around it.
type Fault struct {
	At               document.Pos
	Path             string
	Message, Suggest string
}

func (d *Decoder) wrong(at document.Pos, path, suggest, format string, args ...any) {
	d.Found = append(d.Found, Fault{At: at, Path: path, Message: fmt.Sprintf(format, args...), Suggest: suggest})
}

func (d *Decoder) err() error {
	var all *multierror.Error
	for _, f := range d.Found {
		all = multierror.Append(all, &Problem{Field: f.Path, Message: f.Message, Suggest: f.Suggest})
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

// Object fills the fields of a struct.
func (d *Decoder) Object(rv reflect.Value, sh *Shape, v *document.Value, path string) {
	if v.Form == document.Null {
		v = &document.Value{Form: document.Object, Pos: v.Pos}
	}
	if v.Form != document.Object {
		d.wrong(v.Pos, path, "fields: "+suggest.AndMore(sh.Names(), 12), "%s is not an object", v)
		return
	}
	meant := map[string]bool{}
	for _, p := range v.Pairs {
		fd := sh.Find(p.Key)
		below := document.Join(path, p.Key)
		if p.Shared {
			below = "shared." + p.Key
		}
		if fd == nil {
			meant[suggest.Nearest(p.Key, sh.Names())] = true
			d.wrong(p.Pos, below, suggest.DidYouMeanOr(p.Key, sh.Names(), "fields"), "unknown field %q", p.Key)
			continue
		}
		d.Field(rv.FieldByIndex(fd.index), fd, p.Val, below)
	}
	for _, fd := range sh.Fields {
		if v.Pair(fd.Name) != nil || meant[fd.Name] {
			continue // misspelt is not missing too
		}
		if fd.required {
			d.Found = append(d.Found, Fault{
				At: v.Name(), Path: path,
				Message: fmt.Sprintf("%s is missing", fd.Name), Suggest: wantText(fd),
			})
			continue
		}
		d.defaults(rv.FieldByIndex(fd.index), fd)
	}
}

// wantText says what a field is for, as a suggestion.
func wantText(fd *Field) string {
	s := "it is " + fd.Shape.Type.Article()
	if fd.Shape.Type.Sort == Any {
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
func (d *Decoder) defaults(rv reflect.Value, fd *Field) {
	if fd.std != nil {
		if rv.IsZero() {
			sub := Decoder{Resolved: true}
			sub.into(rv, fd, fd.std, fd.Name)
		}
		return
	}
	if rv.Kind() == reflect.Struct && fd.Shape.Type.Sort == Object {
		for _, inner := range fd.Shape.Fields {
			d.defaults(rv.FieldByIndex(inner.index), inner)
		}
	}
}

// Field fills one field, and holds it to its bounds.
func (d *Decoder) Field(rv reflect.Value, fd *Field, v *document.Value, path string) {
	if v.Bad {
		return
	}
	if v.Form == document.Null {
		if rv.Kind() == reflect.Pointer || fd.Shape.Type.Sort == Any && fd.Shape.union == nil || d.Resolved && !fd.required {
			return
		}
		d.wrong(v.Name(), path, "give it a value or remove it", "%s is empty", fd.Name)
		return
	}
	d.into(rv, fd, v, path)
}

// into fills any value; fd is the field whose bounds hold inside it.
func (d *Decoder) into(rv reflect.Value, fd *Field, v *document.Value, path string) {
	sh := fd.Shape
	if v.Bad {
		return
	}
	if v.Ref && !d.Resolved {
		if d.Reference != nil {
			d.Reference(v, fd, path)
		}
		if v.Known == nil {
			return
		}
		at, literal := v.Pos, v.Literal()
		if v = v.Known; fd.Shape.Type.Sort != Text {
			v = literal
		}
		v.Pos = at
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
	case sh.Type.Sort == Object:
		d.Object(rv, sh, v, path)
	case sh.Type.Sort == List:
		d.list(rv, fd, v, path)
	case sh.Type.Sort == Map:
		d.dict(rv, fd, v, path)
	case sh.Type.Sort == File:
		d.artefact(rv, sh.Type, v, path)
	case sh.Type.Sort == Hidden:
		d.secret(rv, fd, v, path)
	case sh.Type.Sort == Any:
		d.anything(rv, fd, v, path)
	default:
		d.scalar(rv, fd, v, path)
	}
}

func (d *Decoder) list(rv reflect.Value, fd *Field, v *document.Value, path string) {
	if v.Form != document.List {
		suggest := ""
		if v.Form == document.Number || v.Form == document.Text {
			suggest = fmt.Sprintf("write [%s]", v.Text)
		}
		d.wrong(v.Pos, path, suggest, "%s is not %s", v, fd.Shape.Type.Article())
		return
	}
	if rv.Kind() == reflect.Array {
		if len(v.Items) != rv.Len() {
			d.wrong(v.Pos, path, "", "has %d values, it needs %d", len(v.Items), rv.Len())
			return
		}
	} else {
		rv.Set(reflect.MakeSlice(rv.Type(), len(v.Items), len(v.Items)))
	}
	inner := fd.Inner()
	for i, e := range v.Items {
		at := fmt.Sprintf("%s[%d]", path, i)
		if e.Form == document.Null {
			d.wrong(e.Pos, at, "remove it or give it a value", "is empty")
			continue
		}
		d.into(rv.Index(i), inner, e, at)
	}
}

func (d *Decoder) dict(rv reflect.Value, fd *Field, v *document.Value, path string) {
	if v.Form != document.Object {
		d.wrong(v.Pos, path, "", "%s is not %s", v, fd.Shape.Type.Article())
		return
	}
	rv.Set(reflect.MakeMapWithSize(rv.Type(), len(v.Pairs)))
	inner := fd.Inner()
	for _, p := range v.Pairs {
		ev := reflect.New(rv.Type().Elem()).Elem()
		if p.Val.Form == document.Null && inner.Shape.Type.Sort != Any {
			d.wrong(p.Pos, document.Join(path, p.Key), "give it a value or remove it", "%s is empty", p.Key)
			continue
		}
		d.into(ev, inner, p.Val, document.Join(path, p.Key))
		rv.SetMapIndex(reflect.ValueOf(p.Key).Convert(rv.Type().Key()), ev)
	}
}

// Inner is the field as its elements see it: same bounds, their shape.
func (fd *Field) Inner() *Field {
	in := *fd
	in.Shape = fd.Shape.elem
	return &in
}

func (d *Decoder) artefact(rv reflect.Value, t Type, v *document.Value, path string) {
	switch v.Form {
	case document.Text:
		if v.Text == "" {
			d.wrong(v.Pos, path, "", "a path is empty")
			return
		}
		d.tell(v, t, path)
		rv.Set(reflect.ValueOf(Artefact{Of: t.Holds, Path: Absolute(d.Dir, v.Text)}))
	case document.Object:
		d.reference(rv, t, v, path)
	default:
		d.wrong(v.Pos, path, "a reference ${{ steps.x.field }}, an input or a path", "%s is not %s", v, t.Article())
	}
}

func (d *Decoder) tell(v *document.Value, t Type, path string) {
	if d.Path != nil {
		d.Path(v, t, path)
	}
}

func (d *Decoder) reference(rv reflect.Value, t Type, v *document.Value, path string) {
	a := Artefact{Of: t.Holds}
	for _, p := range v.Pairs {
		if p.Val.Form != document.Text {
			d.wrong(p.Val.Pos, document.Join(path, p.Key), "", "%s is not text", p.Val)
			return
		}
		switch p.Key {
		case "artefact":
			a.Of = p.Val.Text
		case "digest":
			a.Digest = p.Val.Text
		case "path":
			a.Path = Absolute(d.Dir, p.Val.Text)
		default:
			d.wrong(p.Pos, path, "an artefact is a path or a reference", "unknown field %q", p.Key)
			return
		}
	}
	if !t.Takes(Type{Sort: File, Holds: a.Of}) {
		d.wrong(v.Pos, path, "", "is %s, it needs %s", Type{Sort: File, Holds: a.Of}.Article(), t.Article())
		return
	}
	if a.IsZero() {
		d.wrong(v.Pos, path, "", "an artefact needs a digest or a path")
		return
	}
	rv.Set(reflect.ValueOf(a))
}
