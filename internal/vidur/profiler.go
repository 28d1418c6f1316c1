package vidur

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/ulikunitz/xz"
)

// Operator is a family of operators that Vidur's profiler measures in one go.
type Operator string

// The operators, by the names that plans have.
const (
	OpMLP       Operator = "mlp"
	OpAttention Operator = "attention"
	OpAllReduce Operator = "all_reduce"
)

// Profiling is a run of Vidur's own profiler on the host of the cards. Its
// modules need what Vidur itself does not: torch, ray and sarathi.
type Profiling struct {
	Python    string // interpreter there
	Model     string // of a deployment, as on its hub
	GPUs      int    // cards that share the work
	TP        int    // tensor-parallel size
	BlockSize int    // tokens in one KV block
	Seqs      int    // most sequences in a step
	Tokens    int    // token budget of a step
	Longest   int    // most tokens of a request
	Operators []Operator
}

// widest is the hidden size up to which collectives are measured: the
// profiler's own default is 4096 tokens of it.
const widest = 8192

// Commands are the command lines, in order, with the model as the dialect
// names it. What they write lies below out.
func (p Profiling) Commands(d Dialect, out string) ([][]string, error) {
	model, err := d.Model(p.Model)
	if err != nil {
		return nil, err
	}
	n := strconv.Itoa
	tokens := n(max(p.Tokens, p.Seqs))
	same := []string{"--num_gpus", n(p.GPUs), "--models", model, "--num_tensor_parallel_workers", n(p.TP)}
	own := map[Operator][]string{
		OpMLP: slices.Concat([]string{"vidur.profiling.mlp.main"}, same, []string{"--max_tokens", tokens}),
		OpAttention: slices.Concat([]string{"vidur.profiling.attention.main"}, same, []string{
			"--max_seq_len", n(p.Longest), "--max_batch_size", n(p.Seqs), "--max_chunk_size", tokens, "--block_size", n(p.BlockSize),
		}),
		OpAllReduce: {
			"vidur.profiling.collectives.main", "--num_workers_per_node_combinations", n(p.TP),
			"--max_collective_size", n(max(p.Tokens, p.Seqs) * widest), "--collective", "all_reduce",
		},
	}
	var all [][]string
	for _, op := range p.Operators {
		all = append(all, slices.Concat([]string{p.Python, "-m"}, own[op], []string{"--output_dir", out}))
	}
	return all, nil
}

// Script is the whole of it for a POSIX shell that reads it from its standard
// input: which dialect is there decides how the model is named, the commands
// run one after the other, and a tar archive of what they wrote goes to
// standard output; all else goes to standard error. The standard input must
// stay open: its end says that nobody waits any longer (calrun was killed, the
// connection broke), and ends the profiler, whose cards others want.
func (p Profiling) Script() (string, error) {
	var b strings.Builder
	b.WriteString(`set -eu
run() {
	echo "+ $*" >&2
	"$@" </dev/null >&2 3<&- &
	pid=$!
	wait "$pid"
	pid=
}
end() {
	code=$?
	trap - EXIT
	if [ -n "$pid" ]; then
		kill "$pid" 2>/dev/null || :
		wait "$pid" 2>/dev/null || :
	fi
	kill "$watch" 2>/dev/null || :
	rm -rf "$out"
	exit "$code"
}
profile() {
	pid= watch= out=
	exec 3<&0
	trap end EXIT
	trap 'exit 143' TERM INT HUP
	(cat <&3 >/dev/null; kill "$$") >/dev/null 2>&1 &
	watch=$!
	out=$(mktemp -d "${TMPDIR:-/tmp}/calrun-profile.XXXXXX")
`)
	fmt.Fprintf(&b, "\tcase $(%s </dev/null) in\n", CommandLine([]string{p.Python, "-m", "vidur.main", "--help"}))
	for _, d := range []struct {
		Dialect
		flag string
	}{{Registry, "model_profiling_dataset"}, {Repository, "compute_input_file"}} {
		fmt.Fprintf(&b, "\t*%s*)\n", d.flag)
		commands, err := p.Commands(d.Dialect, "$out")
		if err != nil {
			return "", err
		}
		for _, argv := range commands {
			last := len(argv) - 1
			fmt.Fprintf(&b, "\t\trun %s \"$out\"\n", CommandLine(argv[:last]))
		}
		b.WriteString("\t\t;;\n")
	}
	fmt.Fprintf(&b, `	*)
		echo "%s has no Vidur that calrun knows, or it does not start" >&2
		exit 1
		;;
	esac
	tar -C "$out" -cf - .
}
profile; exit
`, p.Python)
	return b.String(), nil
}

// Collect puts the tables that the profiler wrote below from into the folder
// to: mlp.csv, attention.csv, and all_reduce.csv below network/<node>. The
// profiler of the registry's dialect compresses them, one of them without
// saying so in its name. It yields the operators that are there.
func Collect(from, to, node string) ([]Operator, error) {
	place := map[Operator]string{OpMLP: mlpFile, OpAttention: attentionFile, OpAllReduce: filepath.Join("network", node, allReduceFile)}
	var found []Operator
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name := strings.TrimSuffix(d.Name(), ".xz")
		for op, file := range place {
			if name != filepath.Base(file) {
				continue
			}
			if slices.Contains(found, op) {
				return fmt.Errorf("the profiler left two tables named %s", name)
			}
			data, err := plainCSV(path)
			if err != nil {
				return err
			}
			found = append(found, op)
			target := filepath.Join(to, file)
			return errors.Join(os.MkdirAll(filepath.Dir(target), 0o755), os.WriteFile(target, data, 0o644))
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("collect Vidur's tables: %w", err)
	}
	slices.Sort(found)
	return found, nil
}

// xzMagic begins a file that xz compressed.
var xzMagic = []byte("\xfd7zXZ\x00")

// mostTable bounds a table: Vidur's largest are some ten megabytes.
const mostTable = 1 << 30

func plainCSV(path string) ([]byte, error) {
	data, err := os.ReadFile(path)
	if err != nil || !bytes.HasPrefix(data, xzMagic) {
		return data, err
	}
	r, err := xz.NewReader(bytes.NewReader(data))
	if err == nil {
		data, err = io.ReadAll(io.LimitReader(r, mostTable+1))
	}
	if err == nil && len(data) > mostTable {
		err = fmt.Errorf("more than %d bytes", mostTable)
	}
	if err != nil {
		return nil, fmt.Errorf("unpack %s: %w", filepath.Base(path), err)
	}
	return data, nil
}
