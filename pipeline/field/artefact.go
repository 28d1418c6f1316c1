package field

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"reflect"
	"sort"
	"strings"
)

// Artefact is a file or a folder as a typed value: what a step reads through
// its `with` and what it yields in its result.
//
// A field of this type carries the tag `artefact:"measurement"`, the sort of
// thing it holds; a reference from a result to a `with` field of another sort
// is a load error. In a plan the value is a path (relative to the plan) or a
// reference. A step that yields one sets Path to something below
// its own folder; the runner stores it and sets Digest. A step that reads one
// finds Path set to a read-only place whose content has Digest.
type Artefact struct {
	Of     string `json:"artefact"`
	Digest string `json:"digest"` // "sha256:<64 hex>" of the file, or of the folder's tree
	Path   string `json:"-"`
}

// IsZero says whether the artefact was left out.
func (a Artefact) IsZero() bool { return a.Digest == "" && a.Path == "" }

var artefactType = reflect.TypeFor[Artefact]()

// EachArtefact calls fn for every artefact in a step, and lets it change the
// artefact in place. step is a pointer.
func EachArtefact(step any, fn func(a *Artefact) error) error {
	return each(reflect.ValueOf(step), "", func(a *Artefact, _ string) error { return fn(a) })
}

// each calls fn for every T in a value, with the sort that its field's tag
// states, and lets it change the T in place. v must be settable. Maps are
// visited in the order of their keys.
func each[T any](v reflect.Value, sort string, fn func(t *T, sort string) error) error {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return nil
		}
		return each(v.Elem(), sort, fn)
	case reflect.Interface:
		return eachInCopy(v, sort, fn)
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[T]() {
			return fn(v.Addr().Interface().(*T), sort)
		}
		for i := range v.NumField() {
			f := v.Type().Field(i)
			if !f.IsExported() {
				continue
			}
			if err := each(v.Field(i), f.Tag.Get("artefact"), fn); err != nil {
				return fmt.Errorf("%s: %w", fieldName(f), err)
			}
		}
	case reflect.Slice, reflect.Array:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return nil
		}
		for i := range v.Len() {
			if err := each(v.Index(i), sort, fn); err != nil {
				return fmt.Errorf("[%d]: %w", i, err)
			}
		}
	case reflect.Map:
		return eachInMap(v, sort, fn)
	}
	return nil
}

func eachInCopy[T any](v reflect.Value, sort string, fn func(*T, string) error) error {
	if v.IsNil() {
		return nil
	}
	copied := reflect.New(v.Elem().Type()).Elem()
	copied.Set(v.Elem())
	if err := each(copied, sort, fn); err != nil {
		return err
	}
	if v.CanSet() {
		v.Set(copied)
	}
	return nil
}

func eachInMap[T any](v reflect.Value, of string, fn func(*T, string) error) error {
	keys := v.MapKeys()
	sort.Slice(keys, func(i, j int) bool { return fmt.Sprint(keys[i]) < fmt.Sprint(keys[j]) })
	for _, k := range keys {
		copied := reflect.New(v.Type().Elem()).Elem()
		copied.Set(v.MapIndex(k))
		if err := each(copied, of, fn); err != nil {
			return fmt.Errorf("%v: %w", k, err)
		}
		v.SetMapIndex(k, copied)
	}
	return nil
}

// fieldName is the name that a plan or a result uses for a struct's field.
func fieldName(f reflect.StructField) string {
	for _, tag := range []string{"yaml", "json"} {
		if name, _, _ := strings.Cut(f.Tag.Get(tag), ","); name != "" && name != "-" {
			return name
		}
	}
	return strings.ToLower(f.Name)
}

// UnmarshalJSON reads {"artefact", "digest"} as a result has it; "path", if it
// is there, is where the artefact lies now.
func (a *Artefact) UnmarshalJSON(data []byte) error {
	var in struct {
		Of     string `json:"artefact"`
		Digest string `json:"digest"`
		Path   string `json:"path"`
	}
	if err := json.Unmarshal(data, &in); err != nil {
		return fmt.Errorf("an artefact is an object with artefact and digest: %w", err)
	}
	*a = Artefact{Of: in.Of, Digest: in.Digest, Path: in.Path}
	return nil
}

// Absolute is the path as seen from dir.
func Absolute(dir, path string) string {
	if filepath.IsAbs(path) || dir == "" {
		return path
	}
	return filepath.Join(dir, path)
}
