package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"calrun/cmd/calrun/cli"
	"calrun/pipeline"
	"calrun/steps"
)

// hostVar makes the test binary the command, with the kind noop beside the
// usual ones: that is how a step in process is run by a whole process.
const hostVar = "CALRUN_BENCH_HOST"

func TestMain(m *testing.M) {
	if os.Getenv(hostVar) != "" {
		noop := pipeline.Kind{
			Name: "noop", Doc: "Do nothing.", Version: 1, Repeat: pipeline.Exact,
			New: func() pipeline.Step { return &noop{} }, Result: noop{},
		}
		os.Exit(cli.Main(cli.System(), append(steps.Builtin(), noop)...))
	}
	dir, err := os.MkdirTemp("", "calrun-bench-*")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	built = filepath.Join(dir, "calrun")
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// noop is a step that does nothing, and what it finds.
type noop struct {
	N int `yaml:"n" json:"n"`
}

func (s *noop) Run(context.Context, *pipeline.Runtime) (any, error) { return *s, nil }

// built is where command puts the program.
var built string

// command builds calrun, once.
func command(tb testing.TB) string {
	tb.Helper()
	if _, err := os.Stat(built); err == nil {
		return built
	}
	if out, err := exec.Command("go", "build", "-trimpath", "-o", built, "calrun/cmd/calrun").CombinedOutput(); err != nil {
		tb.Fatalf("build calrun: %v\n%s", err, out)
	}
	return built
}

// shape says which step each of n waits for, or none (-1).
type shape struct {
	name  string
	after func(i int) int
}

var shapes = []shape{
	{"chain", func(i int) int { return i - 1 }},
	{"fan", func(int) int { return -1 }},
}

// plan is n steps that do nothing. By exec, a program is started for each; it
// answers, as a step has to.
func plan(n int, s shape, byExec bool) string {
	var b strings.Builder
	b.WriteString("version: calrun/v1\nname: noop\nsteps:\n")
	for i := range n {
		needs := ""
		if a := s.after(i); a >= 0 {
			needs = fmt.Sprintf("needs: [s%d], ", a)
		}
		if byExec {
			fmt.Fprintf(&b, "  s%d: {uses: exec, %swith: {command: [/bin/echo, '{}'], input: %d, result: {}}}\n", i, needs, i)
		} else {
			fmt.Fprintf(&b, "  s%d: {uses: noop, %swith: {n: %d}}\n", i, needs, i)
		}
	}
	return b.String()
}

// write puts a file into a folder.
func write(dir, name, text string) error {
	path := filepath.Join(dir, name)
	return errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644))
}
