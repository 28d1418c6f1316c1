//go:build real

package vidur

import (
	"bytes"
	"context"
	"math"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"calrun/internal/profile"
	"calrun/internal/shared"
	"calrun/internal/trace"
	"calrun/internal/vidur"
)

// managed is the installation that calrun keeps, made if it is missing.
func managed(t *testing.T) (m vidur.Managed, cache string) {
	t.Helper()
	cache, err := vidur.CacheDir()
	if err != nil {
		t.Fatal(err)
	}
	if m, err = vidur.FindManaged(context.Background(), cache); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	if err := m.Install(context.Background(), &log); err != nil {
		t.Fatalf("%v\n%s", err, log.String())
	}
	return m, cache
}

// A model and a card that Vidur does not know are told to it by a launcher,
// unpatched. The model has half the layers of Llama-2-7B and the profile's
// rows, so each step takes half as long.
func TestRealVidurStrangers(t *testing.T) {
	ctx := context.Background()
	m, cache := managed(t)
	prof, err := profile.OpenFor(shared.Path(t, "profiles/vidur"), profile.Want{})
	if err != nil {
		t.Fatal(err)
	}
	sheets, err := prof.Sheets()
	if err != nil {
		t.Fatal(err)
	}
	alone := func(set vidur.Setup, layers int) time.Duration {
		sim, _, err := m.Python.Predict(ctx, cache, set, vidur.Source{Sheets: sheets, Layers: layers})
		if err != nil {
			t.Fatal(err)
		}
		res, err := sim.Run(ctx, t.TempDir(), []trace.Request{{Prompt: 374, Output: 44}}, true)
		if err != nil {
			t.Fatal(err)
		}
		return res.Rows[0].E2E()
	}
	whole := alone(setup(vidur.Sarathi), 32)
	set := setup(vidur.Sarathi)
	dims := prof.Dims
	dims.Layers = 16
	if err := set.Describe("example/half-llama", dims); err != nil {
		t.Fatal(err)
	}
	card, ok := profile.KnownCard("RTX4090")
	if !ok {
		t.Fatal("no such card")
	}
	set.DescribeCard(card)
	half := alone(set, dims.Layers)
	t.Logf("%v with 32 layers, %v with 16", whole, half)
	if r := float64(half) / float64(whole); math.Abs(r-0.5) > 0.01 {
		t.Errorf("half the layers take %.3f of the time", r)
	}
}

// parse lets a module of the profiler read a command line with its own parser.
// What it imports for the cards (torch, ray, sarathi) is not installed here,
// and mocked: the parser does not use it.
const parse = `
import importlib, importlib.machinery, sys
from unittest.mock import MagicMock

class Absent(MagicMock):
    __path__ = []

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"ray", "torch", "sarathi", "yaml", "tqdm"}:
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
    def create_module(self, spec):
        return Absent(name=spec.name)
    def exec_module(self, module):
        pass

sys.meta_path.append(Finder())
sys.argv = sys.argv[1:]
args = importlib.import_module(sys.argv[0]).parse_args()
print(sorted(vars(args).items()))
`

// The profiler's command lines are read by the installed package's own
// parsers, and its help is what they print.
func TestRealVidurProfilerReadsTheCommands(t *testing.T) {
	m, _ := managed(t)
	p := vidur.Profiling{
		Python: m.Python.Exe, Model: "meta-llama/Meta-Llama-3-70B", GPUs: 4, TP: 4, BlockSize: 16, Seqs: 256, Tokens: 2048, Longest: 4224,
		Operators: []vidur.Operator{vidur.OpMLP, vidur.OpAttention, vidur.OpAllReduce},
	}
	out := t.TempDir()
	commands, err := p.Commands(vidur.Registry, out)
	if err != nil {
		t.Fatal(err)
	}
	want := [][]string{
		{"'num_gpus', 4", "'models', ['meta-llama/Llama-3-70B']", "'num_tensor_parallel_workers', [4]", "'max_tokens', 2048", filepath.Join(out, "mlp")},
		{"'max_seq_len', 4224", "'max_batch_size', 256", "'max_chunk_size', 2048", "'block_size', 16", filepath.Join(out, "attention")},
		{"'num_workers_per_node_combinations', [4]", "'max_collective_size', 16777216", "'collective', 'all_reduce'", filepath.Join(out, "collective")},
	}
	for i, argv := range commands {
		module, args := argv[2], argv[3:] // python -m module args
		said, err := exec.Command(m.Python.Exe, append([]string{"-c", parse, module}, args...)...).CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v\n%s", module, err, said)
			continue
		}
		for _, w := range want[i] {
			if !strings.Contains(string(said), w) {
				t.Errorf("%s read %s, want %s", module, said, w)
			}
		}
		help, err := exec.Command(m.Python.Exe, "-c", parse, module, "--help").CombinedOutput()
		if err != nil {
			t.Errorf("%s --help: %v\n%s", module, err, help)
		}
		for _, arg := range args {
			if strings.HasPrefix(arg, "--") && !strings.Contains(string(help), arg+" ") {
				t.Errorf("the help of %s has no %s:\n%s", module, arg, help)
			}
		}
	}
}
