package cli

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"calrun/pipeline"
)

// field is a name that a plan may write or read.
type field struct {
	Name string `json:"name"`
	Type string `json:"type"`
	Rule string `json:"rule,omitempty"` // default and bounds, as text
	Doc  string `json:"doc,omitempty"`
}

// deepest is how far nested results are spelled out: deep enough for
// ttft.p50.mape.
const deepest = 3

// resultFields are the names that expressions may read below prefix.
func resultFields(prefix string, t pipeline.Type) []field {
	var out []field
	for _, m := range t.Members {
		name := prefix + m.Name
		typ := m.Type
		text := typ.String()
		if len(typ.Members) > 0 {
			text = "object"
		}
		if typ.Opt {
			text += ", may be absent"
		}
		out = append(out, field{Name: name, Type: text, Doc: m.Doc})
		if strings.Count(name, ".") < deepest-1 {
			out = append(out, resultFields(name+".", typ)...)
		}
	}
	return out
}

// withFields are the fields that a JSON schema of a `with` describes, below
// prefix, required ones marked.
func withFields(prefix string, schema map[string]any, depth int) []field {
	props, _ := schema["properties"].(map[string]any)
	required := texts(schema["required"])
	names := make([]string, 0, len(props))
	for name := range props {
		names = append(names, name)
	}
	slices.Sort(names)
	var out []field
	for _, name := range names {
		p := direct(props[name])
		f := field{Name: prefix + name, Type: typeText(p), Rule: ruleText(p)}
		f.Doc, _ = p["description"].(string)
		if slices.Contains(required, name) {
			f.Rule = strings.TrimSuffix("required, "+f.Rule, ", ")
		}
		out = append(out, f)
		if depth >= deepest {
			continue
		}
		out = append(out, withFields(prefix+name+".", p, depth+1)...)
		if items, ok := p["items"]; ok {
			out = append(out, withFields(prefix+name+"[].", direct(items), depth+1)...)
		}
		if more, ok := p["additionalProperties"].(map[string]any); ok {
			out = append(out, withFields(prefix+name+".*.", direct(more), depth+1)...)
		}
	}
	return out
}

// direct is a schema without the alternative that every field has: to be a
// reference.
func direct(v any) map[string]any {
	s, _ := v.(map[string]any)
	alternatives := list(s["anyOf"])
	for _, alt := range alternatives {
		m, ok := alt.(map[string]any)
		if pattern, is := m["pattern"].(string); !ok || is && strings.Contains(pattern, `\$\{\{`) {
			continue
		}
		merged := map[string]any{}
		for k, x := range s {
			if k != "anyOf" {
				merged[k] = x
			}
		}
		for k, x := range direct(m) {
			if _, there := merged[k]; !there {
				merged[k] = x
			}
		}
		return merged
	}
	return s
}

func list(v any) []any {
	switch x := v.(type) {
	case []any:
		return x
	case []map[string]any:
		out := make([]any, len(x))
		for i := range x {
			out[i] = x[i]
		}
		return out
	}
	return nil
}

func texts(v any) []string {
	if s, ok := v.([]string); ok {
		return s
	}
	var out []string
	for _, x := range list(v) {
		if s, ok := x.(string); ok {
			out = append(out, s)
		}
	}
	return out
}

// typeText says a schema's type in words.
func typeText(s map[string]any) string {
	if e := enumText(s["enum"]); e != "" {
		return "one of " + e
	}
	switch t := s["type"].(type) {
	case string:
		if t == "array" {
			if items := direct(s["items"]); items != nil {
				return "list of " + typeText(items)
			}
			return "list"
		}
		if _, ok := s["pattern"]; ok { // no other field has one
			return "duration"
		}
		return t
	case nil:
		return "any"
	default:
		return strings.Join(texts(t), " or ")
	}
}

func enumText(v any) string {
	if names := texts(v); names != nil {
		return strings.Join(names, ", ")
	}
	return ""
}

// ruleText is a schema's default and bounds.
func ruleText(s map[string]any) string {
	var parts []string
	for _, rule := range []struct{ key, form string }{
		{"default", "default %s"},
		{"minimum", "≥ %s"},
		{"exclusiveMinimum", "> %s"},
		{"maximum", "≤ %s"},
		{"minItems", "at least %s"},
		{"maxItems", "at most %s"},
	} {
		v, ok := s[rule.key]
		if !ok {
			continue
		}
		text, err := json.Marshal(v)
		if err != nil {
			continue
		}
		parts = append(parts, fmt.Sprintf(rule.form, strings.Trim(string(text), `"`)))
	}
	return strings.Join(parts, ", ")
}
