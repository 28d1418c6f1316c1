package pipeline

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"calrun/pipeline/canonical"
)

// Difference is a field that has another value than it had.
type Difference struct {
	At  string `json:"at"` // JSON pointer, or the name of a file
	Old string `json:"old"`
	New string `json:"new"`
}

// String says it in a line.
func (d Difference) String() string { return d.At + ": " + d.Old + " → " + d.New }

// Differences compares two JSON documents field by field, in the order of the
// pointers' names.
func Differences(a, b json.RawMessage) ([]Difference, error) {
	x, err := canonical.Decode(a)
	if err != nil {
		return nil, err
	}
	y, err := canonical.Decode(b)
	if err != nil {
		return nil, err
	}
	var out []Difference
	compareTrees("", x, y, &out)
	return out, nil
}

// absent stands for a field that only one document has.
type absent struct{}

func compareTrees(at string, x, y any, out *[]Difference) {
	switch a := x.(type) {
	case map[string]any:
		if b, ok := y.(map[string]any); ok {
			both := maps.Clone(a)
			maps.Copy(both, b)
			for _, name := range slices.Sorted(maps.Keys(both)) {
				compareTrees(at+"/"+strings.NewReplacer("~", "~0", "/", "~1").Replace(name), member(a, name), member(b, name), out)
			}
			return
		}
	case []any:
		if b, ok := y.([]any); ok {
			for i := range max(len(a), len(b)) {
				var e, f any = absent{}, absent{}
				if i < len(a) {
					e = a[i]
				}
				if i < len(b) {
					f = b[i]
				}
				compareTrees(fmt.Sprintf("%s/%d", at, i), e, f, out)
			}
			return
		}
	}
	if old, now := short(x), short(y); old != now || text(x) != text(y) {
		*out = append(*out, Difference{at, old, now})
	}
}

func member(m map[string]any, name string) any {
	if v, ok := m[name]; ok {
		return v
	}
	return absent{}
}

func text(v any) string {
	raw, err := canonical.Encode(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(raw)
}

// short is a value for people.
func short(v any) string {
	if _, none := v.(absent); none {
		return "(absent)"
	}
	s := text(v)
	if r := []rune(s); len(r) > 100 {
		return string(r[:99]) + "…"
	}
	return s
}

// asJSON is a value as JSON, for differences.
func asJSON(v any) json.RawMessage {
	raw, err := json.Marshal(v)
	if err != nil {
		panic("pipeline: plain data: " + err.Error())
	}
	return raw
}
