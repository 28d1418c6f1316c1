package steps

import "calrun/internal/profile"

// Deployment is what the user says was deployed: what is asked of the engine,
// of the profiles and of the simulator, and compared with what each states.
type Deployment struct {
	Model        string  `yaml:"model" json:"model" doc:"name of the model, as on its hub"`
	GPU          string  `yaml:"gpu" json:"gpu" doc:"name of the card, as A100-80GB"`
	GPUs         int     `yaml:"gpus" json:"gpus" min:"1" default:"1" doc:"number of cards"`
	TP           int     `yaml:"tensor_parallel" json:"tensor_parallel" min:"1" default:"1" doc:"tensor-parallel size"`
	PP           int     `yaml:"pipeline_parallel" json:"pipeline_parallel" min:"1" default:"1" doc:"pipeline-parallel size"`
	Dtype        string  `yaml:"dtype" json:"dtype" doc:"type of the weights: float16, bfloat16, float32, fp8"`
	Attention    string  `yaml:"attention" json:"attention" doc:"attention kernel: flash-attention-2, flashinfer, ..."`
	BlockSize    int     `yaml:"block_size" json:"block_size" min:"1" doc:"tokens in one KV-cache block"`
	MemoryShare  float64 `yaml:"gpu_memory_utilization" json:"gpu_memory_utilization" min:"0.01" max:"1" doc:"share of each card's memory that the engine may use"`
	MaxNumSeqs   *int    `yaml:"max_num_seqs" json:"max_num_seqs,omitempty" min:"1" doc:"most sequences in one step"`
	MaxTokens    *int    `yaml:"max_num_batched_tokens" json:"max_num_batched_tokens,omitempty" min:"1" doc:"token budget of one step"`
	MaxModelLen  *int    `yaml:"max_model_len" json:"max_model_len,omitempty" min:"2" doc:"most tokens of a request, prompt and output"`
	Chunked      *bool   `yaml:"chunked_prefill" json:"chunked_prefill,omitempty" doc:"long prompts are computed in parts"`
	PrefixCache  *bool   `yaml:"prefix_caching" json:"prefix_caching,omitempty" doc:"prompts that begin alike share blocks"`
	Async        *bool   `yaml:"async_scheduling" json:"async_scheduling,omitempty" doc:"the engine schedules a step ahead"`
	EnforceEager *bool   `yaml:"enforce_eager" json:"enforce_eager,omitempty" doc:"no CUDA graphs"`
	Policy       string  `yaml:"policy" json:"policy,omitempty" doc:"order of requests: fcfs, priority"`
}

// identity is the deployment as a profile's: what must have been profiled.
func (d Deployment) identity() profile.Identity {
	return profile.Identity{Model: d.Model, GPU: d.GPU, TP: d.TP, Dtype: d.Dtype, Attention: d.Attention, BlockSize: d.BlockSize}
}
