package pipeline

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
)

func (d *decoder) union(rv reflect.Value, fd *field, v *value, path string) {
	d.nested(fd, v, path)
	if v.dynamic() && !d.resolved {
		return
	}
	var tree any
	if v.form == isText && fd.shape.typ.Holds != "" {
		d.tell(v, fd.shape.typ, path)
		tree = map[string]any{"artefact": fd.shape.typ.Holds, "digest": "", "path": absolute(d.dir, v.text)}
	} else {
		tree = v.plainJSON()
	}
	raw, err := encode(tree)
	if err == nil {
		err = rv.Addr().Interface().(json.Unmarshaler).UnmarshalJSON(raw)
	}
	if err == nil {
		return
	}
	var at *FieldProblem
	if errors.As(err, &at) {
		d.wrong(v.walk(at.Field), joinField(path, at.Field), at.Suggest, "%s", at.Message)
		return
	}
	d.wrong(v.pos, path, "", "%v", err)
}

// nested reports the references inside a value of which only the kind knows
// the form.
func (d *decoder) nested(fd *field, v *value, path string) {
	if d.template == nil || d.resolved {
		return
	}
	loose := &field{name: fd.name, shape: &shape{}}
	for i, e := range v.items {
		at := fmt.Sprintf("%s[%d]", path, i)
		if e.tmpl != nil {
			d.template(e, loose, at)
		}
		d.nested(fd, e, at)
	}
	for _, p := range v.pairs {
		at := join(path, p.key)
		if p.val.tmpl != nil {
			d.template(p.val, loose, at)
		}
		d.nested(fd, p.val, at)
	}
}

func (d *decoder) anything(rv reflect.Value, fd *field, v *value, path string) {
	d.nested(fd, v, path)
	if v.dynamic() && !d.resolved {
		return
	}
	raw, err := encode(v.plainJSON())
	if err != nil {
		d.wrong(v.pos, path, "", "%v", err)
		return
	}
	if rv.Type() == rawGo {
		rv.SetBytes(raw)
		return
	}
	if err := json.Unmarshal(raw, rv.Addr().Interface()); err != nil {
		d.wrong(v.pos, path, "", "%v", err)
	}
}

// walk follows a path such as "range[1]" as far as it goes and says where
// that is.
func (v *value) walk(path string) pos {
	at := v
	for path != "" {
		path = strings.TrimPrefix(path, ".")
		end := strings.IndexAny(path[min(1, len(path)):], ".[") + 1
		if end <= 0 {
			end = len(path)
		}
		name := path[:end]
		path = path[end:]
		var next *value
		if strings.HasPrefix(name, "[") {
			i, err := strconv.Atoi(strings.Trim(name, "[]"))
			if err == nil && i >= 0 && i < len(at.items) {
				next = at.items[i]
			}
		} else {
			if p := at.pair(name); p != nil {
				if path == "" && p.val.form == isObject {
					return p.pos
				}
				next = p.val
			}
		}
		if next == nil {
			return at.pos
		}
		at = next
	}
	return at.pos
}

func joinField(path, field string) string {
	if field == "" {
		return path
	}
	if strings.HasPrefix(field, "[") {
		return path + field
	}
	return join(path, field)
}
