package pipeline

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// value is a value of a plan with its place in the file: what YAML nodes and
// JSON documents become before a step is decoded from them.
type value struct {
	form  form
	text  string // of a number its JSON text
	flag  bool
	items []*value
	pairs []pair
	pos   pos
	key   pos       // of the key that it stands under
	tmpl  *template // a text with ${{ }}
	bad   bool      // complained about already: nobody looks at it again
	// known is what a template stands for where inputs alone decide it; asPath
	// says that it is the path of one.
	known  *value
	asPath bool
}

// name is where to point when something inside an object is missing.
func (v *value) name() pos {
	if v.key.line > 0 {
		return v.key
	}
	return v.pos
}

// pair is a field of an object.
type pair struct {
	key    string
	pos    pos // of the key
	val    *value
	shared bool // came from the plan's shared block
}

// pos is a place in the source; line 0 is nowhere.
type pos struct{ line, col, width int }

type form int

const (
	isNull form = iota
	isBool
	isNumber
	isText
	isList
	isObject
)

// String says what the value is: what an error shows as seen.
func (v *value) String() string {
	switch v.form {
	case isNull:
		return "nothing"
	case isBool:
		return strconv.FormatBool(v.flag)
	case isNumber:
		return v.text
	case isText:
		return strconv.Quote(shorten(v.text, 60))
	case isList:
		return "a list"
	}
	return "an object"
}

// get returns the field of that name, or nil.
func (v *value) get(key string) *value {
	if p := v.pair(key); p != nil {
		return p.val
	}
	return nil
}

func (v *value) pair(key string) *pair {
	if v == nil {
		return nil
	}
	for i := range v.pairs {
		if v.pairs[i].key == key {
			return &v.pairs[i]
		}
	}
	return nil
}

// set lays val at the dotted path below v, making the objects on the way. v
// is changed; the caller owns it.
func (v *value) set(path []string, val *value) error {
	p := v.pair(path[0])
	if p == nil {
		v.pairs = append(v.pairs, pair{key: path[0], val: &value{form: isObject}})
		p = &v.pairs[len(v.pairs)-1]
	}
	if len(path) == 1 {
		p.val = val
		return nil
	}
	switch p.val.form {
	case isObject:
	case isNull:
		p.val = &value{form: isObject}
	default:
		return fmt.Errorf("%s is %s, it has no field %s", path[0], p.val, path[1])
	}
	return p.val.set(path[1:], val)
}

// dynamic says whether something in it is known only at run time.
func (v *value) dynamic() bool {
	if v.bad || v.tmpl != nil && v.known == nil {
		return true
	}
	for _, e := range v.items {
		if e.dynamic() {
			return true
		}
	}
	for _, p := range v.pairs {
		if p.val.dynamic() {
			return true
		}
	}
	return false
}

// firstReference finds a text with ${{ in it.
func (v *value) firstReference() *value {
	if v.form == isText && strings.Contains(v.text, "${{") {
		return v
	}
	for _, e := range v.items {
		if r := e.firstReference(); r != nil {
			return r
		}
	}
	for _, p := range v.pairs {
		if r := p.val.firstReference(); r != nil {
			return r
		}
	}
	return nil
}

// literal is the value with everything known put in its place; the value
// itself must not be dynamic.
func (v *value) literal() *value {
	switch {
	case v.known == nil:
		return v
	case v.asPath:
		return &value{form: isObject, pos: v.pos, pairs: []pair{{key: "path", val: v.known}}}
	}
	return v.known
}

// plainJSON is the value as encoding/json decodes it, with json.Number; a
// template is its text.
func (v *value) plainJSON() any {
	v = v.literal()
	switch v.form {
	case isBool:
		return v.flag
	case isNumber:
		return json.Number(v.text)
	case isText:
		return v.text
	case isList:
		out := make([]any, len(v.items))
		for i, e := range v.items {
			out[i] = e.plainJSON()
		}
		return out
	case isObject:
		out := make(map[string]any, len(v.pairs))
		for _, p := range v.pairs {
			out[p.key] = p.val.plainJSON()
		}
		return out
	}
	return nil
}

// valueOf is the value of a decoded JSON tree, without places.
func valueOf(tree any) (*value, error) {
	switch x := tree.(type) {
	case nil:
		return &value{form: isNull}, nil
	case bool:
		return &value{form: isBool, flag: x}, nil
	case json.Number:
		return &value{form: isNumber, text: x.String()}, nil
	case string:
		return &value{form: isText, text: x}, nil
	case []any:
		out := &value{form: isList}
		for _, e := range x {
			v, err := valueOf(e)
			if err != nil {
				return nil, err
			}
			out.items = append(out.items, v)
		}
		return out, nil
	case map[string]any:
		out := &value{form: isObject}
		for _, k := range sortedKeys(x) {
			v, err := valueOf(x[k])
			if err != nil {
				return nil, err
			}
			out.pairs = append(out.pairs, pair{key: k, val: v})
		}
		return out, nil
	}
	// float64, int and whatever an expression yields: by way of their JSON.
	raw, err := encode(tree)
	if err != nil {
		return nil, err
	}
	return parseJSON(raw)
}

// parseJSON reads a JSON document.
func parseJSON(raw []byte) (*value, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var tree any
	if err := dec.Decode(&tree); err != nil {
		return nil, err
	}
	return valueOf(tree)
}

func shorten(s string, n int) string {
	r := []rune(s)
	if len(r) <= n {
		return s
	}
	return string(r[:n-3]) + "..."
}
