package pipeline

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

// The list of rooms in the package comment says what stands on what, and in
// an order in which imports go downwards.
func TestRoomsAreAsDocumented(t *testing.T) {
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
		if got, want := roomsOf(t, room), strings.Fields(below); !slices.Equal(got, want) {
			t.Errorf("%s imports %q, its line says %q", room, got, want)
		}
		for _, name := range strings.Fields(below) {
			if !slices.Contains(rooms, name) {
				t.Errorf("%s stands on %s, which comes after it", room, name)
			}
		}
		rooms = append(rooms, room)
	}
	dirs, err := filepath.Glob("*/*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range dirs {
		if room := filepath.Dir(file); !slices.Contains(rooms, room) {
			t.Errorf("room %s has no line", room)
		}
	}
}

// roomsOf are the rooms that a room imports, sorted.
func roomsOf(t *testing.T, room string) []string {
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
			if name, ok := strings.CutPrefix(path, "calrun/pipeline/"); ok {
				found[name] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(found))
}
