package field

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	"calrun/pipeline/document"

	"github.com/xeipuuv/gojsonschema"
)

const (
	refPattern = `^\s*\$\{\{.*\}\}\s*$`
	// SpanPattern is a duration as plans write it.
	SpanPattern = `^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$`
)

// Schema is the JSON schema of a shape. required fields are named on request.
func (sh *Shape) Schema(required bool) map[string]any {
	switch {
	case sh.union != nil:
		return sh.union()
	case sh.Go == rawGo || sh.Type.Sort == Any:
		return map[string]any{}
	}
	switch sh.Type.Sort {
	case Bool:
		return map[string]any{"type": "boolean"}
	case Text:
		return map[string]any{"type": "string"}
	case Number:
		if sh.Type.Whole {
			return map[string]any{"type": "integer"}
		}
		return map[string]any{"type": "number"}
	case Span:
		return map[string]any{"type": "string", "pattern": SpanPattern}
	case File:
		return map[string]any{"type": "string"}
	case Hidden:
		return sh.secretSchema()
	case List:
		out := map[string]any{"type": "array", "items": orReference(sh.elem.Schema(true), sh.elem)}
		if sh.Go.Kind() == reflect.Array {
			out["minItems"], out["maxItems"] = sh.Go.Len(), sh.Go.Len()
		}
		return out
	case Map:
		return map[string]any{"type": "object", "additionalProperties": orReference(sh.elem.Schema(true), sh.elem)}
	}
	props, must := map[string]any{}, []any{}
	for _, fd := range sh.Fields {
		if fd.Fill != "" {
			continue
		}
		props[fd.Name] = fd.Schema(true)
		if fd.required {
			must = append(must, fd.Name)
		}
	}
	out := map[string]any{"type": "object", "additionalProperties": false, "properties": props}
	if required && len(must) > 0 {
		out["required"] = must
	}
	return out
}

// Schema is the schema of a field, with its bounds, its default and the
// reference that may stand in its place.
func (fd *Field) Schema(required bool) map[string]any {
	sch := fd.Shape.Schema(required)
	fd.bound(sch, fd.Shape)
	sch = orReference(sch, fd.Shape)
	if fd.doc != "" {
		sch["description"] = fd.doc
	}
	if fd.std != nil {
		sch["default"] = fd.std.Plain()
	}
	return sch
}

// bound lays min, max and enum on the innermost element, as the decoder does.
func (fd *Field) bound(sch map[string]any, sh *Shape) {
	for sh.elem != nil {
		key := "items"
		if sh.Type.Sort == Map {
			key = "additionalProperties"
		}
		next, _ := sch[key].(map[string]any)
		if either, ok := next["anyOf"].([]any); ok && len(either) == 2 && sh.elem.union == nil {
			next, _ = either[0].(map[string]any)
		}
		if next == nil {
			return
		}
		sch, sh = next, sh.elem
	}
	if sh.Type.Sort == Number {
		if fd.min != nil {
			sch["minimum"] = json.Number(fd.minText)
		}
		if fd.max != nil {
			sch["maximum"] = json.Number(fd.maxText)
		}
	}
	if len(fd.enum) > 0 && sh.Type.Sort == Text {
		all := make([]any, len(fd.enum))
		for i, e := range fd.enum {
			all[i] = e
		}
		sch["enum"] = all
	}
}

// orReference lets ${{ }} stand for any value but a plain text, which may
// hold one anyway.
func orReference(sch map[string]any, sh *Shape) map[string]any {
	_, enum := sch["enum"]
	_, pattern := sch["pattern"]
	if len(sch) == 0 || (sh.Type.Sort == Text || sh.Type.Sort == File) && !enum && !pattern {
		return sch
	}
	return map[string]any{"anyOf": []any{sch, map[string]any{"type": "string", "pattern": refPattern}}}
}

// Validate holds a value to the JSON schema, so that an editor and calrun
// never disagree. What only a run knows is passed over.
func (sh *Shape) Validate(v *document.Value) ([]Problem, error) {
	sch, err := sh.compiled()
	if err != nil {
		return nil, err
	}
	res, err := sch.Validate(gojsonschema.NewRawLoader(v.Written()))
	if err != nil {
		return nil, nil // no JSON: a number out of range, which the reader has refused
	}
	var out []Problem
	for _, e := range res.Errors() {
		if wrapper(e) {
			continue
		}
		where := strings.Split(e.Context().String("\x00"), "\x00")[1:]
		field := strings.Join(where, ".")
		if v.UnknownAt(field) {
			continue // what a reference will put there, the decoder checks
		}
		out = append(out, Problem{Field: field, Message: strings.ToLower(e.Description())})
	}
	return out, nil
}

// wrapper says whether an error only repeats that one below it is there.
func wrapper(e gojsonschema.ResultError) bool {
	switch e.Type() {
	case "number_any_of", "number_one_of", "number_all_of", "condition_then", "condition_else":
		return true
	}
	return false
}

// compiled is the schema that values are held to; it is compiled once.
func (sh *Shape) compiled() (*gojsonschema.Schema, error) {
	var err error
	sh.compile.Do(func() {
		sh.schema, err = gojsonschema.NewSchema(gojsonschema.NewGoLoader(sh.Schema(false)))
	})
	if err == nil && sh.schema == nil {
		err = fmt.Errorf("it does not compile")
	}
	return sh.schema, err
}
