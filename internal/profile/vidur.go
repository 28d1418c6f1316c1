package profile

import (
	"fmt"
	"path"
	"path/filepath"
	"sort"
	"strings"
)

// vidurMLP are the operators that Vidur sums from mlp.csv, once per layer.
// Its emb column is measured and not used.
func vidurMLP() []string {
	return []string{
		"attn_pre_proj", "attn_rope", "attn_post_proj", "mlp_up_proj", "mlp_act", "mlp_down_proj",
		"input_layernorm", "post_attention_layernorm", "add",
	}
}

// timeColumn is the column of an operator's time: medians, in ms.
func timeColumn(op string) string { return "time_stats." + op + ".median" }

const (
	msPerSecond = 1e3
	opSave      = "attn_kv_cache_save"
)

// Columns of Vidur's files that tell rows of one model from another's.
const (
	colTP        = "num_tensor_parallel_workers"
	colHidden    = "n_embd"
	colKVHeads   = "n_kv_head"
	colMLP       = "n_expanded_embd"
	colHeads     = "n_head"   // mlp.csv
	colQHeads    = "n_q_head" // attention.csv
	colBlock     = "block_size"
	colChunk     = "prefill_chunk_size"
	colKV        = "kv_cache_size"
	colBatch     = "batch_size"
	colNumTokens = "num_tokens"
)

func (p *Profile) readVidur(root string, at place, want Want) error {
	if p.Identity.Model == "" {
		p.Identity.Model = at.model
	}
	if p.Identity.GPU == "" {
		p.Identity.GPU = at.gpu
	}
	dims := p.Dims
	name := p.Identity.Model
	if name == "" {
		// Tables that do not say whose they are must at least have the shape
		// of the model that is wanted.
		name = want.Model
	}
	if d, ok := Known(name); ok {
		dims.fill(d)
	}
	mlp, err := p.vidurMLP(root, at, dims, want)
	if err != nil {
		return err
	}
	p.Tables = append(p.Tables, mlp...)
	attn, err := p.vidurAttention(root, at, want)
	if err != nil {
		return err
	}
	p.Tables = append(p.Tables, attn...)
	return nil
}

// readNetwork reads the collectives of a tensor-parallel profile, in Vidur's
// layout; LLMServingSim's has none of its own.
func (p *Profile) readNetwork(root string, all *found) error {
	if p.Identity.TP <= 1 {
		return nil
	}
	dir, ok := all.network(p.Identity.GPU)
	if !ok {
		p.Missing = append(p.Missing, fmt.Sprintf("all_reduce.csv for TP %d (%d network folders seen)", p.Identity.TP, len(all.networks)))
		return nil
	}
	if p.Dims.Hidden == 0 {
		return fmt.Errorf("read profile %s: the hidden size of %q is not known, so neither is how much its cards exchange; state hidden_size in %s", p.Dir, p.Identity.Model, ManifestFile)
	}
	comm, err := p.vidurAllReduce(root, path.Join(dir, "all_reduce.csv"))
	if err != nil {
		return err
	}
	p.Tables = append(p.Tables, comm)
	return nil
}

// vidurMLP reads mlp.csv and settles the shape and the TP degree.
func (p *Profile) vidurMLP(root string, at place, dims Dims, want Want) ([]*Table, error) {
	file := path.Join(at.dir, "mlp.csv")
	s, err := openSheet(filepath.Join(root, filepath.FromSlash(file)), file)
	if err != nil {
		return nil, err
	}
	need := []string{colHeads, colKVHeads, colHidden, colMLP, colNumTokens, colTP}
	for _, op := range vidurMLP() {
		need = append(need, timeColumn(op))
	}
	if err := s.need(need...); err != nil {
		return nil, err
	}
	rows, err := s.only([]match{
		{colHidden, dims.Hidden},
		{colHeads, dims.Heads},
		{colKVHeads, dims.KVHeads},
		{colMLP, dims.MLP},
		{colTP, want.TP},
	})
	if err != nil {
		return nil, err
	}
	first := rows[0]
	get := func(col string) int { v, _ := s.size(first, col); return int(v) }
	p.Identity.TP = get(colTP)
	p.Dims.fill(Dims{Hidden: get(colHidden), Heads: get(colHeads), KVHeads: get(colKVHeads), MLP: get(colMLP)})
	var tables []*Table
	for _, op := range vidurMLP() {
		t, err := s.table(op, rows, timeColumn(op), msPerSecond, colNumTokens)
		if err != nil {
			return nil, err
		}
		t.Family, t.PerLayer = MLP, 1
		tables = append(tables, t)
	}
	return tables, nil
}

// vidurAttention reads attention.csv: rows with a chunk are prefills of one
// sequence, rows with chunk 0 are decodes of batch_size sequences. Saving the
// cache is read and not paid for, as in Vidur itself: an old kernel made it
// dearer than attention, and later engines do not have that kernel.
func (p *Profile) vidurAttention(root string, at place, want Want) ([]*Table, error) {
	file := path.Join(at.attn, "attention.csv")
	s, err := openSheet(filepath.Join(root, filepath.FromSlash(file)), file)
	if err != nil {
		return nil, err
	}
	prefill, decode, save := timeColumn("attn_prefill"), timeColumn("attn_decode"), timeColumn(opSave)
	if err := s.need(colHidden, colQHeads, colKVHeads, colBlock, colTP, colBatch, colChunk, colKV, prefill, decode, save); err != nil {
		return nil, err
	}
	rows, err := s.only([]match{
		{colHidden, p.Dims.Hidden},
		{colQHeads, p.Dims.Heads},
		{colKVHeads, p.Dims.KVHeads},
		{colTP, p.Identity.TP},
		{colBlock, want.BlockSize},
	})
	if err != nil {
		return nil, err
	}
	block, err := s.size(rows[0], colBlock)
	if err != nil {
		return nil, err
	}
	p.Identity.BlockSize = int(block)
	if _, ok := s.at["attention_backend"]; ok && p.Identity.Attention == "" {
		b := s.text(rows[0], "attention_backend")
		p.Identity.Attention = strings.ToLower(b[strings.LastIndex(b, ".")+1:])
	}
	var prefills, decodes []record
	for _, r := range rows {
		chunk, err := s.size(r, colChunk)
		if err != nil {
			return nil, err
		}
		if chunk > 0 {
			prefills = append(prefills, r)
		} else {
			decodes = append(decodes, r)
		}
	}
	if len(prefills) == 0 || len(decodes) == 0 {
		return nil, fmt.Errorf("read profile %s: %d rows of prefill (%s > 0) and %d of decode (0) for this model; both are needed", file, len(prefills), colChunk, len(decodes))
	}
	var tables []*Table
	for _, x := range []struct {
		op   string
		rows []record
		col  string
		axes []string
	}{
		{"attn_prefill", prefills, prefill, []string{colChunk, colKV}},
		{"attn_decode", decodes, decode, []string{colBatch, colKV}},
		{opSave, decodes, save, []string{colBatch}},
	} {
		t, err := s.table(x.op, x.rows, x.col, msPerSecond, x.axes...)
		if err != nil {
			return nil, err
		}
		t.Family, t.PerLayer = Attn, 1
		if x.op == opSave {
			t.PerLayer = 0
		}
		tables = append(tables, t)
	}
	return tables, nil
}

// vidurAllReduce reads a node's collectives: two per layer, of the size of
// the hidden states (tokens × hidden × 2 bytes, as Vidur has it).
func (p *Profile) vidurAllReduce(root, file string) (*Table, error) {
	s, err := openSheet(filepath.Join(root, filepath.FromSlash(file)), file)
	if err != nil {
		return nil, err
	}
	col := timeColumn("all_reduce")
	if err := s.need("num_workers", "devices_per_node", "collective", "size", col); err != nil {
		return nil, err
	}
	var kept []record
	for _, r := range s.rows {
		if s.text(r, "collective") == "all_reduce" {
			kept = append(kept, r)
		}
	}
	s.rows = kept
	rows, err := s.only([]match{{"num_workers", p.Identity.TP}, {"devices_per_node", p.Identity.TP}})
	if err != nil {
		return nil, err
	}
	t, err := s.table("all_reduce", rows, col, msPerSecond, "size")
	if err != nil {
		return nil, err
	}
	t.Family, t.PerLayer = Comm, 2
	return t, nil
}

// match is a condition on a row: the column holds the value. Where the value
// is not known (0), all rows must agree.
type match struct {
	col  string
	want int
}

// only returns the rows that meet all conditions, in the order of the file.
func (s *sheet) only(conds []match) ([]record, error) {
	rows := s.rows
	for _, c := range conds {
		seen := map[int]int{}
		var kept []record
		for _, r := range rows {
			v, err := s.size(r, c.col)
			if err != nil {
				return nil, err
			}
			seen[int(v)]++
			if c.want == 0 || int(v) == c.want {
				kept = append(kept, r)
			}
		}
		if len(kept) == 0 {
			return nil, fmt.Errorf("read profile %s: no row with %s = %d; the rows that are left have %s", s.file, c.col, c.want, counts(seen))
		}
		if c.want == 0 && len(seen) > 1 {
			return nil, fmt.Errorf("read profile %s: %s is %s; state which in the deployment or in a %s beside it", s.file, c.col, counts(seen), ManifestFile)
		}
		rows = kept
	}
	return rows, nil
}

func counts(seen map[int]int) string {
	if len(seen) == 0 {
		return "nothing"
	}
	vals := make([]int, 0, len(seen))
	for v := range seen {
		vals = append(vals, v)
	}
	sort.Ints(vals)
	out := make([]string, len(vals))
	for i, v := range vals {
		out[i] = fmt.Sprint(v)
	}
	return strings.Join(out, ", ")
}

// table reads one operator's times at the sizes of the given rows; per is
// how many of the file's units make a second.
func (s *sheet) table(op string, rows []record, col string, per float64, axes ...string) (*Table, error) {
	t := &Table{File: s.file, Op: op, Axes: axes, Rows: make([]Row, 0, len(rows))}
	for _, r := range rows {
		row := Row{Line: r.line, At: make([]float64, len(axes))}
		for i, a := range axes {
			v, err := s.size(r, a)
			if err != nil {
				return nil, err
			}
			row.At[i] = v
		}
		v, err := s.number(r, col)
		if err != nil {
			return nil, err
		}
		row.Time = v / per
		t.Rows = append(t.Rows, row)
	}
	return t, nil
}
