package bench

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"calrun/pipeline/store"
)

// call runs a verb in a folder.
func call(b *testing.B, dir string, args ...string) []byte {
	b.Helper()
	cmd := exec.Command(command(b), args...)
	cmd.Dir = dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		b.Fatalf("calrun %s: %v\n%s", strings.Join(args, " "), err, stderr.Bytes())
	}
	return out
}

// again times a whole process as often as the benchmark asks, and says the
// mean in milliseconds, by the clock and of both cores' time.
func again(b *testing.B, dir string, prepare func(), args ...string) time.Duration {
	b.Helper()
	command(b)
	var wall, cpu time.Duration
	b.ResetTimer()
	for b.Loop() {
		if prepare != nil {
			b.StopTimer()
			prepare()
			b.StartTimer()
		}
		cmd := exec.Command(command(b), args...)
		cmd.Dir = dir
		began := time.Now()
		if out, err := cmd.CombinedOutput(); err != nil {
			b.Fatalf("calrun %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		wall += time.Since(began)
		cpu += cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	}
	b.ReportMetric(wall.Seconds()*1e3/float64(b.N), "ms")
	b.ReportMetric(cpu.Seconds()*1e3/float64(b.N), "ms-cpu")
	return wall / time.Duration(b.N)
}

// BenchmarkProcess is what a user waits for: each is a process from its start
// to its end, on the disk that TMPDIR names.
func BenchmarkProcess(b *testing.B) {
	b.Run("version", func(b *testing.B) { again(b, b.TempDir(), nil, "version") })
	b.Run("run-1", func(b *testing.B) {
		dir := b.TempDir()
		fresh := func() {
			if err := os.RemoveAll(filepath.Join(dir, ".calrun")); err != nil {
				b.Fatal(err)
			}
		}
		if err := write(dir, "plan.yaml", plan(1, shapes[0], true)); err != nil {
			b.Fatal(err)
		}
		again(b, dir, fresh, "run", "plan.yaml")
	})
	for _, s := range shapes {
		b.Run("exec-100/"+s.name, func(b *testing.B) {
			const n = 100
			dir := b.TempDir()
			if err := write(dir, "plan.yaml", plan(n, s, true)); err != nil {
				b.Fatal(err)
			}
			took := again(b, dir, nil, "run", "plan.yaml") // exec is measured: it runs each time
			b.ReportMetric(took.Seconds()*1e3/n, "ms/step")
		})
	}
	b.Run("validate-1000", func(b *testing.B) {
		dir := b.TempDir()
		if err := write(dir, "plan.yaml", plan(1000, shapes[0], true)); err != nil {
			b.Fatal(err)
		}
		again(b, dir, nil, "validate", "plan.yaml")
	})
	b.Run("history-10000", func(b *testing.B) {
		dir := b.TempDir()
		manyRuns(b, dir, 10000)
		if n := bytes.Count(call(b, dir, "history"), []byte("\n")); n != 10001 { // and keeps an index
			b.Fatalf("the history has %d lines", n)
		}
		again(b, dir, nil, "history")
	})
}

// manyRuns makes n runs of one that was run.
func manyRuns(b *testing.B, dir string, n int) {
	b.Helper()
	if err := write(dir, "plan.yaml", plan(3, shapes[0], true)); err != nil {
		b.Fatal(err)
	}
	var first struct{ Run string }
	if err := json.Unmarshal(call(b, dir, "run", "plan.yaml", "--json"), &first); err != nil {
		b.Fatal(err)
	}
	runs := filepath.Join(dir, ".calrun", "runs")
	lines, err := store.ReadJournal(filepath.Join(runs, first.Run, "journal.jsonl"))
	if err != nil {
		b.Fatal(err)
	}
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for i := range n - 1 {
		at = at.Add(time.Minute)
		id := at.Format("20060102-150405") + fmt.Sprintf("-%04x", i)
		if err := os.MkdirAll(filepath.Join(runs, id), 0o755); err != nil {
			b.Fatal(err)
		}
		j, err := store.CreateJournal(filepath.Join(runs, id, "journal.jsonl"))
		if err != nil {
			b.Fatal(err)
		}
		for _, line := range lines {
			if err := j.Add(bytes.ReplaceAll(line, []byte(first.Run), []byte(id))); err != nil {
				b.Fatal(err)
			}
		}
		if err := j.Flush(); err != nil {
			b.Fatal(err)
		}
		j.Close()
	}
}
