package steps

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"calrun/pipeline"

	"github.com/rs/zerolog"
)

const execPlan = `version: calrun/v1
name: two-programs
steps:
  make:
    uses: exec
    with:
      command: [sh, make.sh]
      repeat: exact
      result: {data: dir, n: int}
  read:
    uses: exec
    with:
      command: [sh, read.sh]
      input: {data: "${{ steps.make.data }}", n: "${{ steps.make.n }}"}
      result: {sum: float}
  enough:
    uses: gate
    of: read
    assert: {sum: sum > 2}
`

// Two programs in a plan: an artefact goes from one to the other, a gate
// reads the declared result, and what is declared exact runs once for all
// runs, until its script changes.
func TestExecInAPlan(t *testing.T) {
	dir := t.TempDir()
	put := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	put("make.sh", `out=$(sed 's/.*"dir":"\([^"]*\)".*/\1/'); mkdir "$out/d"; echo 3 > "$out/d/x"; echo made >> calls; echo '{"data": "d", "n": 7}'`)
	put("read.sh", `in=$(cat); case "$in" in *'"n":7'*) ;; *) echo "no n in $in" >&2; exit 1;; esac
path=$(echo "$in" | sed 's/.*"path":"\([^"]*\)".*/\1/'); echo "{\"sum\": $(cat "$path/x")}"`)
	kinds := pipeline.NewKinds(execKind)
	store, err := pipeline.OpenStore(filepath.Join(dir, ".calrun"))
	if err != nil {
		t.Fatal(err)
	}
	run := func() *pipeline.State {
		t.Helper()
		plan, problems := pipeline.LoadBytes(filepath.Join(dir, "plan.yaml"), []byte(execPlan), pipeline.LoadOptions{Kinds: kinds})
		if err := problems.Err(); err != nil {
			t.Fatal(err)
		}
		r := &pipeline.Runner{Kinds: kinds, Store: store, Log: zerolog.Nop(), Locks: filepath.Join(dir, "locks")}
		s, err := r.Run(t.Context(), plan, pipeline.RunOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if s.Exit != pipeline.ExitPass {
			t.Fatalf("exit %d: %v", s.Exit, s.Reasons)
		}
		return s
	}
	made := func() int {
		data, _ := os.ReadFile(filepath.Join(dir, "calls"))
		return strings.Count(string(data), "made")
	}
	first := run()
	second := run()
	if from := second.Rounds[0].Steps["make"].From; from != "run "+first.Run || made() != 1 {
		t.Errorf("make comes from %q and ran %d times", from, made())
	}
	if from := second.Rounds[0].Steps["read"].From; from != "" {
		t.Errorf("read is a measurement, and comes from %q", from)
	}
	put("make.sh", `out=$(sed 's/.*"dir":"\([^"]*\)".*/\1/'); mkdir "$out/d"; echo 4 > "$out/d/x"; echo made >> calls; echo '{"data": "d", "n": 7}'`)
	run()
	if made() != 2 {
		t.Errorf("after a change of its script make ran %d times in all", made())
	}
}
