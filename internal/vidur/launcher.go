package vidur

import (
	"encoding/csv"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"calrun/internal/profile"
)

// Strange is what Vidur does not know by name, and is told by a launcher that
// calrun writes beside the copy of the profile: a model, a card, or both. Zero
// fields are known to it.
type Strange struct {
	Model profile.Dims // of Setup.Model
	Card  int          // GiB of memory of Setup.Device, which sits in a node of its own
}

// launcherFile is the launcher's name in the predictors' folder.
const launcherFile = "launch.py"

// strangeNode is the kind of node of a card that Vidur does not know.
const strangeNode = "calrun_node"

// Describe names a model that Vidur does not know. A table of dimensions
// that lacks one is an error.
func (s *Setup) Describe(name string, d profile.Dims) error {
	for _, x := range []struct {
		what string
		n    int
	}{{"num_layers", d.Layers}, {"hidden_size", d.Hidden}, {"num_heads", d.Heads}, {"num_kv_heads", d.KVHeads}, {"intermediate_size", d.MLP}} {
		if x.n < 1 {
			return fmt.Errorf("no model of Vidur is %q, and its %s is not known; state it in the profile's %s", name, x.what, profile.ManifestFile)
		}
	}
	if d.HeadDim != 0 && d.HeadDim*d.Heads != d.Hidden {
		return fmt.Errorf("%s has %d heads of %d in a hidden size of %d, and Vidur knows only models whose heads share the hidden size", name, d.Heads, d.HeadDim, d.Hidden)
	}
	s.Model, s.Strange.Model = name, d
	return nil
}

// DescribeCard names a card that Vidur does not know.
func (s *Setup) DescribeCard(c profile.Card) {
	s.Device, s.Node, s.Strange.Card = "calrun_"+strings.ToLower(c.Name), strangeNode, int(c.Bytes>>30)
}

// program is what the interpreter runs.
func (s Setup) program() []string {
	if s.Strange == (Strange{}) {
		return []string{"-m", "vidur.main"}
	}
	return []string{launcherFile}
}

// launcher is a Python program that tells Vidur of what it does not know and
// starts it, unpatched: it finds a model or a card among the subclasses of its
// own configurations. vocab is that of the profile's rows, which Vidur matches.
func (s Setup) launcher(vocab int) string {
	var b strings.Builder
	b.WriteString("# Written by calrun: what Vidur does not know of itself.\nfrom dataclasses import dataclass\n\nimport vidur.main\n")
	if d := s.Strange.Model; d != (profile.Dims{}) {
		fmt.Fprintf(&b, `from vidur.config.model_config import Llama2ModelConfig


@dataclass
class Model(Llama2ModelConfig):
    num_layers: int = %d
    num_q_heads: int = %d
    num_kv_heads: int = %d
    embedding_dim: int = %d
    mlp_hidden_dim: int = %d
    max_model_len: int = %d
    vocab_size: int = %d

    @staticmethod
    def get_name():
        return %s


`, d.Layers, d.Heads, d.KVHeads, d.Hidden, d.MLP, max(s.Longest, s.Limits.Tokens), vocab, strconv.Quote(s.Model))
	}
	if s.Strange.Card > 0 {
		fmt.Fprintf(&b, `from vidur.config.device_sku_config import BaseDeviceSKUConfig
from vidur.config.node_sku_config import BaseNodeSKUConfig


@dataclass
class Card(BaseDeviceSKUConfig):
    fp16_tflops: int = 1
    total_memory_gb: int = %d

    @staticmethod
    def get_type():
        return %s


@dataclass
class Node(BaseNodeSKUConfig):
    device_sku_type: str = %s
    num_devices_per_node: int = 8

    @staticmethod
    def get_type():
        return %s


`, s.Strange.Card, strconv.Quote(s.Device), strconv.Quote(s.Device), strconv.Quote(s.Node))
	}
	b.WriteString("if __name__ == \"__main__\":\n    vidur.main.main()\n")
	return b.String()
}

// vocabOf reads the vocabulary from the first row of mlp.csv that has the
// hidden size; without such a column it is the model's own.
func vocabOf(path string, d profile.Dims) (int, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, fmt.Errorf("copy the profile: %w", err)
	}
	defer f.Close()
	in := csv.NewReader(f)
	head, err := in.Read()
	if err != nil {
		return 0, fmt.Errorf("copy the profile: %s: %w", path, err)
	}
	vocab, hidden := slices.Index(head, "vocab_size"), slices.Index(head, "n_embd")
	for vocab >= 0 && hidden >= 0 {
		rec, err := in.Read()
		if err == io.EOF {
			break
		}
		if err != nil {
			return 0, fmt.Errorf("copy the profile: %s: %w", path, err)
		}
		if n, err := strconv.ParseFloat(rec[hidden], 64); err == nil && int(n) == d.Hidden {
			if v, err := strconv.ParseFloat(rec[vocab], 64); err == nil {
				return int(v), nil
			}
		}
	}
	return d.Vocab, nil
}
