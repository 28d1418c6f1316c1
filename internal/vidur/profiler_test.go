package vidur

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"calrun/internal/process"
)

// profiling is what the reference plan's deployment is profiled with.
func profiling(t *testing.T) Profiling {
	t.Helper()
	exe, err := filepath.Abs("testdata/profiler")
	if err != nil {
		t.Fatal(err)
	}
	return Profiling{
		Python: exe, Model: "meta-llama/Meta-Llama-3-70B", GPUs: 4, TP: 4, BlockSize: 16,
		Seqs: 256, Tokens: 2048, Longest: 4224, Operators: []Operator{OpMLP, OpAttention, OpAllReduce},
	}
}

// The command lines, word for word. A real test has them read by the
// package's own parsers.
func TestProfilingCommands(t *testing.T) {
	p := profiling(t)
	p.Python = "python3"
	for d, model := range map[Dialect]string{Registry: "meta-llama/Llama-3-70B", Repository: "meta-llama/Meta-Llama-3-70B"} {
		got, err := p.Commands(d, "OUT")
		if err != nil {
			t.Fatal(err)
		}
		want := []string{
			"python3 -m vidur.profiling.mlp.main --num_gpus 4 --models " + model + " --num_tensor_parallel_workers 4 --max_tokens 2048 --output_dir OUT",
			"python3 -m vidur.profiling.attention.main --num_gpus 4 --models " + model + " --num_tensor_parallel_workers 4 --max_seq_len 4224 --max_batch_size 256 --max_chunk_size 2048 --block_size 16 --output_dir OUT",
			"python3 -m vidur.profiling.collectives.main --num_workers_per_node_combinations 4 --max_collective_size 16777216 --collective all_reduce --output_dir OUT",
		}
		for i := range want {
			if line := CommandLine(got[i]); line != want[i] {
				t.Errorf("%s: %s\nwant %s", d, line, want[i])
			}
		}
	}
	p.Model = "gpt-2"
	if _, err := p.Script(); err == nil || !strings.Contains(err.Error(), "no model of Vidur") {
		t.Errorf("a model that the profiler does not know: %v", err)
	}
}

// tables are a profiler's results, as small as they may be; compressed where
// the registry's dialect does it, which the collectives' table does not say.
func tables(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	for _, f := range []string{mlpFile + ".xz", attentionFile, allReduceFile} {
		data := []byte("of " + strings.TrimSuffix(f, ".xz") + "\n")
		var err error
		if f == attentionFile {
			err = os.WriteFile(filepath.Join(dir, f), data, 0o644)
		} else {
			err = writeXZ(filepath.Join(dir, f), data)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("TABLES", dir)
	t.Setenv("EVENTS", filepath.Join(t.TempDir(), "events"))
	t.Setenv("TMPDIR", t.TempDir())
}

// shell runs a script as a step does, with its input held open, and gives the
// archive and what is left on the host.
func shell(t *testing.T, script string, hold func(*os.File)) (archive []byte, left []os.DirEntry, err error) {
	t.Helper()
	in, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	defer out.Close()
	if _, err := out.WriteString(script); err != nil {
		t.Fatal(err)
	}
	if hold != nil {
		go hold(out)
	}
	var stdout bytes.Buffer
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	err = process.Run(ctx, process.Cmd{Args: []string{"sh", "-s"}, Stdin: in, Stdout: &stdout})
	if ctx.Err() != nil {
		t.Fatal("the script does not end")
	}
	left, _ = os.ReadDir(os.Getenv("TMPDIR"))
	return stdout.Bytes(), left, err
}

func TestProfilingScript(t *testing.T) {
	tables(t)
	script, err := profiling(t).Script()
	if err != nil {
		t.Fatal(err)
	}
	archive, left, err := shell(t, script, nil)
	if err != nil || len(left) > 0 {
		t.Fatalf("%v; it left %v", err, left)
	}
	from, to := t.TempDir(), t.TempDir()
	if err := process.Run(context.Background(), process.Cmd{Args: []string{"tar", "-xf", "-", "-C", from}, Stdin: bytes.NewReader(archive)}); err != nil {
		t.Fatal(err)
	}
	made, err := Collect(from, to, "a100_dgx")
	if err != nil || !slices.Equal(made, []Operator{OpAllReduce, OpAttention, OpMLP}) {
		t.Errorf("collected %v, %v", made, err)
	}
	for _, f := range []string{mlpFile, attentionFile, "network/a100_dgx/" + allReduceFile} {
		if got := read(t, filepath.Join(to, f)); got != "of "+filepath.Base(f)+"\n" {
			t.Errorf("%s holds %q", f, got)
		}
	}
	// Of two runs' tables none is the right one.
	if err := os.CopyFS(filepath.Join(from, "again"), os.DirFS(filepath.Join(from, "attention"))); err != nil {
		t.Fatal(err)
	}
	if _, err := Collect(from, t.TempDir(), "x"); err == nil || !strings.Contains(err.Error(), "two tables named") {
		t.Errorf("two tables: %v", err)
	}
}

// Whatever goes wrong, nothing goes on on the host of the cards: not when an
// operator fails, and not when whoever asked has gone away.
func TestProfilingScriptEnds(t *testing.T) {
	for _, c := range []struct {
		why, fail, hang, says string
		gone                  bool
		ran                   int // operators
	}{
		{why: "an operator that fails ends it", fail: "attention", says: "CUDA out of memory", ran: 2},
		{why: "no Vidur that is known", says: "has no Vidur that calrun knows"},
		{why: "the connection breaks", hang: "mlp", gone: true, says: "exit", ran: 2}, // and the line of its end
	} {
		t.Run(c.why, func(t *testing.T) {
			tables(t)
			t.Setenv("FAIL", c.fail)
			t.Setenv("HANG", c.hang)
			if c.ran == 0 {
				t.Setenv("SPEAKS", "something_else")
			}
			script, err := profiling(t).Script()
			if err != nil {
				t.Fatal(err)
			}
			var hold func(*os.File)
			if c.gone {
				hold = func(f *os.File) {
					for range 1000 { // until it runs
						if data, _ := os.ReadFile(os.Getenv("EVENTS")); len(data) > 0 {
							break
						}
						time.Sleep(10 * time.Millisecond)
					}
					f.Close()
				}
			}
			archive, left, err := shell(t, script, hold)
			if err == nil || !strings.Contains(err.Error(), c.says) || len(left) > 0 || len(archive) > 0 {
				t.Errorf("%v; it left %v and %d bytes", err, left, len(archive))
			}
			events, _ := os.ReadFile(os.Getenv("EVENTS"))
			if n := strings.Count(string(events), "\n"); n != c.ran {
				t.Errorf("it ran:\n%s", events)
			}
			if c.gone && !strings.Contains(string(events), "was told to end") {
				t.Errorf("the profiler was not told to end:\n%s", events)
			}
		})
	}
}
