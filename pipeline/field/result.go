package field

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"time"

	"calrun/pipeline/canonical"
)

// TypeOf is [typeOfResult] of a value of the result's type; nil has no fields.
func TypeOf(result any) Type {
	if result == nil {
		return Type{Sort: Object}
	}
	return typeOfResult(reflect.TypeOf(result), "")
}

var (
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
	case rt == artefactType:
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

// EncodeResult returns a result as JSON. store is told of each artefact in it,
// its sort set, and gives it its digest.
func EncodeResult(result any, store func(a *Artefact) error) (json.RawMessage, error) {
	if result == nil {
		return nil, errors.New("it returned no result")
	}
	v := reflect.New(reflect.TypeOf(result)).Elem() // a copy that may be changed
	v.Set(reflect.ValueOf(result))
	err := each(v, "", func(a *Artefact, sort string) error {
		if a.Of == "" {
			a.Of = sort
		}
		return store(a)
	})
	if err != nil {
		return nil, fmt.Errorf("result: %w", err)
	}
	if at, bad := notFinite(v, "result"); bad {
		return nil, fmt.Errorf("%s is NaN or infinite; a result leaves out what is undefined", at)
	}
	raw, err := canonical.Encode(v.Interface())
	if err != nil {
		return nil, fmt.Errorf("result: %w", err)
	}
	return raw, nil
}

// notFinite finds a number that JSON cannot hold.
func notFinite(v reflect.Value, at string) (string, bool) {
	switch v.Kind() {
	case reflect.Float64, reflect.Float32:
		return at, math.IsNaN(v.Float()) || math.IsInf(v.Float(), 0)
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			return notFinite(v.Elem(), at)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			f := v.Type().Field(i)
			if !f.IsExported() || f.Tag.Get("json") == "-" {
				continue
			}
			if at, bad := notFinite(v.Field(i), at+"."+fieldName(f)); bad {
				return at, true
			}
		}
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			if at, bad := notFinite(v.Index(i), fmt.Sprintf("%s[%d]", at, i)); bad {
				return at, true
			}
		}
	case reflect.Map:
		for it := v.MapRange(); it.Next(); {
			if at, bad := notFinite(it.Value(), fmt.Sprintf("%s.%v", at, it.Key())); bad {
				return at, true
			}
		}
	}
	return "", false
}
