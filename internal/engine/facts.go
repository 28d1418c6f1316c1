// Package engine is a real engine as a URL or as a process that calrun
// starts: whether it is ready, what it is ([Facts]), what it accepts, what it
// counts.
package engine

// Facts are what an engine says of itself. A field that it does not state is
// nil or empty, and never guessed: who needs a value takes a default of his
// own and says so. The file engine.json of a measurement and of a workload
// holds them.
type Facts struct {
	Name         string   `json:"name"`    // vllm, calrun-emulator, openai (anything else)
	Version      string   `json:"version"` // "" if not stated
	Model        string   `json:"model"`
	MaxModelLen  *int     `json:"max_model_len,omitempty"` // tokens
	BlockSize    *int     `json:"block_size,omitempty"`    // tokens
	KVBlocks     *int     `json:"kv_blocks,omitempty"`
	MaxNumSeqs   *int     `json:"max_num_seqs,omitempty"`
	MaxTokens    *int     `json:"max_num_batched_tokens,omitempty"` // token budget of a step: the chunk size of chunked prefill
	Chunked      *bool    `json:"chunked_prefill,omitempty"`
	PrefixCache  *bool    `json:"prefix_caching,omitempty"`
	Async        *bool    `json:"async_scheduling,omitempty"`
	Policy       string   `json:"policy,omitempty"`
	MemoryShare  *float64 `json:"gpu_memory_utilization,omitempty"` // in [0,1]
	Dtype        string   `json:"dtype,omitempty"`
	Attention    string   `json:"attention,omitempty"`
	TP           *int     `json:"tensor_parallel,omitempty"`
	PP           *int     `json:"pipeline_parallel,omitempty"`
	GPU          string   `json:"gpu,omitempty"`
	GPUMemory    *int64   `json:"gpu_memory_bytes,omitempty"` // of one GPU
	EnforceEager *bool    `json:"enforce_eager,omitempty"`
}
