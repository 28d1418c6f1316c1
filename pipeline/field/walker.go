package field

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"calrun/pipeline/canonical"
)

// ImportPaths returns a `with` in which every artefact that is a path, of a
// field of the struct into, has the digest that digest finds for it.
func ImportPaths(into any, with json.RawMessage, digest func(path string) (string, error)) (json.RawMessage, error) {
	tree, err := canonical.Decode(with)
	if err != nil {
		return nil, fmt.Errorf("with: %w", err)
	}
	var failure error
	w := walker{artefact: func(sort string, v map[string]any) any {
		path, ok := v["path"].(string)
		if !ok {
			return v
		}
		found, err := digest(path)
		failure = errors.Join(failure, err)
		return map[string]any{"artefact": sort, "digest": found}
	}}
	tree = w.value(reflect.TypeOf(into), "", tree)
	if failure != nil {
		return nil, failure
	}
	return canonical.JSON(tree)
}

// walker goes through the JSON of a `with` side by side with the Go type that
// it will be decoded into.
type walker struct {
	artefact func(sort string, v map[string]any) (new any) // replaces the value of an artefact
}

// value returns v, changed. sort is the tag of the field that holds it.
func (w walker) value(t reflect.Type, sort string, v any) any {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch x := v.(type) {
	case string: // a path, as people write it
		if t == artefactType {
			return w.artefact(sort, map[string]any{"path": x})
		}
	case map[string]any:
		switch {
		case t == artefactType:
			return w.artefact(sort, x)
		case t == secretType: // its file stays where it is
		case t.Kind() == reflect.Struct:
			w.fields(t, x)
		case t.Kind() == reflect.Map:
			for _, k := range slices.Sorted(maps.Keys(x)) {
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
		if v, there := x[name]; there {
			x[name] = w.value(f.Type, f.Tag.Get("artefact"), v)
		}
	}
}
