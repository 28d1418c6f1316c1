// Package field makes the tags of a Go struct the one declaration of what a
// plan may write: from the [Shape] of a struct come its strict [Decoder], its
// JSON schema and its list of fields; from a result's struct comes the [Type]
// that expressions are checked against. Start with [Describe] and [Field]; an
// [Artefact] is a file or folder as a field's value.
package field

import (
	"fmt"
	"maps"
	"slices"
	"sort"
	"strings"

	"calrun/pipeline/suggest"
)

// Type is the type of a value in a plan: of a `with` field, of a result, of
// an expression.
type Type struct {
	Sort    Sort
	Holds   string // of an artefact: the sort of thing, "" fits every one; of a secret: "env" if a text names its variable
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
	Span   // a duration: the text "10m"
	File   // an [Artefact]
	Hidden // a [Secret]
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
	for _, name := range slices.Sorted(maps.Keys(fields)) {
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
	case Hidden:
		return "secret"
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
		return "object with " + suggest.AndMore(t.Names(), 6)
	}
	return "value of any type"
}

// Article is the type after "is" or "wants": "a number", "text", "profiles".
func (t Type) Article() string {
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

// Takes says whether a value of type from may be given where t is wanted.
// Numbers are one type here: whether one is whole only its value shows.
func (t Type) Takes(from Type) bool {
	if t.Sort == Hidden || from.Sort == Hidden { // also not where anything may stand
		return t.Sort == from.Sort || t.Holds == fromEnv && from.Sort == Text
	}
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
		return t.Holds == from.Holds || IsPlain(t.Holds) || IsPlain(from.Holds)
	case List:
		return from.Sort == List && t.Elem.Takes(*from.Elem)
	case Map:
		if from.Sort == Object {
			for _, m := range from.Members {
				if !t.Elem.Takes(m.Type) {
					return false
				}
			}
			return true
		}
		return from.Sort == Map && t.Elem.Takes(*from.Elem)
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
		if !ok || !want.Takes(m.Type) {
			return false
		}
	}
	return true
}

// IsPlain says whether an artefact is only a file or folder: an input of the
// plan, of which nobody knows what it holds.
func IsPlain(holds string) bool { return holds == "" || holds == "file" || holds == "dir" }
