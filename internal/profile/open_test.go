package profile

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// write lays files out below a fresh folder; names are slash-separated.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		p := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// vidurMLPCSV and vidurAttentionCSV are small tables of a model with 4096 ×
// 32 heads, for the TP degrees given.
func vidurMLPCSV(tps ...string) string {
	var b strings.Builder
	for _, op := range vidurMLP() {
		b.WriteString(timeColumn(op) + ",")
	}
	b.WriteString("n_head,n_kv_head,n_embd,n_expanded_embd,vocab_size,num_tokens,num_tensor_parallel_workers\n")
	for _, tp := range tps {
		for _, n := range []string{"1,", "128,", "4096,"} {
			b.WriteString(strings.Repeat("0.1,", len(vidurMLP())) + "32,32,4096,11008,32768," + n + tp + "\n")
		}
	}
	return b.String()
}

func vidurAttentionCSV(tps ...string) string {
	var b strings.Builder
	b.WriteString("time_stats.attn_prefill.median,time_stats.attn_decode.median,time_stats.attn_kv_cache_save.median,n_embd,n_q_head,n_kv_head,block_size,num_tensor_parallel_workers,batch_size,prefill_chunk_size,kv_cache_size\n")
	for _, tp := range tps {
		for _, r := range []string{
			"0.2,0,0.1", "0.8,0,0.1", // prefill 128, 4096
			"0,0.1,0.01", "0,0.5,0.01", // decode at 64, 4096
		} {
			b.WriteString(r + ",4096,32,32,16," + tp)
			switch r {
			case "0.2,0,0.1":
				b.WriteString(",1,128,0\n")
			case "0.8,0,0.1":
				b.WriteString(",1,4096,0\n")
			case "0,0.1,0.01":
				b.WriteString(",1,0,64\n")
			default:
				b.WriteString(",128,0,4096\n")
			}
		}
	}
	return b.String()
}

const (
	denseCSV = "layer,tokens,time_us\nqkv_proj,1,10\nqkv_proj,2048,100\no_proj,1,10\ngate_up_proj,1,10\ndown_proj,1,10\nlayernorm,1,2\n"
	seqCSV   = "layer,sequences,time_us\nlm_head,1,100\nsampler,1,10\n"
	attnCSV  = "prefill_chunk,kv_prefill,n_decode,kv_decode,time_us\n16,0,0,0,10\n0,0,1,16,10\n16,0,1,16,15\n"
	metaYAML = "model: meta-llama/Llama-3.1-8B\ngpu: NVIDIA GeForce RTX 4090\nvariant: bf16\nengine_effective: {tensor_parallel_size: 1, block_size: 16}\nprofiled_at: '2026-08-17T19:43:32+00:00'\n"
)

func TestOpenFinds(t *testing.T) {
	model := "meta-llama/Llama-2-7b-hf"
	mlp, attn := vidurMLPCSV("1"), vidurAttentionCSV("1")
	reduce := "time_stats.all_reduce.median,num_workers,devices_per_node,collective,size\n0.02,2,2,all_reduce,8192\n0.05,4,4,all_reduce,8192\n"
	for _, c := range []struct {
		why    string
		files  map[string]string
		want   Want
		format Format
		id     Identity
	}{
		{"the folder of the model itself", map[string]string{"mlp.csv": mlp, "attention.csv": attn}, Want{}, Vidur, Identity{TP: 1, BlockSize: 16}},
		{"Vidur's repository", map[string]string{
			"data/profiling/compute/a100/" + model + "/mlp.csv":       mlp,
			"data/profiling/compute/a100/" + model + "/attention.csv": attn,
			"data/profiling/network/a100_dgx/all_reduce.csv":          reduce,
		}, Want{}, Vidur, Identity{Model: model, GPU: "a100", TP: 1, BlockSize: 16}},
		{"what Vidur's profiler writes", map[string]string{
			"mlp/2026-01-01_00-00-00/" + model + "/mlp.csv":             mlp,
			"attention/2026-01-01_00-09-00/" + model + "/attention.csv": attn,
		}, Want{}, Vidur, Identity{Model: model, TP: 1, BlockSize: 16}},
		{"one card of two", map[string]string{
			"compute/a100/" + model + "/mlp.csv": mlp, "compute/a100/" + model + "/attention.csv": attn,
			"compute/h100/" + model + "/mlp.csv": mlp, "compute/h100/" + model + "/attention.csv": attn,
		}, Want{GPU: "NVIDIA H100 80GB HBM3"}, Vidur, Identity{Model: model, GPU: "h100", TP: 1, BlockSize: 16}},
		{"one TP degree of two, with its collectives", map[string]string{
			"mlp.csv": vidurMLPCSV("1", "4"), "attention.csv": vidurAttentionCSV("1", "4"), "all_reduce.csv": reduce,
		}, Want{TP: 4}, Vidur, Identity{TP: 4, BlockSize: 16}},
		{"a manifest decides where the caller does not", map[string]string{
			"mlp.csv": vidurMLPCSV("1", "4"), "attention.csv": vidurAttentionCSV("1", "4"), "all_reduce.csv": reduce,
			"profile.yaml": "format: vidur\ntensor_parallel: 4\ngpu: A100-80GB\n",
		}, Want{}, Vidur, Identity{GPU: "A100-80GB", TP: 4, BlockSize: 16}},
		{"LLMServingSim's", map[string]string{
			"meta.yaml": metaYAML, "tp1/dense.csv": denseCSV, "tp1/per_sequence.csv": seqCSV, "tp1/attention.csv": attnCSV,
		}, Want{}, Layers, Identity{
			Model: "meta-llama/Llama-3.1-8B", GPU: "NVIDIA GeForce RTX 4090", TP: 1, Dtype: "bfloat16", BlockSize: 16,
			MeasuredAt: time.Date(2026, 8, 17, 19, 43, 32, 0, time.UTC),
		}},
		{"steps", map[string]string{"profile.yaml": "format: steps\nmodel: m\nstep: {base: 5ms}\n"}, Want{}, Steps, Identity{Model: "m"}},
	} {
		p, err := OpenFor(write(t, c.files), c.want)
		if err != nil {
			t.Errorf("%s: %v", c.why, err)
			continue
		}
		p.Identity.MeasuredAt = p.Identity.MeasuredAt.UTC()
		if p.Format != c.format || p.Identity != c.id {
			t.Errorf("%s: %s %+v, want %s %+v", c.why, p.Format, p.Identity, c.format, c.id)
		}
		if _, err := p.Model(Scale{}); err != nil {
			t.Errorf("%s: %v", c.why, err)
		}
	}
}

// Each row is a profile with one thing wrong, and what the error must name.
func TestOpenRefuses(t *testing.T) {
	mlp, attn := vidurMLPCSV("1"), vidurAttentionCSV("1")
	layers := func(dense, seq, attn string) map[string]string {
		return map[string]string{"meta.yaml": metaYAML, "dense.csv": dense, "per_sequence.csv": seq, "attention.csv": attn}
	}
	for _, c := range []struct {
		why   string
		files map[string]string
		want  Want
		names []string
	}{
		{"an empty folder", nil, Want{}, []string{"no mlp.csv", "no CSV file"}},
		{"a folder of other tables", map[string]string{"x.csv": "a\n1\n"}, Want{}, []string{"seen: x.csv"}},
		{"a column that is missing", map[string]string{"mlp.csv": strings.Replace(mlp, "mlp_act.median", "act.median", 1), "attention.csv": attn}, Want{}, []string{"mlp.csv", "no column time_stats.mlp_act.median", "the columns are", "num_tokens"}},
		{"text in a count", map[string]string{"mlp.csv": strings.Replace(mlp, ",128,1", ",many,1", 1), "attention.csv": attn}, Want{}, []string{"mlp.csv", "line 3", "num_tokens", `"many"`}},
		{"text in a time", map[string]string{"mlp.csv": strings.Replace(mlp, "\n0.1,", "\nfast,", 1), "attention.csv": attn}, Want{}, []string{"line 2", "attn_pre_proj", `"fast"`}},
		{"half a token", map[string]string{"mlp.csv": strings.Replace(mlp, ",128,1", ",12.5,1", 1), "attention.csv": attn}, Want{}, []string{"line 3", "not a count"}},
		{"a short row", map[string]string{"mlp.csv": mlp + "0.1,0.2\n", "attention.csv": attn}, Want{}, []string{"line 5", "2 fields"}},
		{"another TP degree", map[string]string{"mlp.csv": mlp, "attention.csv": attn}, Want{TP: 4}, []string{"num_tensor_parallel_workers = 4", "have 1"}},
		{"two TP degrees and no word which", map[string]string{"mlp.csv": vidurMLPCSV("1", "2"), "attention.csv": attn}, Want{}, []string{"1, 2", "state which"}},
		{"a foreign model without a name", map[string]string{"mlp.csv": mlp, "attention.csv": attn}, Want{Model: "meta-llama/Meta-Llama-3-70B"}, []string{"n_embd = 8192", "have 4096"}},
		{"another block size", map[string]string{"mlp.csv": mlp, "attention.csv": attn}, Want{BlockSize: 32}, []string{"block_size = 32", "have 16"}},
		{"no attention", map[string]string{"mlp.csv": mlp}, Want{}, []string{"attention.csv"}},
		{"an empty file", map[string]string{"mlp.csv": "", "attention.csv": attn}, Want{}, []string{"mlp.csv", "empty"}},
		{"decode rows alone", map[string]string{"mlp.csv": mlp, "attention.csv": strings.Join(append(strings.Split(attn, "\n")[:1], strings.Split(attn, "\n")[3:]...), "\n")}, Want{}, []string{"0 rows of prefill"}},
		{"a layer that nobody knows", layers(denseCSV+"mamba,1,5\n", seqCSV, attnCSV), Want{}, []string{"dense.csv", `"mamba"`, "known are"}},
		{"a layer table without its size", layers("layer,size,time_us\nqkv_proj,1,1\n", seqCSV, attnCSV), Want{}, []string{"no column tokens", "layer, size, time_us"}},
		{"an attention table without a column", layers(denseCSV, seqCSV, strings.Replace(attnCSV, "n_decode", "decodes", 1)), Want{}, []string{"attention.csv", "no column n_decode"}},
		{"steps without a step", map[string]string{"profile.yaml": "format: steps\n"}, Want{}, []string{"profile.yaml", "no step: block"}},
		{"a misspelt price", map[string]string{"profile.yaml": "format: steps\nstep: {base: 5ms, per_token: 1us}\n"}, Want{}, []string{"line 2: field per_token is none that calrun's profile.yaml has here"}},
		{"a price without a unit", map[string]string{"profile.yaml": "format: steps\nstep: {base: 5 parsec}\n"}, Want{}, []string{"5 parsec"}},
		{"prices that are all 0", map[string]string{"profile.yaml": "format: steps\nstep: {base: 0ms}\n"}, Want{}, []string{"stand still"}},
		{"an unknown format", map[string]string{"profile.yaml": "format: vidr\n"}, Want{}, []string{`"vidr"`, "vidur"}},
		{"a path that leaves the folder", map[string]string{"profile.yaml": "format: vidur\npath: ../x\n"}, Want{}, []string{"../x"}},
	} {
		dir := write(t, c.files)
		_, err := OpenFor(dir, c.want)
		if err == nil {
			t.Errorf("%s: opened", c.why)
			continue
		}
		for _, n := range append(c.names, dir) {
			if !strings.Contains(err.Error(), n) {
				t.Errorf("%s: %q does not say %q", c.why, err, n)
			}
		}
	}
}

// A profile that opens and cannot price a step says why.
func TestModelRefuses(t *testing.T) {
	for _, c := range []struct {
		why   string
		files map[string]string
		scale Scale
		want  string
	}{
		{"a model of unknown depth", map[string]string{"dense.csv": denseCSV, "per_sequence.csv": seqCSV, "attention.csv": attnCSV}, Scale{}, "num_layers"},
		{"a time that is no number", map[string]string{"mlp.csv": strings.Replace(vidurMLPCSV("1"), "\n0.1,", "\n,", 1), "attention.csv": vidurAttentionCSV("1")}, Scale{}, "line 2"},
		{"a negative time", map[string]string{"mlp.csv": strings.Replace(vidurMLPCSV("1"), "\n0.1,", "\n-0.1,", 1), "attention.csv": vidurAttentionCSV("1")}, Scale{}, "attn_pre_proj"},
		{"no collectives for TP 2 of LLMServingSim's", map[string]string{"meta.yaml": metaYAML, "tp2/dense.csv": denseCSV, "tp2/per_sequence.csv": seqCSV, "tp2/attention.csv": attnCSV}, Scale{}, "all_reduce.csv"},
		{"no collectives for TP 4", map[string]string{"mlp.csv": vidurMLPCSV("4"), "attention.csv": vidurAttentionCSV("4")}, Scale{}, "all_reduce.csv"},
		{"a factor below 0", map[string]string{"profile.yaml": "format: steps\nstep: {base: 5ms}\n"}, Scale{MLP: -1}, "factor"},
		{"an overhead below 0", map[string]string{"profile.yaml": "format: steps\nstep: {base: 5ms}\n"}, Scale{Overhead: -1}, "before they began"},
	} {
		p, err := Open(write(t, c.files))
		if err != nil {
			t.Errorf("%s: %v", c.why, err)
			continue
		}
		if _, err := p.Model(c.scale); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one that says %q", c.why, err, c.want)
		}
	}
}

func TestManifestRoundTrip(t *testing.T) {
	m := Manifest{
		Format:   Steps,
		Identity: Identity{Model: "m", GPU: "g", TP: 2, Dtype: "float16", BlockSize: 16, MeasuredAt: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)},
		Covers:   Covers{Prompt: 512, Context: 600, Batch: 8},
		Step:     &StepTime{Base: 8e-3, PerPrefillToken: 15e-6, PerSequence: 1e-4, PerContextToken: 2e-8},
		Source:   "a test",
	}
	dir := t.TempDir()
	if err := WriteManifest(dir, m, "Two lines\nof comment."); err != nil {
		t.Fatal(err)
	}
	p, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if p.Identity != m.Identity || p.Covers != m.Covers || *p.Step != *m.Step {
		t.Errorf("%+v %+v %+v came back", p.Identity, p.Covers, p.Step)
	}
}
