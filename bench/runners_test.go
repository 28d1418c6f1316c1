//go:build peers

package bench

import (
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"text/tabwriter"
	"time"
)

// A runner runs a graph of steps that do nothing.
type runner struct {
	name  string
	write func(dir string, n int, s shape) error
	call  []string // its program, looked up in PATH, and its arguments
	env   []string
	scale int // how many times fewer steps it is asked for, where it needs minutes
}

// jobs is how many steps a runner may work on at a time: as many as calrun.
var jobs = strconv.Itoa(max(2, runtime.GOMAXPROCS(0)))

// runners start /bin/true for a step; a step of calrun in process starts
// nothing, and by exec it starts /bin/echo, since a step must answer.
func runners(calrun string) ([]runner, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	ours := func(byExec bool) func(string, int, shape) error {
		return func(dir string, n int, s shape) error { return write(dir, "plan.yaml", plan(n, s, byExec)) }
	}
	run := []string{"run", "plan.yaml"}
	return []runner{
		{name: "calrun", write: ours(false), call: append([]string{self}, run...), env: []string{hostVar + "=1"}},
		{name: "calrun, exec", write: ours(true), call: append([]string{calrun}, run...)},
		{name: "make", write: makefile, call: []string{"make", "-s", "-j" + jobs}},
		{name: "ninja", write: ninjafile, call: []string{"ninja", "--quiet", "-j" + jobs}},
		{name: "go-task", write: taskfile, call: []string{"task", "--silent", "--concurrency", jobs}},
		{name: "doit", write: dodo, call: []string{"doit", "-n", jobs, "-v", "0"}},
		{name: "Snakemake", write: snakefile, call: []string{"snakemake", "-q", "all", "-c" + jobs}, scale: 10},
	}, nil
}

// lines writes a file of a head and what each step adds.
func lines(dir, name, head string, n int, s shape, step func(i, after int) string) error {
	var b strings.Builder
	b.WriteString(head)
	for i := range n {
		b.WriteString(step(i, s.after(i)))
	}
	return write(dir, name, b.String())
}

// all names every step.
func all(n int) string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("s%d", i)
	}
	return strings.Join(names, " ")
}

func makefile(dir string, n int, s shape) error {
	return lines(dir, "Makefile", fmt.Sprintf(".PHONY: all %[1]s\nall: %[1]s\n", all(n)), n, s, func(i, after int) string {
		if after < 0 {
			return fmt.Sprintf("s%d:\n\t@/bin/true\n", i)
		}
		return fmt.Sprintf("s%d: s%d\n\t@/bin/true\n", i, after)
	})
}

func ninjafile(dir string, n int, s shape) error {
	return lines(dir, "build.ninja", "rule noop\n  command = /bin/true\n", n, s, func(i, after int) string {
		if after < 0 {
			return fmt.Sprintf("build s%d: noop\n", i)
		}
		return fmt.Sprintf("build s%d: noop s%d\n", i, after)
	})
}

func taskfile(dir string, n int, s shape) error {
	head := "version: '3'\ntasks:\n  default: {deps: [" + strings.ReplaceAll(all(n), " ", ", ") + "]}\n"
	return lines(dir, "Taskfile.yml", head, n, s, func(i, after int) string {
		if after < 0 {
			return fmt.Sprintf("  s%d: {run: once, cmds: [/bin/true]}\n", i)
		}
		return fmt.Sprintf("  s%d: {run: once, deps: [s%d], cmds: [/bin/true]}\n", i, after)
	})
}

func dodo(dir string, n int, s shape) error {
	return lines(dir, "dodo.py", "DOIT_CONFIG = {'reporter': 'zero'}\nSTEPS = [\n", n, s, func(i, after int) string {
		deps := ""
		if after >= 0 {
			deps = fmt.Sprintf("'noop:s%d'", after)
		}
		end := ""
		if i == n-1 {
			end = "]\ndef task_noop():\n    yield from STEPS\n"
		}
		return fmt.Sprintf("    {'name': 's%d', 'actions': [['/bin/true']], 'task_dep': [%s]},\n%s", i, deps, end)
	})
}

func snakefile(dir string, n int, s shape) error {
	return lines(dir, "Snakefile", fmt.Sprintf("rule all:\n    input: %q.split()\n", all(n)), n, s, func(i, after int) string {
		input := ""
		if after >= 0 {
			input = fmt.Sprintf("    input: 's%d'\n", after)
		}
		return fmt.Sprintf("rule:\n%s    output: touch('s%d')\n    shell: '/bin/true'\n", input, i)
	})
}

// once runs a graph from nothing and says what it took, and how often the
// disk was waited for, if that is asked for.
func (r runner) once(n int, s shape, syncs bool) (time.Duration, int, error) {
	dir, err := os.MkdirTemp("", "calrun-runner-*")
	if err != nil {
		return 0, 0, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if err := r.write(dir, n, s); err != nil {
		return 0, 0, err
	}
	args, log := r.call, filepath.Join(dir, "strace.out")
	if syncs {
		args = append([]string{"strace", "-f", "-qq", "-e", "trace=fsync,fdatasync,msync,sync_file_range,syncfs", "-o", log}, args...)
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), r.env...)
	began := time.Now()
	out, err := cmd.CombinedOutput()
	took := time.Since(began)
	if err != nil {
		return 0, 0, fmt.Errorf("%s, %s of %d: %w\n%s", r.name, s.name, n, err, out)
	}
	if !syncs {
		return took, 0, nil
	}
	data, err := os.ReadFile(log)
	return took, len(waits.FindAll(data, -1)), err
}

// waits finds the calls that wait for the disk in what strace wrote.
var waits = regexp.MustCompile(`(?m)^\d+ +(fsync|fdatasync|msync|sync_file_range|syncfs)\(`)

// best is the shortest of some runs: what else the machine did only adds.
func (r runner) best(n int, s shape) (time.Duration, error) {
	least, spent := time.Duration(math.MaxInt64), time.Duration(0)
	for try := 0; try < 5 && (try == 0 || spent < 3*time.Second); try++ {
		took, _, err := r.once(n, s, false)
		if err != nil {
			return 0, err
		}
		least, spent = min(least, took), spent+took
	}
	return least, nil
}

// marginal is what one more step of a graph costs, in milliseconds.
func (r runner) marginal(n int, s shape, one time.Duration) (float64, error) {
	n /= max(1, r.scale)
	took, err := r.best(n, s)
	return (took - one).Seconds() * 1e3 / float64(n-1), err
}

// finished says what a runner does for a step that has ended before it goes
// on: how often a chain of a hundred waits for the disk, beside a chain of
// one.
func (r runner) finished() (string, error) {
	if _, err := exec.LookPath("strace"); err != nil {
		return "? (no strace)", nil
	}
	const n = 101
	_, few, err := r.once(1, shapes[0], true)
	if err != nil {
		return "", err
	}
	_, many, err := r.once(n, shapes[0], true)
	perStep := float64(many-few) / (n - 1)
	if perStep >= 1 {
		return fmt.Sprintf("yes, %.1f a step", perStep), err
	}
	return fmt.Sprintf("no, %.1f a step", perStep), err
}

// TestRunners prints what a step costs with calrun and with others. It holds
// calrun to what it promises of durability alone: a time depends on what else
// the machine does, and its target stands in the table's head.
func TestRunners(t *testing.T) {
	all, err := runners(command(t))
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(w, "runner\tone step ms\t")
	sizes := []int{100, 1000}
	for _, s := range shapes {
		for _, n := range sizes {
			fmt.Fprintf(w, "%s %d ms/step\t×\t", s.name, n)
		}
	}
	fmt.Fprintln(w, "durable (fsync)\t")
	floor := map[string]float64{} // calrun's, of the columns
	for _, r := range all {
		row, durable, err := r.row(sizes, floor)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(w, row)
		t.Logf("%s", strings.ReplaceAll(row, "\t", "  ")) // the others take minutes
		if strings.HasPrefix(r.name, "calrun") && strings.HasPrefix(durable, "no") {
			t.Errorf("%s does not make a finished step durable: %s", r.name, durable)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	load, _ := os.ReadFile("/proc/loadavg")
	t.Logf("%s at a time, best of up to 5 runs (fewer when they take over 3 s) from nothing, less the run of one step; × is to calrun in process; in %s; load %s"+
		"targets of calrun: in process 1.0 ms, by exec 2.5 ms, one step 30 ms; Snakemake is asked for a tenth of the steps\n%s",
		jobs, os.TempDir(), load, text.String())
}

func (r runner) row(sizes []int, floor map[string]float64) (row, durable string, err error) {
	one, err := r.best(1, shapes[0])
	if err != nil {
		return "", "", err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s\t%.1f\t", r.name, one.Seconds()*1e3)
	for _, s := range shapes {
		for _, n := range sizes {
			step, stepErr := r.marginal(n, s, one)
			err = errors.Join(err, stepErr)
			column := fmt.Sprint(s.name, n)
			if _, there := floor[column]; !there {
				floor[column] = step
			}
			fmt.Fprintf(&b, "%.2f\t%.1f\t", step, step/floor[column])
		}
	}
	if err != nil {
		return "", "", err
	}
	durable, err = r.finished()
	return b.String() + durable + "\t", durable, err
}
