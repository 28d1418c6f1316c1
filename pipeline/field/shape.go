package field

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"time"

	"calrun/pipeline/document"

	"github.com/xeipuuv/gojsonschema"
	"gopkg.in/yaml.v3"
)

// Shape is what the tags of a `with` struct say of one Go type: the one
// source of the decoder, the JSON schema and the list of kinds.
type Shape struct {
	Type   Type
	Go     reflect.Type // never a pointer
	Fields []*Field     // of a struct
	elem   *Shape       // of a list or map
	union  func() map[string]any

	// Of the top of a kind only:
	compile sync.Once
	schema  *gojsonschema.Schema
}

// Field is one field of a `with` struct.
type Field struct {
	Name, doc string
	index     []int
	Shape     *Shape
	std       *document.Value // default; nil without
	min, max  *float64
	minText   string
	maxText   string
	enum      []string
	required  bool
	optional  bool   // a pointer: not given is not the same as its defaults
	apart     bool   // says where something is, and not what it is: outside every key
	Fill      string // "looks": the loader fills it
}

// schemer and its partner make a union: a type that reads several forms.
type schemer interface{ JSONSchema() map[string]any }

var (
	schemerGo     = reflect.TypeFor[schemer]()
	unmarshalerGo = reflect.TypeFor[json.Unmarshaler]()
)

// Describe reads the tags of a step. A tag that cannot be read is a bug of
// the kind: it panics.
func Describe(s any) *Shape {
	rt := reflect.TypeOf(s)
	for rt.Kind() == reflect.Pointer {
		rt = rt.Elem()
	}
	sh := ShapeOf(rt, "")
	if sh.Type.Sort != Object {
		panic(fmt.Sprintf("pipeline: step %s is not a struct", rt))
	}
	sh.takeDefaults(reflect.Indirect(reflect.ValueOf(s)))
	return sh
}

// ShapeOf reads the tags of a type; tag is that of the field that holds it.
func ShapeOf(rt reflect.Type, tag reflect.StructTag) *Shape {
	for rt.Kind() == reflect.Pointer {
		rt = rt.Elem()
	}
	sh := &Shape{Go: rt}
	holds := tag.Get("artefact")
	switch {
	case rt == artefactType:
		sh.Type = Type{Sort: File, Holds: holds}
		return sh
	case rt == secretType:
		sh.Type = Type{Sort: Hidden, Holds: tag.Get("secret")}
		return sh
	case rt == durationGo:
		sh.Type = spanType
		return sh
	case rt == rawGo:
		return sh
	case reflect.PointerTo(rt).Implements(unmarshalerGo):
		sh.Type = Type{Sort: Any, Holds: holds}
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
		sh.Type = boolType
	case reflect.String:
		sh.Type = textType
	case reflect.Float32, reflect.Float64:
		sh.Type = numberType
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		sh.Type = wholeType
	case reflect.Slice, reflect.Array:
		sh.elem = ShapeOf(rt.Elem(), tag)
		sh.Type = Type{Sort: List, Elem: &sh.elem.Type}
	case reflect.Map:
		if rt.Key().Kind() != reflect.String {
			panic(fmt.Sprintf("pipeline: %s: a map in a `with` has text keys", rt))
		}
		sh.elem = ShapeOf(rt.Elem(), tag)
		sh.Type = Type{Sort: Map, Elem: &sh.elem.Type}
	case reflect.Struct:
		sh.Type = Type{Sort: Object}
		sh.addFields(rt, nil)
	case reflect.Interface:
	default:
		panic(fmt.Sprintf("pipeline: a `with` cannot hold a %s", rt))
	}
	return sh
}

func (sh *Shape) addFields(rt reflect.Type, index []int) {
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
		sh.Fields = append(sh.Fields, fd)
		t := fd.Shape.Type
		t.Opt = !fd.required
		sh.Type.Members = append(sh.Type.Members, Member{Name: name, Doc: fd.doc, Type: t})
	}
}

// New is a field outside any struct, of a Go type and with a tag.
func New(name string, rt reflect.Type, tag reflect.StructTag) *Field {
	return readField(name, rt, reflect.StructField{Name: name, Type: rt, Tag: tag})
}

func readField(name string, rt reflect.Type, f reflect.StructField) *Field {
	tag := f.Tag
	fd := &Field{
		Name: name, doc: tag.Get("doc"), Shape: ShapeOf(f.Type, tag),
		required: tag.Get("required") == "true", Fill: tag.Get("fill"),
		optional: f.Type.Kind() == reflect.Pointer, apart: tag.Get("key") == "-",
		minText: tag.Get("min"), maxText: tag.Get("max"),
	}
	bad := func(what string, err error) {
		if err != nil {
			panic(fmt.Sprintf("pipeline: field %s of %s: %s tag: %v", f.Name, rt, what, err))
		}
	}
	var err error
	fd.min, err = readBound(fd.minText, fd.Shape.Type)
	bad("min", err)
	fd.max, err = readBound(fd.maxText, fd.Shape.Type)
	bad("max", err)
	if e := tag.Get("enum"); e != "" {
		for one := range strings.SplitSeq(e, ",") {
			fd.enum = append(fd.enum, strings.TrimSpace(one))
		}
	}
	if def, ok := tag.Lookup("default"); ok {
		fd.std, err = readDefault(def, fd.Shape.Type)
		bad("default", err)
		d := &Decoder{}
		d.Field(reflect.New(fd.Shape.Go).Elem(), fd, fd.std, name)
		bad("default", d.err())
	}
	if fd.Fill != "" && fd.Fill != "looks" {
		bad("fill", fmt.Errorf("%q is nothing that the loader can fill", fd.Fill))
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

func readDefault(s string, t Type) (*document.Value, error) {
	if t.Sort == Text || t.Sort == Span || t.Sort == File {
		return &document.Value{Form: document.Text, Text: s}, nil
	}
	var tree any
	if err := yaml.Unmarshal([]byte(s), &tree); err != nil {
		return nil, err
	}
	return document.Of(tree)
}

// takeDefaults notes what New set and no default tag says, for the schema and
// the list of kinds.
func (sh *Shape) takeDefaults(rv reflect.Value) {
	for _, fd := range sh.Fields {
		fv := rv.FieldByIndex(fd.index)
		for fv.Kind() == reflect.Pointer && !fv.IsNil() {
			fv = fv.Elem()
		}
		if fd.std != nil || fv.Kind() == reflect.Pointer || fv.IsZero() {
			continue
		}
		switch fd.Shape.Type.Sort {
		case Object:
			fd.Shape.takeDefaults(fv)
		case Span:
			fd.std = &document.Value{Form: document.Text, Text: shortDuration(time.Duration(fv.Int()))}
		case Bool, Number, Text:
			if v, err := document.Of(fv.Interface()); err == nil {
				fd.std = v
			}
		}
	}
}

// Find returns the field of that name, or nil.
func (sh *Shape) Find(name string) *Field {
	for _, fd := range sh.Fields {
		if fd.Name == name {
			return fd
		}
	}
	return nil
}

// Opaque says whether only the kind knows the form of its values: a union, or
// any JSON.
func (sh *Shape) Opaque() bool { return sh.union != nil || sh.Type.Sort == Any }

// Names returns the names of the fields in the struct's order.
func (sh *Shape) Names() []string {
	out := make([]string, len(sh.Fields))
	for i, fd := range sh.Fields {
		out[i] = fd.Name
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
