package field

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"

	"calrun/pipeline/canonical"
	"calrun/pipeline/document"
)

func (d *Decoder) union(rv reflect.Value, fd *Field, v *document.Value, path string) {
	d.nested(fd, v, path)
	if v.Dynamic() && !d.Resolved {
		return
	}
	var tree any
	if v.Form == document.Text && fd.Shape.Type.Holds != "" {
		d.tell(v, fd.Shape.Type, path)
		tree = map[string]any{"artefact": fd.Shape.Type.Holds, "digest": "", "path": Absolute(d.Dir, v.Text)}
	} else {
		tree = v.Plain()
	}
	raw, err := canonical.Encode(tree)
	if err == nil {
		err = rv.Addr().Interface().(json.Unmarshaler).UnmarshalJSON(raw)
	}
	if err == nil {
		return
	}
	var at *Problem
	if errors.As(err, &at) {
		d.wrong(v.Place(at.Field), document.JoinField(path, at.Field), at.Suggest, "%s", at.Message)
		return
	}
	d.wrong(v.Pos, path, "", "%v", err)
}

// nested reports the references inside a value of which only the kind knows
// the form.
func (d *Decoder) nested(fd *Field, v *document.Value, path string) {
	if d.Reference == nil || d.Resolved {
		return
	}
	loose := &Field{Name: fd.Name, Shape: &Shape{}}
	for i, e := range v.Items {
		at := fmt.Sprintf("%s[%d]", path, i)
		if e.Ref {
			d.Reference(e, loose, at)
		}
		d.nested(fd, e, at)
	}
	for _, p := range v.Pairs {
		at := document.Join(path, p.Key)
		if p.Val.Ref {
			d.Reference(p.Val, loose, at)
		}
		d.nested(fd, p.Val, at)
	}
}

func (d *Decoder) anything(rv reflect.Value, fd *Field, v *document.Value, path string) {
	d.nested(fd, v, path)
	if v.Dynamic() && !d.Resolved {
		return
	}
	raw, err := canonical.Encode(v.Plain())
	if err != nil {
		d.wrong(v.Pos, path, "", "%v", err)
		return
	}
	if rv.Type() == rawGo {
		rv.SetBytes(raw)
		return
	}
	if err := json.Unmarshal(raw, rv.Addr().Interface()); err != nil {
		d.wrong(v.Pos, path, "", "%v", err)
	}
}
