// Package document is a plan's file as a tree of [Value]s that know their place
// in it, and the [Problems] that are found in it. A [Source] reads the YAML,
// refuses what is more than plain data, and shows a problem with its line and
// a caret. It does not know what the tree means.
package document

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"calrun/pipeline/canonical"
)

// Value is a value of a plan with its place in the file: what YAML nodes and
// JSON documents become before a step is decoded from them.
type Value struct {
	Form  Form
	Text  string // of a number its JSON text
	Flag  bool
	Items []*Value
	Pairs []Pair
	Pos   Pos
	Key   Pos  // of the key that it stands under
	Ref   bool // a text with ${{ }}: only a run knows it
	Bad   bool // complained about already: nobody looks at it again
	// Known is what a reference stands for where inputs alone decide it; AsPath
	// says that it is the path of one.
	Known  *Value
	AsPath bool
}

// Name is where to point when something inside an object is missing.
func (v *Value) Name() Pos {
	if v.Key.Line > 0 {
		return v.Key
	}
	return v.Pos
}

// Pair is a field of an object.
type Pair struct {
	Key    string
	Pos    Pos // of the key
	Val    *Value
	Shared bool // came from the plan's shared block
}

// Pos is a place in the source; line 0 is nowhere.
type Pos struct{ Line, Col, Width int }

// Form is the form of a [Value].
type Form int

// The forms.
const (
	Null Form = iota
	Bool
	Number
	Text
	List
	Object
)

// String says what the value is: what an error shows as seen.
func (v *Value) String() string {
	switch v.Form {
	case Null:
		return "nothing"
	case Bool:
		return strconv.FormatBool(v.Flag)
	case Number:
		return v.Text
	case Text:
		return strconv.Quote(Shorten(v.Text, 60))
	case List:
		return "a list"
	}
	return "an object"
}

// Get returns the field of that name, or nil.
func (v *Value) Get(key string) *Value {
	if p := v.Pair(key); p != nil {
		return p.Val
	}
	return nil
}

// Pair returns the field of that name with its key, or nil.
func (v *Value) Pair(key string) *Pair {
	if v == nil {
		return nil
	}
	for i := range v.Pairs {
		if v.Pairs[i].Key == key {
			return &v.Pairs[i]
		}
	}
	return nil
}

// Set lays val at the dotted path below v, making the objects on the way. v
// is changed; the caller owns it.
func (v *Value) Set(path []string, val *Value) error {
	p := v.Pair(path[0])
	if p == nil {
		v.Pairs = append(v.Pairs, Pair{Key: path[0], Val: &Value{Form: Object}})
		p = &v.Pairs[len(v.Pairs)-1]
	}
	if len(path) == 1 {
		p.Val = val
		return nil
	}
	switch p.Val.Form {
	case Object:
	case Null:
		p.Val = &Value{Form: Object}
	default:
		return fmt.Errorf("%s is %s, it has no field %s", path[0], p.Val, path[1])
	}
	return p.Val.Set(path[1:], val)
}

// Dynamic says whether something in it is known only at run time.
func (v *Value) Dynamic() bool {
	if v.Bad || v.Ref && v.Known == nil {
		return true
	}
	for _, e := range v.Items {
		if e.Dynamic() {
			return true
		}
	}
	for _, p := range v.Pairs {
		if p.Val.Dynamic() {
			return true
		}
	}
	return false
}

// FirstReference finds a text with ${{ in it.
func (v *Value) FirstReference() *Value {
	if v.Form == Text && strings.Contains(v.Text, "${{") {
		return v
	}
	for _, e := range v.Items {
		if r := e.FirstReference(); r != nil {
			return r
		}
	}
	for _, p := range v.Pairs {
		if r := p.Val.FirstReference(); r != nil {
			return r
		}
	}
	return nil
}

// Literal is the value with everything known put in its place; the value
// itself must not be dynamic.
func (v *Value) Literal() *Value {
	switch {
	case v.Known == nil:
		return v
	case v.AsPath:
		return &Value{Form: Object, Pos: v.Pos, Pairs: []Pair{{Key: "path", Val: v.Known}}}
	}
	return v.Known
}

// Plain is the value as encoding/json decodes it, with json.Number; a
// reference is what it stands for, or its text where only a run knows.
func (v *Value) Plain() any { return v.Literal().json((*Value).Plain) }

// Written is [Value.Plain] with every reference as its text.
func (v *Value) Written() any { return v.json((*Value).Written) }

// json is the JSON of a value, with that of what is in it by inner.
func (v *Value) json(inner func(*Value) any) any {
	switch v.Form {
	case Bool:
		return v.Flag
	case Number:
		return json.Number(v.Text)
	case Text:
		return v.Text
	case List:
		out := make([]any, len(v.Items))
		for i, e := range v.Items {
			out[i] = inner(e)
		}
		return out
	case Object:
		out := make(map[string]any, len(v.Pairs))
		for _, p := range v.Pairs {
			out[p.Key] = inner(p.Val)
		}
		return out
	}
	return nil
}

// Of is the value of a decoded JSON tree, without places.
func Of(tree any) (*Value, error) {
	switch x := tree.(type) {
	case nil:
		return &Value{Form: Null}, nil
	case bool:
		return &Value{Form: Bool, Flag: x}, nil
	case json.Number:
		return &Value{Form: Number, Text: x.String()}, nil
	case string:
		return &Value{Form: Text, Text: x}, nil
	case []any:
		out := &Value{Form: List}
		for _, e := range x {
			v, err := Of(e)
			if err != nil {
				return nil, err
			}
			out.Items = append(out.Items, v)
		}
		return out, nil
	case map[string]any:
		out := &Value{Form: Object}
		for _, k := range slices.Sorted(maps.Keys(x)) {
			v, err := Of(x[k])
			if err != nil {
				return nil, err
			}
			out.Pairs = append(out.Pairs, Pair{Key: k, Val: v})
		}
		return out, nil
	}
	// float64, int and whatever an expression yields: by way of their JSON.
	raw, err := canonical.Encode(tree)
	if err != nil {
		return nil, err
	}
	return ParseJSON(raw)
}

// ParseJSON reads a JSON document.
func ParseJSON(raw []byte) (*Value, error) {
	tree, err := canonical.Decode(raw)
	if err != nil {
		return nil, err
	}
	return Of(tree)
}

// Shorten cuts a text to at most n characters, dots included.
func Shorten(s string, n int) string {
	r := []rune(s)
	if len(r) <= n {
		return s
	}
	return string(r[:n-3]) + "..."
}

// Place follows a path such as "range[1]" as far as it goes and says where
// that is: of an object at its key.
func (v *Value) Place(path string) Pos {
	at := v
	for _, name := range SplitPath(path) {
		next := at.inside(name)
		if next == nil {
			return at.Pos
		}
		at = next
	}
	if at != v && at.Form == Object {
		return at.Name()
	}
	return at.Pos
}

// inside is the field of that name, or the item of that number, or nil.
func (v *Value) inside(name string) *Value {
	if i, err := strconv.Atoi(name); err == nil && v.Form == List {
		if i >= 0 && i < len(v.Items) {
			return v.Items[i]
		}
		return nil
	}
	return v.Get(name)
}

// UnknownAt says whether the value at a path, or one around it or in it, is
// known only at run time.
func (v *Value) UnknownAt(path string) bool {
	at := v
	for _, name := range SplitPath(path) {
		if at.Ref && at.Known == nil {
			return true
		}
		if at = at.Literal().inside(name); at == nil {
			return false
		}
	}
	return at.Dynamic()
}

// Has says whether there is a value at a path.
func (v *Value) Has(path string) bool {
	at := v
	for _, name := range SplitPath(path) {
		if at = at.Get(name); at == nil {
			return false
		}
	}
	return at != v
}

// SplitPath splits "workload.probes.lengths[2][0]".
func SplitPath(path string) []string {
	path = strings.NewReplacer("[", ".", "]", "").Replace(path)
	return strings.FieldsFunc(path, func(r rune) bool { return r == '.' })
}

// JoinField extends a path by another, which may begin with an index.
func JoinField(path, field string) string {
	if field == "" {
		return path
	}
	if strings.HasPrefix(field, "[") {
		return path + field
	}
	return Join(path, field)
}

// Join extends a path by a key.
func Join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// Quote is a text as a problem shows it.
func Quote(s string) string { return `"` + Shorten(s, 60) + `"` }

// NamePattern is what a step, an input or an assertion can be called:
// expressions write it after a dot.
const NamePattern = `^[A-Za-z_][A-Za-z0-9_]*$`

// IsName says whether a text fits [NamePattern].
func IsName(s string) bool {
	for i := range len(s) {
		c := s[i]
		if c != '_' && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (i == 0 || !isDigit(c)) {
			return false
		}
	}
	return s != ""
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// IsNumber says whether a text is a number as JSON writes it, and nothing
// around it.
func IsNumber(s string) bool {
	return s != "" && (s[0] == '-' || isDigit(s[0])) && isDigit(s[len(s)-1]) && json.Valid([]byte(s))
}

// Width is how wide a text stands in a line: its characters.
func Width(s string) int { return utf8.RuneCountInString(s) }
