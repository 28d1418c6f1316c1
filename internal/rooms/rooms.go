// Package rooms holds a house's floor plan to its imports. The plan is the
// indented list in a package comment, a line a room:
//
//	room    what it is    -> rooms that it stands on
//
// Tests alone import it.
package rooms

import (
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Check is for the test of a house, in its folder, whose plan stands in
// doc.go: every room has a line, the line names exactly the rooms of the house
// that the room imports, and they stand above it. house is the import path of
// the folder.
func Check(t *testing.T, house string) {
	t.Helper()
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	var rooms []string
	for line := range strings.Lines(string(doc)) {
		body, ok := strings.CutPrefix(line, "//\t")
		if !ok {
			continue
		}
		what, below, _ := strings.Cut(body, "->")
		room := strings.Fields(what)[0]
		if got, want := imports(t, house, room), strings.Fields(below); !slices.Equal(got, want) {
			t.Errorf("%s imports %q, its line says %q", room, got, want)
		}
		for name := range strings.FieldsSeq(below) {
			if !slices.Contains(rooms, name) {
				t.Errorf("%s stands on %s, which comes after it", room, name)
			}
		}
		rooms = append(rooms, room)
	}
	files, err := filepath.Glob("*/*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if room := filepath.Dir(file); !slices.Contains(rooms, room) {
			t.Errorf("room %s has no line", room)
		}
	}
}

// imports are the rooms that a room imports, tests apart, sorted.
func imports(t *testing.T, house, room string) []string {
	t.Helper()
	files, err := filepath.Glob(room + "/*.go")
	if err != nil || len(files) == 0 {
		t.Fatalf("room %s: %d files, %v", room, len(files), err)
	}
	found := map[string]bool{}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, spec := range f.Imports {
			path, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			if name, ok := strings.CutPrefix(path, house+"/"); ok {
				found[name] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(found))
}
