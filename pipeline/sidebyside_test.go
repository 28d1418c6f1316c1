package pipeline

import (
	"slices"
	"testing"
)

// An input and a file of one name are two things.
func TestSideBySideKeepsInputsAndFilesApart(t *testing.T) {
	run := func(input string) *Lock {
		return &Lock{Findings: Findings{
			Inputs: []LockedInput{{Name: "trace", Digest: input}}, Files: map[string]string{"trace": "sha256:file"},
		}}
	}
	rows := SideBySide(run("sha256:a"), run("sha256:b"))
	for _, want := range []Row{
		{Group: "inputs", Name: "trace", A: "sha256:a", B: "sha256:b"},
		{Group: "files", Name: "trace", A: "sha256:file", B: "sha256:file", Same: true},
	} {
		if !slices.Contains(rows, want) {
			t.Errorf("no %+v among %+v", want, rows)
		}
	}
}
