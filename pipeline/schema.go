package pipeline

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	"github.com/xeipuuv/gojsonschema"
)

const (
	refPattern  = `^\s*\$\{\{.*\}\}\s*$`
	spanPattern = `^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$`
)

// Schema is the JSON schema (draft-07) of a kind's `with`. Any value may also
// be a reference ${{ }}.
func (k *Kind) Schema() map[string]any {
	sch := k.described().json(true)
	sch["description"] = k.Doc
	return sch
}

// Schema is the JSON schema (draft-07) of a plan that uses these kinds: what
// an editor checks while the plan is written. Required fields of a `with` are
// not in it, since `shared` may give them.
func (ks *Kinds) Schema() map[string]any {
	step, remedy := stepSchema(), remedySchema()
	var stepRules, remedyRules []any
	names := []any{}
	for _, k := range ks.All() {
		names = append(names, k.Name)
		with := k.described().json(false)
		with["description"], with["title"] = k.Doc, k.Name
		rule := map[string]any{
			"if":   map[string]any{"properties": map[string]any{"uses": map[string]any{"const": k.Name}}, "required": []any{"uses"}},
			"then": map[string]any{"properties": map[string]any{"with": with}},
		}
		stepRules = append(stepRules, rule)
		remedyRules = append(remedyRules, rule)
	}
	gate := gateSchema()
	step["properties"].(map[string]any)["uses"] = map[string]any{"enum": append(append([]any{}, names...), gateUses), "description": "the kind of step"}
	remedy["properties"].(map[string]any)["uses"] = map[string]any{"enum": names, "description": "the kind of step"}
	for key, sch := range gate["properties"].(map[string]any) {
		props := step["properties"].(map[string]any)
		if props[key] == nil {
			props[key] = sch
		}
	}
	step["allOf"] = append(stepRules, gateRule()...)
	remedy["allOf"] = remedyRules
	return hoist(map[string]any{
		"$schema":              "http://json-schema.org/draft-07/schema#",
		"title":                "calrun plan",
		"description":          "A calibration plan: which engine, which workload, which simulator, what error is tolerable, and what to do when it is not.",
		"type":                 "object",
		"additionalProperties": false,
		"required":             []any{"version", "name", "steps"},
		"properties": map[string]any{
			"version":  map[string]any{"const": Version},
			"name":     map[string]any{"type": "string", "pattern": planName.String(), "description": "runs are filed under it"},
			"doc":      text("what the plan is for"),
			"inputs":   byName(inputSchema(), "values that the plan asks for: ${{ inputs.NAME }}"),
			"shared":   ks.sharedSchema(),
			"limits":   described(shapeOf(reflect.TypeFor[limitsFile](), "").json(true), "when a run ends however its routes stand"),
			"steps":    byName(step, "steps and gates; a reference ${{ steps.NAME.FIELD }} is what orders them"),
			"remedies": byName(remedy, "steps that run only when a route of a gate calls them"),
		},
	})
}

// sharedSchema offers the fields of all kinds. Fields of one name may differ
// between kinds: then any of their forms will do.
func (ks *Kinds) sharedSchema() map[string]any {
	forms := map[string][]any{}
	seen := map[string]bool{}
	for _, k := range ks.All() {
		for _, fd := range k.described().fields {
			if fd.fill != "" {
				continue
			}
			sch := fd.json(false)
			raw, err := encode(sch)
			if key := fd.name + string(raw); err == nil && !seen[key] {
				seen[key] = true
				forms[fd.name] = append(forms[fd.name], sch)
			}
		}
	}
	props := map[string]any{}
	for name, list := range forms {
		props[name] = list[0]
		if len(list) > 1 {
			props[name] = map[string]any{"anyOf": list}
		}
	}
	return map[string]any{
		"type": "object", "additionalProperties": false, "properties": props,
		"description": "given to every step whose kind declares the field and does not set it itself",
	}
}

func text(doc string) map[string]any {
	return map[string]any{"type": "string", "description": doc}
}

func described(sch map[string]any, doc string) map[string]any {
	sch["description"] = doc
	return sch
}

func byName(of map[string]any, doc string) map[string]any {
	return map[string]any{
		"type": "object", "description": doc, "additionalProperties": false,
		"patternProperties": map[string]any{nameRule.String(): of},
	}
}

func object(doc string, required []any, props map[string]any) map[string]any {
	sch := map[string]any{"type": "object", "description": doc, "additionalProperties": false, "properties": props}
	if len(required) > 0 {
		sch["required"] = required
	}
	return sch
}

func inputSchema() map[string]any {
	return object("one value that the plan asks for", []any{"type"}, map[string]any{
		"type":    map[string]any{"enum": []any{"string", "int", "float", "bool", "file", "dir"}, "description": "what it is"},
		"default": map[string]any{"type": []any{"string", "number", "boolean"}, "description": "its value if none is given; paths are relative to the plan"},
		"doc":     text("one line on what it is"),
	})
}

func commonSchema() map[string]any {
	list := map[string]any{"anyOf": []any{map[string]any{"type": "array", "items": map[string]any{"type": "string"}}, map[string]any{"type": "string"}}}
	copyOf := func(doc string) map[string]any { return map[string]any{"anyOf": list["anyOf"], "description": doc} }
	retry := shapeOf(reflect.TypeFor[retryFile](), "").json(true)
	return map[string]any{
		"uses":    text("the kind of step"),
		"doc":     text("what the step is for"),
		"needs":   copyOf("steps and gates that must be done, or passed, before"),
		"timeout": map[string]any{"type": "string", "pattern": spanPattern, "description": "longest time of one attempt"},
		"locks":   copyOf("names of what no two steps on this host may use at once"),
		"retry":   map[string]any{"anyOf": []any{retry, map[string]any{"type": "integer", "minimum": 0}}, "description": "further attempts after an error"},
		"with":    map[string]any{"type": []any{"object", "null"}, "description": "the fields of the kind"},
	}
}

func pick(props map[string]any, keys []string) map[string]any {
	out := map[string]any{}
	for _, k := range keys {
		if props[k] != nil {
			out[k] = props[k]
		}
	}
	return out
}

func stepSchema() map[string]any {
	return object("a step or a gate", []any{"uses"}, pick(commonSchema(), stepKeys))
}

func remedySchema() map[string]any {
	props := pick(commonSchema(), remedyKeys)
	props["sets"] = map[string]any{"type": "object", "additionalProperties": map[string]any{"type": "string"}, "description": "step.field: field of this remedy's result"}
	props["forget"] = map[string]any{"anyOf": []any{map[string]any{"type": "array", "items": map[string]any{"type": "string"}}, map[string]any{"type": "string"}}, "description": "remedies whose overrides this one makes void"}
	return object("a step that runs only when a route calls it", []any{"uses"}, props)
}

func gateSchema() map[string]any {
	conditions := map[string]any{"type": "object", "patternProperties": map[string]any{nameRule.String(): map[string]any{"type": "string"}}, "additionalProperties": false}
	with := func(doc string) map[string]any {
		out := map[string]any{"description": doc}
		for k, v := range conditions {
			out[k] = v
		}
		return out
	}
	route := object("what to do when the gate has not passed", []any{"when"}, map[string]any{
		"when": text("condition over passed.x, failed.x, unsure.x, steps. and inputs."),
		"run":  text("the remedy to run"),
		"set":  map[string]any{"type": "object", "description": "step.field: value"},
		"max":  map[string]any{"type": "integer", "minimum": 1, "maximum": 1000, "default": 1, "description": "most visits in a run"},
	})
	return object("a judgement over the result of one step", []any{"uses", "of", "assert"}, map[string]any{
		"uses":   map[string]any{"const": gateUses},
		"doc":    text("what the gate is for"),
		"needs":  commonSchema()["needs"],
		"of":     text("the step whose result it judges"),
		"assert": with("name: condition over the result; all must hold"),
		"warn":   with("name: condition over the result, shown without a say in the verdict"),
		"routes": map[string]any{"type": "array", "items": route, "description": "tried in order; the first that holds is taken"},
	})
}

// gateRule separates the keys of gates from those of steps.
func gateRule() []any {
	isGate := map[string]any{"properties": map[string]any{"uses": map[string]any{"const": gateUses}}, "required": []any{"uses"}}
	never := func(keys ...string) map[string]any {
		props := map[string]any{}
		for _, k := range keys {
			props[k] = false
		}
		return props
	}
	return []any{map[string]any{
		"if":   isGate,
		"then": map[string]any{"required": []any{"of", "assert"}, "properties": never("with", "timeout", "locks", "retry")},
		"else": map[string]any{"properties": never("of", "assert", "warn", "routes")},
	}}
}

// json is the JSON schema of a shape. required fields are named on request.
func (sh *shape) json(required bool) map[string]any {
	switch {
	case sh.union != nil:
		return sh.union()
	case sh.rt == rawGo || sh.typ.Sort == Any:
		return map[string]any{}
	}
	switch sh.typ.Sort {
	case Bool:
		return map[string]any{"type": "boolean"}
	case Text:
		return map[string]any{"type": "string"}
	case Number:
		if sh.typ.Whole {
			return map[string]any{"type": "integer"}
		}
		return map[string]any{"type": "number"}
	case Span:
		return map[string]any{"type": "string", "pattern": spanPattern}
	case File:
		return map[string]any{"type": "string"}
	case List:
		out := map[string]any{"type": "array", "items": orReference(sh.elem.json(true), sh.elem)}
		if sh.rt.Kind() == reflect.Array {
			out["minItems"], out["maxItems"] = sh.rt.Len(), sh.rt.Len()
		}
		return out
	case Map:
		return map[string]any{"type": "object", "additionalProperties": orReference(sh.elem.json(true), sh.elem)}
	}
	props, must := map[string]any{}, []any{}
	for _, fd := range sh.fields {
		if fd.fill != "" {
			continue
		}
		props[fd.name] = fd.json(true)
		if fd.required {
			must = append(must, fd.name)
		}
	}
	out := map[string]any{"type": "object", "additionalProperties": false, "properties": props}
	if required && len(must) > 0 {
		out["required"] = must
	}
	return out
}

// json is the schema of a field, with its bounds, its default and the
// reference that may stand in its place.
func (fd *field) json(required bool) map[string]any {
	sch := fd.shape.json(required)
	fd.bound(sch, fd.shape)
	sch = orReference(sch, fd.shape)
	if fd.doc != "" {
		sch["description"] = fd.doc
	}
	if fd.std != nil {
		sch["default"] = fd.std.plainJSON()
	}
	return sch
}

// bound lays min, max and enum on the innermost element, as the decoder does.
func (fd *field) bound(sch map[string]any, sh *shape) {
	for sh.elem != nil {
		key := "items"
		if sh.typ.Sort == Map {
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
	if sh.typ.Sort == Number {
		if fd.min != nil {
			sch["minimum"] = json.Number(fd.minText)
		}
		if fd.max != nil {
			sch["maximum"] = json.Number(fd.maxText)
		}
	}
	if len(fd.enum) > 0 && sh.typ.Sort == Text {
		all := make([]any, len(fd.enum))
		for i, e := range fd.enum {
			all[i] = e
		}
		sch["enum"] = all
	}
}

// orReference lets ${{ }} stand for any value but a plain text, which may
// hold one anyway.
func orReference(sch map[string]any, sh *shape) map[string]any {
	_, enum := sch["enum"]
	_, pattern := sch["pattern"]
	if len(sch) == 0 || (sh.typ.Sort == Text || sh.typ.Sort == File) && !enum && !pattern {
		return sch
	}
	return map[string]any{"anyOf": []any{sch, map[string]any{"type": "string", "pattern": refPattern}}}
}

// schema holds a step's `with` to the published schema, so that an editor and
// calrun never disagree. What the decoder has complained about already is not
// said twice.
func (l *loader) schema(d *Decl) {
	sch, err := d.Kind.described().compiled()
	if err != nil {
		l.complain(pos{}, "", fmt.Sprintf("the schema of kind %s: %v", d.Uses, err), "")
		return
	}
	res, err := sch.Validate(gojsonschema.NewRawLoader(d.with.root.schemaJSON()))
	if err != nil || res.Valid() || d.faulty {
		return
	}
	path := d.where() + ".with"
	for _, e := range res.Errors() {
		if wrapper(e) {
			continue
		}
		where := strings.Split(e.Context().String("\x00"), "\x00")[1:]
		field := strings.Join(where, ".")
		if d.with.root.unknownAt(field) {
			continue // what a reference will put there, the decoder checks
		}
		at := d.with.root.walk(field)
		l.complain(at, join(path, field), strings.ToLower(e.Description()), "")
	}
}

// wrapper says whether an error only repeats that one below it is there.
func wrapper(e gojsonschema.ResultError) bool {
	switch e.Type() {
	case "number_any_of", "number_one_of", "number_all_of", "condition_then", "condition_else":
		return true
	}
	return false
}

func (sh *shape) compiled() (*gojsonschema.Schema, error) {
	var err error
	sh.compile.Do(func() {
		sh.schema, err = gojsonschema.NewSchema(gojsonschema.NewGoLoader(sh.json(false)))
	})
	if err == nil && sh.schema == nil {
		err = fmt.Errorf("it does not compile")
	}
	return sh.schema, err
}

// schemaJSON is the value as the schema sees it: references are texts.
func (v *value) schemaJSON() any {
	switch v.form {
	case isList:
		out := make([]any, len(v.items))
		for i, e := range v.items {
			out[i] = e.schemaJSON()
		}
		return out
	case isObject:
		out := make(map[string]any, len(v.pairs))
		for _, p := range v.pairs {
			out[p.key] = p.val.schemaJSON()
		}
		return out
	}
	if v.tmpl != nil {
		return v.text
	}
	return v.plainJSON()
}
