package pipeline

import (
	"encoding/json"
	"fmt"
	"reflect"
	"sort"
	"strings"
	"time"
)

// Type is the type of a value in a plan: of a `with` field, of a result, of
// an expression.
type Type struct {
	Sort    Sort
	Holds   string // of an artefact: the sort of thing; "" fits every one
	Whole   bool   // of a number: no fraction
	Elem    *Type  // of a list, or of the values of a map
	Members []Member
	Opt     bool // may be absent
}

// Sort is the sort of a [Type].
type Sort int

// The sorts. Any is what only a run knows.
const (
	Any Sort = iota
	Bool
	Number
	Text
	Span // a duration: the text "10m"
	File // an [Artefact]
	List
	Map    // names that only a run knows, values of one type
	Object // names that the type knows
)

// Member is a field of an object.
type Member struct {
	Name string
	Doc  string
	Type Type
}

// Shorthands for the types without parts.
var (
	anyType    = Type{}
	boolType   = Type{Sort: Bool}
	numberType = Type{Sort: Number}
	wholeType  = Type{Sort: Number, Whole: true}
	textType   = Type{Sort: Text}
	spanType   = Type{Sort: Span}
)

// ParseType reads the name of a type as plans write it: number, int, string,
// bool, any, file, dir, another sort of artefact as "artefact measurement", a
// list as "[number]", a map as "{number}"; "?" at the end is optional.
func ParseType(s string) (Type, error) {
	s = strings.TrimSpace(s)
	if body, ok := strings.CutSuffix(s, "?"); ok {
		t, err := ParseType(body)
		t.Opt = true
		return t, err
	}
	if n := len(s); n > 2 && (s[0] == '[' && s[n-1] == ']' || s[0] == '{' && s[n-1] == '}') {
		elem, err := ParseType(s[1 : n-1])
		if err != nil {
			return Type{}, err
		}
		if s[0] == '[' {
			return Type{Sort: List, Elem: &elem}, nil
		}
		return Type{Sort: Map, Elem: &elem}, nil
	}
	switch s {
	case "number", "float":
		return numberType, nil
	case "int":
		return wholeType, nil
	case "string":
		return textType, nil
	case "bool":
		return boolType, nil
	case "any":
		return anyType, nil
	case "file", "dir":
		return Type{Sort: File, Holds: s}, nil
	}
	if holds, ok := strings.CutPrefix(s, "artefact "); ok && strings.TrimSpace(holds) != "" {
		return Type{Sort: File, Holds: strings.TrimSpace(holds)}, nil
	}
	return Type{}, fmt.Errorf("%q is not a type: use number, int, string, bool, any, file, dir, artefact NAME, [TYPE] or {TYPE}, with ? at the end if it may be absent", s)
}

// NewObject is the type of a result with these fields.
func NewObject(fields map[string]Type) Type {
	t := Type{Sort: Object}
	for _, name := range sortedKeys(fields) {
		t.Members = append(t.Members, Member{Name: name, Type: fields[name]})
	}
	return t
}

// Member finds a field of an object, or the value type of a map.
func (t Type) Member(name string) (Type, bool) {
	switch t.Sort {
	case Map:
		return *t.Elem, true
	case Object:
		for _, m := range t.Members {
			if m.Name == name {
				return m.Type, true
			}
		}
	case Any:
		return anyType, true
	}
	return Type{}, false
}

// Names returns the names of an object's fields, sorted.
func (t Type) Names() []string {
	out := make([]string, len(t.Members))
	for i, m := range t.Members {
		out[i] = m.Name
	}
	sort.Strings(out)
	return out
}

// String says the type in words: "whole number", "list of numbers".
func (t Type) String() string {
	switch t.Sort {
	case Bool:
		return "true or false"
	case Number:
		if t.Whole {
			return "whole number"
		}
		return "number"
	case Text:
		return "text"
	case Span:
		return "duration"
	case File:
		switch t.Holds {
		case "":
			return "file or folder"
		case "dir":
			return "folder"
		}
		return t.Holds
	case List:
		return "list of " + t.Elem.plural()
	case Map:
		return "map of " + t.Elem.plural()
	case Object:
		if len(t.Members) == 0 {
			return "object"
		}
		return "object with " + andMore(t.Names(), 6)
	}
	return "value of any type"
}

// article is the type after "is" or "wants": "a number", "text", "profiles".
func (t Type) article() string {
	s := t.String()
	switch {
	case t.Sort == Text, t.Sort == Bool, t.Sort == File && strings.HasSuffix(s, "s"):
		return s
	case strings.ContainsRune("aeiou", rune(s[0])):
		return "an " + s
	}
	return "a " + s
}

func (t Type) plural() string {
	switch t.Sort {
	case Bool:
		return "true or false"
	case Text:
		return "texts"
	case Number, Span:
		return t.String() + "s"
	case List:
		return "lists of " + t.Elem.plural()
	case Object:
		return "objects"
	case Any:
		return "values"
	}
	return t.String()
}

// takes says whether a value of type from may be given where t is wanted.
// Numbers are one type here: whether one is whole only its value shows.
func (t Type) takes(from Type) bool {
	if t.Sort == Any || from.Sort == Any {
		return true
	}
	switch t.Sort {
	case Span:
		return from.Sort == Span || from.Sort == Text
	case Text:
		return from.Sort == Text || from.Sort == Span
	case File:
		if from.Sort != File {
			return false
		}
		return t.Holds == from.Holds || plain(t.Holds) || plain(from.Holds)
	case List:
		return from.Sort == List && t.Elem.takes(*from.Elem)
	case Map:
		if from.Sort == Object {
			for _, m := range from.Members {
				if !t.Elem.takes(m.Type) {
					return false
				}
			}
			return true
		}
		return from.Sort == Map && t.Elem.takes(*from.Elem)
	case Object:
		return t.takesObject(from)
	}
	return t.Sort == from.Sort
}

func (t Type) takesObject(from Type) bool {
	if from.Sort == Map {
		return true // its names are known at run time only; the decoder is strict then
	}
	if from.Sort != Object {
		return false
	}
	for _, m := range from.Members {
		want, ok := t.Member(m.Name)
		if !ok || !want.takes(m.Type) {
			return false
		}
	}
	return true
}

// plain says whether an artefact is only a file or folder: an input of the
// plan, of which nobody knows what it holds.
func plain(holds string) bool { return holds == "" || holds == "file" || holds == "dir" }

var (
	artefactGo  = reflect.TypeFor[Artefact]()
	durationGo  = reflect.TypeFor[time.Duration]()
	timeGo      = reflect.TypeFor[time.Time]()
	rawGo       = reflect.TypeFor[json.RawMessage]()
	marshalerGo = reflect.TypeFor[json.Marshaler]()
)

// typeOfResult reads the type of a result from the json tags of its struct.
// A struct that holds itself is a bug of the kind.
func typeOfResult(rt reflect.Type, tag reflect.StructTag) Type {
	switch {
	case rt.Kind() == reflect.Pointer:
		t := typeOfResult(rt.Elem(), tag)
		t.Opt = true
		return t
	case rt == artefactGo:
		return Type{Sort: File, Holds: tag.Get("artefact")}
	case rt == timeGo:
		return textType
	case rt == rawGo:
		return anyType
	case rt.Implements(marshalerGo), reflect.PointerTo(rt).Implements(marshalerGo):
		return anyType
	}
	switch rt.Kind() {
	case reflect.Bool:
		return boolType
	case reflect.String:
		return textType
	case reflect.Float32, reflect.Float64:
		return numberType
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return wholeType
	case reflect.Slice, reflect.Array:
		elem := typeOfResult(rt.Elem(), tag)
		return Type{Sort: List, Elem: &elem}
	case reflect.Map:
		elem := typeOfResult(rt.Elem(), tag)
		return Type{Sort: Map, Elem: &elem}
	case reflect.Struct:
		return Type{Sort: Object, Members: resultMembers(rt)}
	}
	return anyType
}

func resultMembers(rt reflect.Type) []Member {
	var out []Member
	for i := range rt.NumField() {
		f := rt.Field(i)
		name, opts, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "-" || !f.IsExported() && !f.Anonymous {
			continue
		}
		if f.Anonymous && name == "" && f.Type.Kind() == reflect.Struct {
			out = append(out, resultMembers(f.Type)...)
			continue
		}
		if name == "" {
			name = f.Name
		}
		t := typeOfResult(f.Type, f.Tag)
		t.Opt = t.Opt || strings.Contains(opts, "omitempty") || strings.Contains(opts, "omitzero")
		out = append(out, Member{Name: name, Doc: f.Tag.Get("doc"), Type: t})
	}
	return out
}

// ResultType is the type of what a step of this kind yields.
func (k *Kind) ResultType(s Step) (Type, error) {
	if rt, ok := s.(ResultTyper); ok {
		return rt.ResultType()
	}
	if k.shape != nil {
		return k.shape.result, nil
	}
	return k.resultOf(), nil
}

func (k *Kind) resultOf() Type {
	if k.Result == nil {
		return Type{Sort: Object}
	}
	return typeOfResult(reflect.TypeOf(k.Result), "")
}
