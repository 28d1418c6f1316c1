package steps

// Params are the parameters of a simulator that a plan may set and `tune` may
// fit. nil leaves a parameter to the engine's facts or to the default; the
// result of `simulate` has every one that took effect.
type Params struct {
	BatchSizeCap *int     `yaml:"batch_size_cap" json:"batch_size_cap,omitempty" min:"1" doc:"most sequences in one step (vLLM max_num_seqs)"`
	ChunkSize    *int     `yaml:"chunk_size" json:"chunk_size,omitempty" min:"1" doc:"token budget of one step (vLLM max_num_batched_tokens)"`
	KVBlocks     *int     `yaml:"kv_blocks" json:"kv_blocks,omitempty" min:"1" doc:"KV-cache blocks of the replica"`
	CPUOverhead  *float64 `yaml:"cpu_overhead_s" json:"cpu_overhead_s,omitempty" min:"0" doc:"seconds added to every step"`
	FrontEnd     *float64 `yaml:"front_end_s" json:"front_end_s,omitempty" min:"0" doc:"seconds between a request's arrival and the scheduler"`
	PerSequence  *float64 `yaml:"per_sequence_s" json:"per_sequence_s,omitempty" min:"0" doc:"seconds added to a step for each sequence in it"`
	KMLP         *float64 `yaml:"k_mlp" json:"k_mlp,omitempty" min:"0.01" max:"100" doc:"factor on the MLP and projection kernels (of a step-time profile: on the step and its tokens)"`
	KAttn        *float64 `yaml:"k_attn" json:"k_attn,omitempty" min:"0.01" max:"100" doc:"factor on the attention kernels"`
	KComm        *float64 `yaml:"k_comm" json:"k_comm,omitempty" min:"0.01" max:"100" doc:"factor on collective communication"`
	Scheduler    string   `yaml:"scheduler" json:"scheduler,omitempty" enum:"v1,sarathi,vllm" doc:"v1 as vLLM does (the embedded simulator's default); sarathi and vllm as Vidur's schedulers of those names do (the real Vidur's default follows from the engine's chunked prefill)"`
	LookAhead    *bool    `yaml:"look_ahead" json:"look_ahead,omitempty" doc:"decide each step before the one before it has ended (vLLM async_scheduling); with scheduler v1"`
	PrefixCache  *bool    `yaml:"prefix_caching" json:"prefix_caching,omitempty" doc:"a prompt finds the blocks that it shares, by hash_ids of the trace, with those before it (vLLM enable_prefix_caching); with scheduler v1"`
	Graphs       *int     `yaml:"cuda_graphs" json:"cuda_graphs,omitempty" min:"0" doc:"most tokens of a step that a CUDA graph was captured for (vLLM max_cudagraph_capture_size): a step is computed at the next captured size; 0, the default, is none; with scheduler v1"`
	Watermark    *float64 `yaml:"watermark" json:"watermark,omitempty" min:"0" max:"0.99" doc:"share of the KV blocks that admission leaves free; with schedulers sarathi and vllm, where 0.01 is the default"`
	FittedOn     []string `yaml:"fitted_on" json:"fitted_on,omitempty" doc:"points that these values were fitted on; a comparison holds them apart"`
}
