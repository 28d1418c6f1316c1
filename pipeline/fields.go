package pipeline

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/xeipuuv/gojsonschema"
	"gopkg.in/yaml.v3"
)

// shape is what the tags of a `with` struct say of one Go type: the one
// source of the decoder, the JSON schema and the list of kinds.
type shape struct {
	typ    Type
	rt     reflect.Type // never a pointer
	fields []*field     // of a struct
	elem   *shape       // of a list or map
	union  func() map[string]any

	// Of the top of a kind only:
	result  Type // of Kind.Result
	compile sync.Once
	schema  *gojsonschema.Schema
}

// field is one field of a `with` struct.
type field struct {
	name, doc string
	index     []int
	shape     *shape
	std       *value // default; nil without
	min, max  *float64
	minText   string
	maxText   string
	enum      []string
	required  bool
	location  bool   // key:"-": where something is, not what it is
	fill      string // "looks": the loader fills it
}

// schemer and its partner make a union: a type that reads several forms.
type schemer interface{ JSONSchema() map[string]any }

var (
	schemerGo     = reflect.TypeFor[schemer]()
	unmarshalerGo = reflect.TypeFor[json.Unmarshaler]()
)

// describe reads the tags of a step. A tag that cannot be read is a bug of
// the kind: it panics.
func describe(s Step) *shape {
	rt := reflect.TypeOf(s)
	for rt.Kind() == reflect.Pointer {
		rt = rt.Elem()
	}
	sh := shapeOf(rt, "")
	if sh.typ.Sort != Object {
		panic(fmt.Sprintf("pipeline: step %s is not a struct", rt))
	}
	sh.takeDefaults(reflect.Indirect(reflect.ValueOf(s)))
	return sh
}

// described is the kind's shape, made now if the kind never went through
// [NewKinds].
func (k *Kind) described() *shape {
	if k.shape != nil {
		return k.shape
	}
	return describe(k.New())
}

func shapeOf(rt reflect.Type, tag reflect.StructTag) *shape {
	for rt.Kind() == reflect.Pointer {
		rt = rt.Elem()
	}
	sh := &shape{rt: rt}
	holds := tag.Get("artefact")
	switch {
	case rt == artefactGo:
		sh.typ = Type{Sort: File, Holds: holds}
		return sh
	case rt == durationGo:
		sh.typ = spanType
		return sh
	case rt == rawGo:
		return sh
	case reflect.PointerTo(rt).Implements(unmarshalerGo):
		sh.typ = Type{Sort: Any, Holds: holds}
		sh.union = func() map[string]any { return map[string]any{} }
		if rt.Implements(schemerGo) {
			sh.union = reflect.Zero(rt).Interface().(schemer).JSONSchema
		} else if reflect.PointerTo(rt).Implements(schemerGo) {
			sh.union = reflect.New(rt).Interface().(schemer).JSONSchema
		}
		return sh
	}
	switch rt.Kind() {
	case reflect.Bool:
		sh.typ = boolType
	case reflect.String:
		sh.typ = textType
	case reflect.Float32, reflect.Float64:
		sh.typ = numberType
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		sh.typ = wholeType
	case reflect.Slice, reflect.Array:
		sh.elem = shapeOf(rt.Elem(), tag)
		sh.typ = Type{Sort: List, Elem: &sh.elem.typ}
	case reflect.Map:
		if rt.Key().Kind() != reflect.String {
			panic(fmt.Sprintf("pipeline: %s: a map in a `with` has text keys", rt))
		}
		sh.elem = shapeOf(rt.Elem(), tag)
		sh.typ = Type{Sort: Map, Elem: &sh.elem.typ}
	case reflect.Struct:
		sh.typ = Type{Sort: Object}
		sh.addFields(rt, nil)
	case reflect.Interface:
	default:
		panic(fmt.Sprintf("pipeline: a `with` cannot hold a %s", rt))
	}
	return sh
}

func (sh *shape) addFields(rt reflect.Type, index []int) {
	for i := range rt.NumField() {
		f := rt.Field(i)
		at := append(append([]int(nil), index...), i)
		name, opts, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if name == "-" || !f.IsExported() {
			continue
		}
		if (f.Anonymous && name == "" || strings.Contains(opts, "inline")) && f.Type.Kind() == reflect.Struct {
			sh.addFields(f.Type, at)
			continue
		}
		if name == "" {
			panic(fmt.Sprintf("pipeline: field %s of %s has no yaml tag", f.Name, rt))
		}
		fd := readField(name, rt, f)
		fd.index = at
		sh.fields = append(sh.fields, fd)
		t := fd.shape.typ
		t.Opt = !fd.required
		sh.typ.Members = append(sh.typ.Members, Member{Name: name, Doc: fd.doc, Type: t})
	}
}

func readField(name string, rt reflect.Type, f reflect.StructField) *field {
	tag := f.Tag
	fd := &field{
		name: name, doc: tag.Get("doc"), shape: shapeOf(f.Type, tag),
		required: tag.Get("required") == "true", location: tag.Get("key") == "-", fill: tag.Get("fill"),
		minText: tag.Get("min"), maxText: tag.Get("max"),
	}
	bad := func(what string, err error) {
		if err != nil {
			panic(fmt.Sprintf("pipeline: field %s of %s: %s tag: %v", f.Name, rt, what, err))
		}
	}
	var err error
	fd.min, err = readBound(fd.minText, fd.shape.typ)
	bad("min", err)
	fd.max, err = readBound(fd.maxText, fd.shape.typ)
	bad("max", err)
	if e := tag.Get("enum"); e != "" {
		for _, one := range strings.Split(e, ",") {
			fd.enum = append(fd.enum, strings.TrimSpace(one))
		}
	}
	if def, ok := tag.Lookup("default"); ok {
		fd.std, err = readDefault(def, fd.shape.typ)
		bad("default", err)
		d := &decoder{}
		d.field(reflect.New(fd.shape.rt).Elem(), fd, fd.std, name)
		bad("default", d.err())
	}
	if fd.fill != "" && fd.fill != "looks" {
		bad("fill", fmt.Errorf("%q is nothing that the loader can fill", fd.fill))
	}
	return fd
}

// readBound reads a min or max: of a duration in nanoseconds.
func readBound(s string, t Type) (*float64, error) {
	if s == "" {
		return nil, nil
	}
	for t.Sort == List || t.Sort == Map {
		t = *t.Elem
	}
	if t.Sort == Span {
		d, err := time.ParseDuration(s)
		f := float64(d)
		return &f, err
	}
	f, err := strconv.ParseFloat(s, 64)
	return &f, err
}

func readDefault(s string, t Type) (*value, error) {
	if t.Sort == Text || t.Sort == Span || t.Sort == File {
		return &value{form: isText, text: s}, nil
	}
	var tree any
	if err := yaml.Unmarshal([]byte(s), &tree); err != nil {
		return nil, err
	}
	return valueOf(tree)
}

// takeDefaults notes what New set and no default tag says, for the schema and
// the list of kinds.
func (sh *shape) takeDefaults(rv reflect.Value) {
	for _, fd := range sh.fields {
		fv := rv.FieldByIndex(fd.index)
		for fv.Kind() == reflect.Pointer && !fv.IsNil() {
			fv = fv.Elem()
		}
		if fd.std != nil || fv.Kind() == reflect.Pointer || fv.IsZero() {
			continue
		}
		switch fd.shape.typ.Sort {
		case Object:
			fd.shape.takeDefaults(fv)
		case Span:
			fd.std = &value{form: isText, text: shortDuration(time.Duration(fv.Int()))}
		case Bool, Number, Text:
			if v, err := valueOf(fv.Interface()); err == nil {
				fd.std = v
			}
		}
	}
}

// find returns the field of that name, or nil.
func (sh *shape) find(name string) *field {
	for _, fd := range sh.fields {
		if fd.name == name {
			return fd
		}
	}
	return nil
}

// names returns the names of the fields in the struct's order.
func (sh *shape) names() []string {
	out := make([]string, len(sh.fields))
	for i, fd := range sh.fields {
		out[i] = fd.name
	}
	return out
}

// shortDuration writes 10m for 10m0s.
func shortDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
