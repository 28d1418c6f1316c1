package plan

import (
	"fmt"
	"maps"
	"slices"

	"calrun/pipeline/canonical"
)

// hoistFrom is how long the JSON of a sub-schema is before it is worth a name.
const hoistFrom = 300

// hoist moves the larger sub-schemas that stand in several places to
// `definitions`, named after their title or the field where they were met
// first. It changes
// and returns the schema.
func hoist(root map[string]any) map[string]any {
	h := hoister{count: map[string]int{}, name: map[string]string{}, defs: map[string]any{}}
	h.tally(root)
	root, _ = h.replace(root, "", true).(map[string]any)
	if len(h.defs) > 0 {
		root["definitions"] = h.defs
	}
	return root
}

type hoister struct {
	count map[string]int
	name  map[string]string
	defs  map[string]any
}

// key is the JSON of what may be hoisted; "" for the rest.
func (h *hoister) key(v any) string {
	m, ok := v.(map[string]any)
	if !ok || m["type"] == nil {
		return ""
	}
	raw, err := canonical.Encode(m)
	if err != nil || len(raw) < hoistFrom {
		return ""
	}
	return string(raw)
}

func (h *hoister) tally(v any) {
	switch x := v.(type) {
	case map[string]any:
		if key := h.key(x); key != "" {
			if h.count[key]++; h.count[key] > 1 {
				return // what is inside goes with it
			}
		}
		for _, k := range slices.Sorted(maps.Keys(x)) {
			h.tally(x[k])
		}
	case []any:
		for _, e := range x {
			h.tally(e)
		}
	}
}

// replace returns v with what stands in several places as references; near is
// the field that v belongs to.
func (h *hoister) replace(v any, near string, top bool) any {
	switch x := v.(type) {
	case map[string]any:
		if key := h.key(x); key != "" && h.count[key] > 1 && !top {
			return h.refer(key, x, near)
		}
		return h.inside(x, near)
	case []any:
		out := make([]any, len(x))
		for i, e := range x {
			out[i] = h.replace(e, near, false)
		}
		return out
	}
	return v
}

func (h *hoister) inside(x map[string]any, near string) map[string]any {
	out := make(map[string]any, len(x))
	for _, k := range slices.Sorted(maps.Keys(x)) {
		name := near
		if props, ok := x[k].(map[string]any); ok && k == "properties" {
			fields := make(map[string]any, len(props))
			for _, f := range slices.Sorted(maps.Keys(props)) {
				fields[f] = h.replace(props[f], f, false)
			}
			out[k] = fields
			continue
		}
		out[k] = h.replace(x[k], name, false)
	}
	return out
}

func (h *hoister) refer(key string, x map[string]any, near string) any {
	name := h.name[key]
	if name == "" {
		name = near
		if title, ok := x["title"].(string); ok {
			name = title
		}
		near = name
		for n := 2; h.defs[name] != nil; n++ {
			name = fmt.Sprintf("%s%d", near, n)
		}
		h.name[key] = name
		h.defs[name] = true // the name is taken while its inside is moved
		h.defs[name] = h.inside(x, near)
	}
	return map[string]any{"$ref": "#/definitions/" + name}
}
