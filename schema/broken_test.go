package schema_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"calrun/pipeline"
	"calrun/steps"
)

// The broken plans of package pipeline are broken for the builtin kinds too:
// whoever runs `calrun validate` on them sees the lines that their comments
// name, and no others.
func TestBrokenPlansWithBuiltinKinds(t *testing.T) {
	files, err := filepath.Glob("../pipeline/plan/testdata/bad/*.yaml")
	if err != nil || len(files) < 40 {
		t.Fatalf("%d broken plans, want at least 40 (%v)", len(files), err)
	}
	kinds := pipeline.NewKinds(steps.Builtin()...)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			src, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			_, problems := pipeline.LoadBytes(file, src, pipeline.LoadOptions{Kinds: kinds})
			if len(problems) == 0 {
				t.Fatal("no problems")
			}
			for _, p := range problems {
				if !named(string(src), p) {
					t.Errorf("no comment in the file says so:\n%s", p)
				}
			}
			if marks := strings.Count(string(src), "### "); marks != len(problems) {
				t.Errorf("%d problems, %d comments:\n%s", len(problems), marks, problems)
			}
		})
	}
}

// named says whether a comment stands on the problem's line, or just above
// where no comment can stand. Its words are those of package pipeline's own
// kinds: the builtin ones have other fields to suggest.
func named(src string, p pipeline.Problem) bool {
	lines := strings.Split(src, "\n")
	for i := p.Line - 1; i >= 0 && i > p.Line-4; i-- {
		if i >= len(lines) {
			continue
		}
		if _, text, ok := strings.Cut(lines[i], "### "); ok {
			return i == p.Line-1 || strings.HasPrefix(text, "+")
		}
	}
	return false
}
