package plan

import (
	"maps"
	"reflect"

	"calrun/pipeline/canonical"
	"calrun/pipeline/document"
	"calrun/pipeline/field"
	"calrun/pipeline/kind"
)

// Schema is the JSON schema (draft-07) of a plan that uses these kinds: what
// an editor checks while the plan is written. Required fields of a `with` are
// not in it, since `shared` may give them.
func Schema(ks *kind.Kinds) map[string]any {
	step, remedy := stepSchema(), remedySchema()
	var stepRules, remedyRules []any
	names := []any{}
	for _, k := range ks.All() {
		names = append(names, k.Name)
		with := k.Shape().Schema(false)
		with["description"], with["title"] = k.Doc, k.Name
		rule := map[string]any{
			"if":   map[string]any{"properties": map[string]any{"uses": map[string]any{"const": k.Name}}, "required": []any{"uses"}},
			"then": map[string]any{"properties": map[string]any{"with": with}},
		}
		stepRules = append(stepRules, rule)
		remedyRules = append(remedyRules, rule)
	}
	gate := gateSchema()
	step["properties"].(map[string]any)["uses"] = map[string]any{"enum": append(append([]any{}, names...), kind.GateUses), "description": "the kind of step"}
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
			"shared":   sharedSchema(ks),
			"limits":   described(field.ShapeOf(reflect.TypeFor[limitsFile](), "").Schema(true), "when a run ends however its routes stand"),
			"steps":    byName(step, "steps and gates; a reference ${{ steps.NAME.FIELD }} is what orders them"),
			"remedies": byName(remedy, "steps that run only when a route of a gate calls them"),
		},
	})
}

// sharedSchema offers the fields of all kinds. Fields of one name may differ
// between kinds: then any of their forms will do.
func sharedSchema(ks *kind.Kinds) map[string]any {
	forms := map[string][]any{}
	seen := map[string]bool{}
	for _, k := range ks.All() {
		for _, fd := range k.Shape().Fields {
			if fd.Fill != "" {
				continue
			}
			sch := fd.Schema(false)
			raw, err := canonical.Encode(sch)
			if key := fd.Name + string(raw); err == nil && !seen[key] {
				seen[key] = true
				forms[fd.Name] = append(forms[fd.Name], sch)
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
		"patternProperties": map[string]any{document.NamePattern: of},
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
		"type":    map[string]any{"enum": inputEnum(), "description": "what it is"},
		"env":     text("of a secret: the environment variable that holds it"),
		"file":    text("of a secret: the file that holds it; relative to the plan"),
		"default": map[string]any{"type": []any{"string", "number", "boolean"}, "description": "its value if none is given; paths are relative to the plan"},
		"doc":     text("one line on what it is"),
	})
}

func inputEnum() []any {
	out := make([]any, len(inputTypes))
	for i, name := range inputTypes {
		out[i] = name
	}
	return out
}

func commonSchema() map[string]any {
	list := map[string]any{"anyOf": []any{map[string]any{"type": "array", "items": map[string]any{"type": "string"}}, map[string]any{"type": "string"}}}
	copyOf := func(doc string) map[string]any { return map[string]any{"anyOf": list["anyOf"], "description": doc} }
	retry := field.ShapeOf(reflect.TypeFor[retryFile](), "").Schema(true)
	return map[string]any{
		"uses":    text("the kind of step"),
		"doc":     text("what the step is for"),
		"needs":   copyOf("steps and gates that must be done, or passed, before"),
		"timeout": map[string]any{"type": "string", "pattern": field.SpanPattern, "description": "longest time of one attempt"},
		"locks":   copyOf("names of what no two steps on this host may use at once; the engine that a step loads is among them unasked, as \"engine HOST:PORT\""),
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
	conditions := map[string]any{"type": "object", "patternProperties": map[string]any{document.NamePattern: map[string]any{"type": "string"}}, "additionalProperties": false}
	with := func(doc string) map[string]any {
		out := map[string]any{"description": doc}
		maps.Copy(out, conditions)
		return out
	}
	route := object("what to do when the gate has not passed", []any{"when"}, map[string]any{
		"when": text("condition over passed.x, failed.x, unsure.x, steps. and inputs."),
		"run":  text("the remedy to run"),
		"set":  map[string]any{"type": "object", "description": "step.field: value"},
		"max":  map[string]any{"type": "integer", "minimum": 1, "maximum": 1000, "default": 1, "description": "most visits in a run"},
	})
	return object("a judgement over the result of one step", []any{"uses", "of", "assert"}, map[string]any{
		"uses":   map[string]any{"const": kind.GateUses},
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
	isGate := map[string]any{"properties": map[string]any{"uses": map[string]any{"const": kind.GateUses}}, "required": []any{"uses"}}
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
