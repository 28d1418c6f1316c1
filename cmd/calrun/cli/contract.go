package cli

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"calrun/pipeline"
	kindfield "calrun/pipeline/field"
	"calrun/steps"
)

// draft is the JSON schema's dialect of all that calrun publishes.
const draft = "http://json-schema.org/draft-07/schema#"

// Schemas are the documents that calrun reads and writes, by the name that
// `calrun schema` knows them by; each is generated from the Go type that makes
// or takes them. Within v1 fields are added, never renamed or given another
// meaning: a reader passes over what it does not know.
func Schemas(kinds *pipeline.Kinds) map[string]map[string]any {
	return map[string]map[string]any{
		"plan":  pipeline.Schema(kinds),
		"run":   titled(jsonSchema(reflect.TypeFor[document]()), "calrun run", "What run, resume and show print with --json."),
		"event": titled(jsonSchema(reflect.TypeFor[eventLine]()), "calrun event", "A line of run --events and of calrun events."),
		"exec":  execSchema(),
		"step":  stepSchemas(kinds),

		"compare": titled(jsonSchema(reflect.TypeFor[comparisonDoc]()), "calrun compare", "What compare prints with --json."),
	}
}

func titled(sch map[string]any, title, doc string) map[string]any {
	sch["$schema"], sch["title"], sch["description"] = draft, title, doc
	if props, ok := sch["properties"].(map[string]any); ok && props["calrun"] != nil {
		props["calrun"] = map[string]any{"const": "v1"}
	}
	return sch
}

// jsonSchema is the schema of what encoding/json makes of a type. A list or map
// that may be nil may be null.
func jsonSchema(t reflect.Type) map[string]any {
	switch t {
	case reflect.TypeFor[json.RawMessage]():
		return map[string]any{}
	case reflect.TypeFor[time.Time]():
		return map[string]any{"type": "string", "format": "date-time"}
	case reflect.TypeFor[pipeline.Artefact]():
		return artefactSchema("")
	}
	switch t.Kind() {
	case reflect.Pointer:
		return orNull(jsonSchema(t.Elem()))
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.String:
		return map[string]any{"type": "string"}
	case reflect.Float32, reflect.Float64:
		return map[string]any{"type": "number"}
	case reflect.Int, reflect.Int64, reflect.Uint64, reflect.Int32, reflect.Uint32:
		return map[string]any{"type": "integer"}
	case reflect.Slice, reflect.Array:
		return orNull(map[string]any{"type": "array", "items": jsonSchema(t.Elem())})
	case reflect.Map:
		return orNull(map[string]any{"type": "object", "additionalProperties": jsonSchema(t.Elem())})
	case reflect.Struct:
		props, must := map[string]any{}, []any{}
		jsonFields(t, props, &must)
		out := map[string]any{"type": "object", "properties": props}
		if len(must) > 0 {
			out["required"] = must
		}
		return out
	}
	return map[string]any{}
}

func jsonFields(t reflect.Type, props map[string]any, must *[]any) {
	for i := range t.NumField() {
		f := t.Field(i)
		name, opts, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case name == "-" || !f.IsExported() && !f.Anonymous:
			continue
		case f.Anonymous && name == "":
			jsonFields(f.Type, props, must)
			continue
		case name == "":
			name = f.Name
		}
		sch := jsonSchema(f.Type)
		if doc := f.Tag.Get("doc"); doc != "" {
			sch["description"] = doc
		}
		props[name] = sch
		if !strings.Contains(opts, "omit") {
			*must = append(*must, name)
		}
	}
}

// orNull lets null stand for a value.
func orNull(sch map[string]any) map[string]any {
	if t, ok := sch["type"].(string); ok {
		sch["type"] = []any{t, "null"}
	}
	return sch
}

// artefactSchema is a file or folder in a result; path is there where somebody
// has to find it: in the result of a lone step, and in what exec gives a
// program.
func artefactSchema(of string) map[string]any {
	sort := map[string]any{"type": "string"}
	if of != "" && of != "file" && of != "dir" {
		sort = map[string]any{"const": of}
	}
	return map[string]any{
		"type": "object", "required": []any{"artefact", "digest"},
		"properties": map[string]any{
			"artefact": sort,
			"digest":   map[string]any{"type": "string", "pattern": "^(sha256:[0-9a-f]{64})?$"},
			"path":     map[string]any{"type": "string"},
		},
	}
}

// resultSchema is the schema of a result's type.
func resultSchema(t pipeline.Type) map[string]any {
	switch t.Sort {
	case kindfield.Bool:
		return map[string]any{"type": "boolean"}
	case kindfield.Text, kindfield.Span:
		return map[string]any{"type": "string"}
	case kindfield.Number:
		if t.Whole {
			return map[string]any{"type": "integer"}
		}
		return map[string]any{"type": "number"}
	case kindfield.File:
		return artefactSchema(t.Holds)
	case kindfield.List:
		return orNull(map[string]any{"type": "array", "items": resultSchema(*t.Elem)})
	case kindfield.Map:
		return orNull(map[string]any{"type": "object", "additionalProperties": resultSchema(*t.Elem)})
	case kindfield.Object:
		props, must := map[string]any{}, []any{}
		for _, m := range t.Members {
			p := resultSchema(m.Type)
			if m.Type.Opt {
				p = orNull(p)
			} else {
				must = append(must, m.Name)
			}
			if m.Doc != "" {
				p["description"] = m.Doc
			}
			props[m.Name] = p
		}
		out := map[string]any{"type": "object", "properties": props}
		if len(must) > 0 {
			out["required"] = must
		}
		return out
	}
	return map[string]any{}
}

// stepSchemas are, for each kind, what `calrun step KIND --with` takes and what
// it prints.
func stepSchemas(kinds *pipeline.Kinds) map[string]any {
	defs := map[string]any{}
	for _, k := range kinds.All() {
		defs[k.Name] = stepSchema(k)
	}
	return map[string]any{
		"$schema": draft, "title": "calrun step", "definitions": defs,
		"description": "For each kind: with is what `calrun step KIND --with FILE` reads (YAML or JSON), result what it prints on standard output. Exit codes: 0 done, 2 the fields are wrong, 3 the step could not work, 130 interrupted.",
	}
}

func stepSchema(k *pipeline.Kind) map[string]any {
	result := map[string]any{"type": "object", "description": "the fields that `result` of the step declares"}
	if t, err := k.ResultType(k.New()); err == nil && len(t.Members) > 0 {
		result = resultSchema(t)
	}
	return map[string]any{
		"description": k.Doc, "type": "object", "required": []any{"with", "result"},
		"properties": map[string]any{"with": k.Schema(), "result": result},
	}
}

// execSchema is what a program of exec reads and prints.
func execSchema() map[string]any {
	request := jsonSchema(reflect.TypeFor[steps.ExecRequest]())
	props := request["properties"].(map[string]any)
	props["calrun"] = map[string]any{"const": "v1"}
	return map[string]any{
		"$schema": draft, "title": "calrun exec",
		"description": "The contract between exec and its program. stdin is one document of the first form, stdout one of the second and nothing else; stderr is the step's log. Exit code 0 is done, all others an error of the step. SIGTERM asks it to stop, its whole process group is killed 5 seconds later.",
		"definitions": map[string]any{
			"stdin": request,
			"stdout": map[string]any{
				"type": "object", "description": "exactly the fields that `result` declares: number, boolean, text, list or map of the declared type; a declared file or dir is the path of it, below \"dir\" or relative to it",
			},
		},
	}
}

// schemaNamed finds one schema; KIND is wanted by step alone.
func (a *app) schemaNamed(given []string) (map[string]any, error) {
	name := "plan"
	if len(given) > 0 {
		name = given[0]
	}
	all := Schemas(a.kinds)
	sch, known := all[name]
	switch {
	case !known:
		names := slices.Sorted(maps.Keys(all))
		return nil, usageError{fmt.Errorf("there is no schema %q%s; there are %s", name, didYouMean(name, names), strings.Join(names, ", "))}
	case len(given) == 2 && name != "step":
		return nil, usageError{fmt.Errorf("schema %s takes no name after it; schema step KIND does", name)}
	case len(given) == 2:
		k, err := a.kind(given[1])
		if err != nil {
			return nil, err
		}
		sch = stepSchema(k)
		sch["$schema"], sch["title"] = draft, "calrun step "+k.Name
	}
	return sch, nil
}
