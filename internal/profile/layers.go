package profile

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
)

// How often a step pays for an operator of LLMServingSim's tables. They are
// measured on a model of one layer: what belongs to the decoder block is paid
// once per layer (its norm twice: before attention and before the MLP), what
// surrounds the blocks once.
func denseUses() map[string]struct{ perLayer, once int } {
	type use = struct{ perLayer, once int }
	return map[string]use{
		"embedding":       {0, 1},
		"layernorm":       {2, 0},
		"qkv_proj":        {1, 0},
		"qk_norm":         {1, 0},
		"rotary_emb":      {1, 0},
		"o_proj":          {1, 0},
		"gate_up_proj":    {1, 0},
		"act_fn":          {1, 0},
		"down_proj":       {1, 0},
		"final_layernorm": {0, 1},
	}
}

// perSequence are the operators paid once a step for every sequence that
// samples a token.
func perSequence() []string { return []string{"lm_head", "sampler"} }

const usPerSecond = 1e6

// layersMeta is what is read of LLMServingSim's meta.yaml.
type layersMeta struct {
	GPU      string `yaml:"gpu"`
	Hardware string `yaml:"hardware"`
	At       string `yaml:"profiled_at"`
	Model    string `yaml:"model"`
	Variant  string `yaml:"variant"`
	TP       []int  `yaml:"tp_degrees"`
	Engine   struct {
		TP        int `yaml:"tensor_parallel_size"`
		BlockSize int `yaml:"block_size"`
		Overrides struct {
			MLP     int `yaml:"intermediate_size"`
			Heads   int `yaml:"num_attention_heads"`
			KVHeads int `yaml:"num_key_value_heads"`
			Vocab   int `yaml:"vocab_size"`
		} `yaml:"hf_overrides"`
	} `yaml:"engine_effective"`
}

func (p *Profile) readLayers(root string, at place, want Want) error {
	if err := p.readMeta(root, at.dir, want); err != nil {
		return err
	}
	dense, err := p.layerTables(root, path.Join(at.dir, "dense.csv"), "tokens")
	if err != nil {
		return err
	}
	uses := denseUses()
	for _, t := range dense {
		use, ok := uses[t.Op]
		if !ok {
			return fmt.Errorf("read profile %s: layer %q is not known, so neither is how often a step pays for it; known are %s", t.File, t.Op, strings.Join(sortedKeys(uses), ", "))
		}
		t.PerLayer, t.Once = use.perLayer, use.once
	}
	for _, op := range []string{"qkv_proj", "o_proj", "gate_up_proj", "down_proj"} {
		if !holds(dense, op) {
			p.Missing = append(p.Missing, "layer "+op+" in "+path.Join(at.dir, "dense.csv"))
		}
	}
	seq, err := p.layerTables(root, path.Join(at.dir, "per_sequence.csv"), "sequences")
	if err != nil {
		return err
	}
	for _, t := range seq {
		t.Once = 1
	}
	for _, op := range perSequence() {
		if !holds(seq, op) {
			p.Missing = append(p.Missing, "layer "+op+" in "+path.Join(at.dir, "per_sequence.csv"))
		}
	}
	file := path.Join(at.dir, "attention.csv")
	s, err := openSheet(filepath.Join(root, filepath.FromSlash(file)), file)
	if err != nil {
		return err
	}
	axes := []string{"prefill_chunk", "kv_prefill", "n_decode", "kv_decode"}
	if err := s.need(append(axes, "time_us")...); err != nil {
		return err
	}
	attn, err := s.table("attention", s.rows, "time_us", usPerSecond, axes...)
	if err != nil {
		return err
	}
	if len(attn.Rows) == 0 {
		return fmt.Errorf("read profile %s: the file has no rows", file)
	}
	attn.Family, attn.PerLayer = Attn, 1
	p.Tables = append(append(append(p.Tables, dense...), seq...), attn)
	return nil
}

// readMeta takes the identity from meta.yaml, which lies beside the tables or
// above their tp<N> folder.
func (p *Profile) readMeta(root, dir string, want Want) error {
	var m layersMeta
	for _, d := range []string{dir, path.Dir(dir)} {
		file := path.Join(d, "meta.yaml")
		data, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(file)))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("read profile: %w", err)
		}
		if err := yaml.Unmarshal(data, &m); err != nil {
			return fmt.Errorf("read profile %s: %w", file, err)
		}
		break
	}
	id := &p.Identity
	set := func(to *string, v ...string) {
		for _, s := range v {
			if *to == "" {
				*to = s
			}
		}
	}
	set(&id.Model, m.Model)
	set(&id.GPU, m.GPU, m.Hardware)
	weights, _, _ := strings.Cut(m.Variant, "-")
	if DtypeBytes(weights) > 0 {
		set(&id.Dtype, dtype(weights))
	}
	if id.TP == 0 {
		id.TP = m.Engine.TP
	}
	if n, ok := strings.CutPrefix(path.Base(dir), "tp"); ok {
		fmt.Sscan(n, &id.TP) //nolint:errcheck // a folder that is not tp<N> says nothing
	}
	if id.BlockSize == 0 {
		id.BlockSize = m.Engine.BlockSize
	}
	if id.MeasuredAt.IsZero() && m.At != "" {
		at, err := time.Parse(time.RFC3339, m.At)
		if err != nil {
			return fmt.Errorf("read profile %s: profiled_at: %q is not a time such as 2026-08-17T19:43:32+00:00", path.Join(dir, "meta.yaml"), m.At)
		}
		id.MeasuredAt = at
	}
	o := m.Engine.Overrides
	p.Dims.fill(Dims{MLP: o.MLP, Heads: o.Heads, KVHeads: o.KVHeads, Vocab: o.Vocab})
	return nil
}

// layerTables reads a file of columns layer, size, time_us: a table per
// layer, in the order in which they appear.
func (p *Profile) layerTables(root, file, size string) ([]*Table, error) {
	s, err := openSheet(filepath.Join(root, filepath.FromSlash(file)), file)
	if err != nil {
		return nil, err
	}
	if err := s.need("layer", size, "time_us"); err != nil {
		return nil, err
	}
	byOp := map[string][]record{}
	var ops []string
	for _, r := range s.rows {
		op := s.text(r, "layer")
		if byOp[op] == nil {
			ops = append(ops, op)
		}
		byOp[op] = append(byOp[op], r)
	}
	if len(ops) == 0 {
		return nil, fmt.Errorf("read profile %s: the file has no rows", file)
	}
	var tables []*Table
	for _, op := range ops {
		t, err := s.table(op, byOp[op], "time_us", usPerSecond, size)
		if err != nil {
			return nil, err
		}
		t.Family = MLP
		tables = append(tables, t)
	}
	return tables, nil
}

func holds(tables []*Table, op string) bool {
	for _, t := range tables {
		if t.Op == op {
			return true
		}
	}
	return false
}

func sortedKeys[V any](m map[string]V) []string {
	return slices.Sorted(maps.Keys(m))
}
