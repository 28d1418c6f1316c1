package pipeline

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
)

// walker goes through the JSON of a `with` side by side with the Go type that
// it will be decoded into.
type walker struct {
	identity bool                                          // leave out fields tagged key:"-"
	artefact func(sort string, v map[string]any) (new any) // replaces the value of an artefact; nil leaves it
}

// value returns v, changed. sort is the tag of the field that holds it.
func (w walker) value(t reflect.Type, sort string, v any) any {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch x := v.(type) {
	case string: // a path, as people write it
		if t == artefactType && w.artefact != nil {
			return w.artefact(sort, map[string]any{"path": x})
		}
	case map[string]any:
		switch {
		case t == artefactType && w.artefact != nil:
			return w.artefact(sort, x)
		case t == artefactType:
		case t.Kind() == reflect.Struct:
			w.fields(t, x)
		case t.Kind() == reflect.Map:
			for _, k := range sortedKeys(x) {
				x[k] = w.value(t.Elem(), sort, x[k])
			}
		}
	case []any:
		if t.Kind() == reflect.Slice || t.Kind() == reflect.Array {
			for i := range x {
				x[i] = w.value(t.Elem(), sort, x[i])
			}
		}
	}
	return v
}

func (w walker) fields(t reflect.Type, x map[string]any) {
	for i := range t.NumField() {
		f := t.Field(i)
		if !f.IsExported() {
			continue
		}
		if f.Anonymous || strings.HasSuffix(f.Tag.Get("yaml"), ",inline") {
			w.value(f.Type, "", x)
			continue
		}
		name := fieldName(f)
		v, there := x[name]
		if !there {
			continue
		}
		if w.identity && f.Tag.Get("key") == "-" {
			delete(x, name)
			continue
		}
		x[name] = w.value(f.Type, f.Tag.Get("artefact"), v)
	}
}

// decodeNumbers decodes JSON and keeps the text of its numbers.
func decodeNumbers(raw json.RawMessage) (v any, err error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	err = dec.Decode(&v)
	return v, err
}
