package plans

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var release = flag.String("release", "", "file the plans that are shipped now under this release: 0.2")

// corpus has a folder for each release, with the plans that it shipped. They
// are never changed.
const corpus = "testdata/corpus"

// A plan that a release shipped validates in every release after it.
func TestPlansOfEveryReleaseAreValid(t *testing.T) {
	if *release != "" {
		file(t, filepath.Join(corpus, *release))
	}
	files, err := filepath.Glob(filepath.Join(corpus, "*", "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no plans of any release: %v", err)
	}
	for _, file := range files {
		if strings.Contains(file, "your-own-step") {
			continue // its kinds are those of its own program
		}
		if exit, out, complaint := calrun("validate", file); exit != 0 {
			t.Errorf("calrun validate %s: exit %d\n%s%s", file, exit, out, complaint)
		}
	}
}

// file adds what is shipped now to the corpus, once.
func file(t *testing.T, dir string) {
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatalf("a release is filed once: %v", err)
	}
	for _, pattern := range []string{"*.yaml", "../examples/*/*.yaml"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range files {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			name := filepath.Base(path)
			if below := filepath.Dir(path); below != "." {
				name = "example-" + filepath.Base(below) + "-" + name
			}
			if !strings.Contains(string(data), "version: calrun/") {
				continue // not a plan
			}
			if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// A plan of a version that this calrun does not know is refused, with what to
// do, and nothing else is said of it.
func TestNewerVersionIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "plan.yaml")
	source := "version: calrun/v2\nname: x\nsteps: {x: {uses: unheard-of, and: more}}\n"
	if err := os.WriteFile(path, []byte(source), 0o644); err != nil {
		t.Fatal(err)
	}
	exit, out, _ := calrun("validate", path)
	if exit != 2 || !strings.Contains(out, "the plan wants calrun/v2, this calrun reads calrun/v1") ||
		!strings.Contains(out, "newer calrun") || strings.Contains(out, "unheard-of") {
		t.Errorf("exit %d: %s", exit, out)
	}
}
