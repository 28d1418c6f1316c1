package emulator

import (
	"encoding/json"
	"fmt"
	"net/http"
)

// Version is what /version says, so that nobody takes the emulator for vLLM.
const Version = "calrun-emulator-1"

// What the engine says of itself, in the shape in which vLLM 0.32 does.

func (e *Engine) version(w http.ResponseWriter, _ *http.Request) {
	answerJSON(w, map[string]any{"version": Version})
}

func (e *Engine) load(w http.ResponseWriter, _ *http.Request) {
	e.mu.Lock()
	n := e.counts.running + e.counts.waiting
	e.mu.Unlock()
	answerJSON(w, map[string]any{"server_load": n})
}

func (e *Engine) models(w http.ResponseWriter, _ *http.Request) {
	answerJSON(w, map[string]any{"object": "list", "data": []any{map[string]any{
		"id": e.cfg.Model, "object": "model", "created": e.started.Unix(), "owned_by": "calrun-emulator",
		"root": e.cfg.Model, "parent": nil, "max_model_len": e.cfg.MaxModelLen,
	}}})
}

// serverInfo answers as vLLM's development mode does: with config_format=json
// a tree, else one string.
func (e *Engine) serverInfo(w http.ResponseWriter, r *http.Request) {
	c := e.cfg
	config := map[string]any{
		"model_config": map[string]any{
			"model": c.Model, "served_model_name": c.Model, "dtype": "torch.bfloat16",
			"max_model_len": c.MaxModelLen, "enforce_eager": false, "seed": c.Seed,
		},
		"cache_config": map[string]any{
			"block_size": c.BlockSize, "num_gpu_blocks": c.KVBlocks, "kv_cache_size_tokens": c.KVBlocks * c.BlockSize,
			"enable_prefix_caching": c.PrefixCache, "cache_dtype": "auto", "gpu_memory_utilization": nil,
		},
		"parallel_config": map[string]any{"tensor_parallel_size": 1, "pipeline_parallel_size": 1, "data_parallel_size": 1},
		"scheduler_config": map[string]any{
			"max_num_batched_tokens": c.MaxTokens, "max_num_seqs": c.MaxNumSeqs, "enable_chunked_prefill": true,
			"long_prefill_token_threshold": 0, "policy": "fcfs", "scheduler_reserve_full_isl": true,
			"async_scheduling": c.Async, "stream_interval": 1,
		},
		"device_config": map[string]any{"device": "emulated"},
	}
	info := map[string]any{"vllm_config": config, "vllm_env": map[string]any{}, "system_env": map[string]any{}}
	if r.URL.Query().Get("config_format") != "json" {
		info["vllm_config"] = fmt.Sprint(config)
	}
	answerJSON(w, info)
}

func answerJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}
