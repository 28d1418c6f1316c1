package pipeline

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"calrun/pipeline/canonical"
	"calrun/pipeline/document"
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
	w := walk{
		member: func(at, name string) string {
			return at + "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(name)
		},
		item: func(at string, i int) string { return at + "/" + strconv.Itoa(i) },
		meet: func(at string, old, now any) { out = append(out, Difference{at, short(old), short(now)}) },
	}
	w.compare("", x, y)
	return out, nil
}

// planDifferences are the fields in which a plan's file differs from what it
// was, each with its line now, or then if it is gone. There is none where only
// comments or the layout differ, or a file is no YAML.
func planDifferences(file string, source, edited []byte) []Difference {
	a, b := document.NewSource(file, source).Parse(source), document.NewSource(file, edited).Parse(edited)
	if a == nil || b == nil {
		return nil
	}
	var out []Difference
	dotted(func(at string, old, now any) {
		where := fmt.Sprintf("%s:%d", file, b.Place(at).Line)
		if _, gone := now.(absent); gone {
			where = fmt.Sprintf("%s, line %d then", file, a.Place(at).Line)
		}
		out = append(out, Difference{where + ": " + at, short(old), short(now)})
	}).compare("", a.Written(), b.Written())
	return out
}

// walk goes through two JSON trees side by side and meets what differs, as
// deep as both have it, the members of an object in the order of their names.
type walk struct {
	member func(at, name string) string
	item   func(at string, i int) string
	whole  func(old, now any) bool // compared as they are, not by what is inside; nil is never
	meet   func(at string, old, now any)
}

// absent stands for what only the other tree has.
type absent struct{}

func (w walk) compare(at string, old, now any) {
	if w.whole == nil || !w.whole(old, now) {
		switch a := old.(type) {
		case map[string]any:
			if b, ok := now.(map[string]any); ok {
				for _, name := range namesOf(a, b) {
					w.compare(w.member(at, name), member(a, name), member(b, name))
				}
				return
			}
		case []any:
			if b, ok := now.([]any); ok {
				for i := range max(len(a), len(b)) {
					w.compare(w.item(at, i), item(a, i), item(b, i))
				}
				return
			}
		}
	}
	_, lost := old.(absent)
	_, made := now.(absent)
	if lost != made || text(old) != text(now) {
		w.meet(at, old, now)
	}
}

// namesOf are the keys of two maps, sorted.
func namesOf[V any](a, b map[string]V) []string {
	both := map[string]V{}
	maps.Copy(both, a)
	maps.Copy(both, b)
	return slices.Sorted(maps.Keys(both))
}

func member(m map[string]any, name string) any {
	if v, ok := m[name]; ok {
		return v
	}
	return absent{}
}

func item(list []any, i int) any {
	if i < len(list) {
		return list[i]
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
