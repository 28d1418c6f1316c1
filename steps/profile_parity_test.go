package steps

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"calrun/internal/engine"
	"calrun/internal/trace"
	"calrun/pipeline"
)

// parityCase is a deployment, an engine and a profile that agree.
type parityCase struct {
	step     ProfileCheck
	facts    engine.Facts
	manifest string
	longest  int // tokens of the longest request
}

func newParityCase() *parityCase {
	return &parityCase{
		step: ProfileCheck{
			Deployment: Deployment{
				Model: "meta-llama/Llama-3.1-8B", GPU: "H100", GPUs: 1, TP: 1, PP: 1, Dtype: "bfloat16", Attention: "flash_attn", BlockSize: 16, MemoryShare: 0.9,
				MaxNumSeqs: new(256), MaxTokens: new(2048), MaxModelLen: new(8192), Chunked: new(true), PrefixCache: new(false), Async: new(false), EnforceEager: new(false), Policy: "fcfs",
			},
			Params: Params{KVBlocks: new(4000)},
		},
		facts: engine.Facts{
			Model: "meta-llama/Llama-3.1-8B", GPU: "NVIDIA H100", TP: new(1), PP: new(1), Dtype: "bfloat16", Attention: "flash_attn", BlockSize: new(16), MemoryShare: new(0.9),
			MaxNumSeqs: new(256), MaxTokens: new(2048), KVBlocks: new(4000), MaxModelLen: new(8192), Chunked: new(true), PrefixCache: new(false), Async: new(false), EnforceEager: new(false), Policy: "fcfs",
		},
		manifest: `format: steps
model: meta-llama/Llama-3.1-8B
gpu: H100
tensor_parallel: 1
dtype: bfloat16
attention: flash_attn
block_size: 16
num_layers: 32
hidden_size: 4096
num_heads: 32
num_kv_heads: 8
head_dim: 128
intermediate_size: 14336
step: {base: 8ms, per_prefill_token: 15us}
`,
		longest: 450,
	}
}

// warnings runs the check until something would be simulated, which is refused,
// and returns the fields that its log names.
func (c *parityCase) warnings(t *testing.T) (names []string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "profile.yaml"), []byte(c.manifest), 0o644); err != nil {
		t.Fatal(err)
	}
	c.step.Profiles.Path = dir
	c.step.Workload.Path = checkWorkload(t, c.facts, "2026-01-02T00:00:00Z", trace.Request{Prompt: c.longest - 50, Output: 50})
	var log bytes.Buffer
	stopped, stop := context.WithCancel(context.Background())
	stop()
	if _, err := c.step.Run(stopped, pipeline.NewScratch(t.TempDir(), zerolog.New(&log))); err == nil {
		t.Fatal("the check went on although nothing may be simulated")
	}
	for line := range strings.Lines(log.String()) {
		if _, rest, ok := strings.Cut(line, `"config: `); ok {
			name, _, _ := strings.Cut(rest, ":")
			names = append(names, name)
		}
	}
	return names
}

// More than twenty settings, each spoiled on a side that states it: each is named,
// and nothing else is, before a single step is simulated.
func TestEachSettingThatDiffersIsNamedFirst(t *testing.T) {
	manifest := func(from, to string) func(*parityCase) {
		return func(c *parityCase) { c.manifest = strings.Replace(c.manifest, from, to, 1) }
	}
	rows := []struct {
		field string
		spoil func(*parityCase)
	}{
		{"", func(*parityCase) {}},
		{"model", func(c *parityCase) { c.facts.Model = "meta-llama/Llama-3.1-70B" }},
		{"model", manifest("Llama-3.1-8B", "Llama-3.1-70B")},
		{"gpu", func(c *parityCase) { c.facts.GPU = "NVIDIA A100-SXM4-80GB" }},
		{"gpu", manifest("gpu: H100", "gpu: A100")},
		{"tensor_parallel", func(c *parityCase) { c.facts.TP = new(2) }},
		{"tensor_parallel", manifest("tensor_parallel: 1", "tensor_parallel: 4")},
		{"pipeline_parallel", func(c *parityCase) { c.facts.PP = new(2) }},
		{"dtype", func(c *parityCase) { c.facts.Dtype = "float16" }},
		{"dtype", manifest("dtype: bfloat16", "dtype: fp8")},
		{"attention", func(c *parityCase) { c.facts.Attention = "flashinfer" }},
		{"attention", manifest("attention: flash_attn", "attention: flashinfer")},
		{"num_layers", manifest("num_layers: 32", "num_layers: 80")},
		{"hidden_size", manifest("hidden_size: 4096", "hidden_size: 8192")},
		{"num_heads", manifest("num_heads: 32", "num_heads: 64")},
		{"num_kv_heads", manifest("num_kv_heads: 8", "num_kv_heads: 32")},
		{"head_dim", manifest("head_dim: 128", "head_dim: 64")},
		{"intermediate_size", manifest("intermediate_size: 14336", "intermediate_size: 28672")},
		{"block_size", func(c *parityCase) { c.facts.BlockSize = new(32) }},
		{"gpu_memory_utilization", func(c *parityCase) { c.facts.MemoryShare = new(0.85) }},
		{"max_num_seqs", func(c *parityCase) { c.facts.MaxNumSeqs = new(128) }},
		{"max_num_seqs", func(c *parityCase) { c.step.Params.BatchSizeCap = new(64) }},
		{"max_num_batched_tokens", func(c *parityCase) { c.facts.MaxTokens = new(8192) }},
		{"max_num_batched_tokens", func(c *parityCase) { c.step.Params.ChunkSize = new(512) }},
		{"kv_blocks", func(c *parityCase) { c.step.Params.KVBlocks = new(3800) }},
		{"chunked_prefill", func(c *parityCase) { c.facts.Chunked = new(false) }},
		{"policy", func(c *parityCase) { c.facts.Policy = "priority" }},
		{"prefix_caching", func(c *parityCase) { c.facts.PrefixCache = new(true) }},
		{"async_scheduling", func(c *parityCase) { c.facts.Async = new(true) }},
		{"enforce_eager", func(c *parityCase) { c.facts.EnforceEager = new(true) }},
		{"max_model_len", func(c *parityCase) { c.facts.MaxModelLen = new(4096) }},
		{"longest_request", func(c *parityCase) { c.longest = 9000 }},
	}
	seen := map[string]bool{}
	for _, r := range rows {
		c := newParityCase()
		r.spoil(c)
		if got := strings.Join(c.warnings(t), " "); got != r.field {
			t.Errorf("%q spoiled: the log names %q", r.field, got)
		}
		seen[r.field] = true
	}
	if n := len(seen) - 1; n < 20 {
		t.Errorf("%d settings are covered, want at least 20", n)
	}
}
