package engine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// The names of engines that calrun knows.
const (
	VLLM     = "vllm"
	Emulator = "calrun-emulator"
	OpenAI   = "openai" // anything else that speaks the API
)

// Ask finds out what the engine is. model picks one of several that it
// serves; empty takes the only one. What it does not state stays unknown. An
// error is an engine that cannot be reached, or one that does not serve the
// model.
func (e *Engine) Ask(ctx context.Context, model string) (Facts, error) {
	f := Facts{Name: OpenAI}
	if err := e.models(ctx, model, &f); err != nil {
		return f, err
	}
	if body, err := e.get(ctx, "/version"); err == nil {
		var v struct{ Version string }
		if decode(body, "/version", &v) == nil {
			f.Version = v.Version
		}
	} else if !absent(err) {
		return f, err
	}
	if f.Name == OpenAI && f.Version != "" {
		f.Name = VLLM // of the engines that calrun knows only vLLM and its kin have /version
	}
	if m, err := e.scrape(ctx); err == nil {
		m.facts(&f)
	}
	if body, err := e.get(ctx, "/server_info?config_format=json"); err == nil {
		var info serverInfo
		if decode(body, "/server_info", &info) == nil {
			info.facts(&f)
		}
	}
	return f, nil
}

func (e *Engine) models(ctx context.Context, model string, f *Facts) error {
	body, err := e.get(ctx, "/v1/models")
	if absent(err) { // some servers have none, or fail to list them
		if model == "" {
			return fmt.Errorf("the engine at %s does not list its models (%w); %s", e.URL, err, remedy(err, "name one: engine.model"))
		}
		f.Model = model
		return nil
	}
	if err != nil {
		return err
	}
	var list struct {
		Data []struct {
			ID      string `json:"id"`
			OwnedBy string `json:"owned_by"`
			MaxLen  *int   `json:"max_model_len"`
		} `json:"data"`
	}
	if err := decode(body, "/v1/models", &list); err != nil {
		return fmt.Errorf("the engine at %s: %w; correct the URL", e.URL, err)
	}
	var names []string
	for _, m := range list.Data {
		names = append(names, m.ID)
		if m.ID != model && (model != "" || len(list.Data) > 1) {
			continue
		}
		f.Model, f.MaxModelLen = m.ID, m.MaxLen
		switch m.OwnedBy {
		case VLLM, Emulator:
			f.Name = m.OwnedBy
		}
		return nil
	}
	if len(names) == 0 {
		return fmt.Errorf("the engine at %s serves no model; load one into it", e.URL)
	}
	if model == "" {
		return fmt.Errorf("the engine at %s serves %d models (%s); name one: engine.model", e.URL, len(names), strings.Join(names, ", "))
	}
	return fmt.Errorf("the engine at %s does not serve %q; it serves %s", e.URL, model, strings.Join(names, ", "))
}

// serverInfo is what vLLM's development mode tells, in the parts that matter.
type serverInfo struct {
	Config struct {
		Model struct {
			Dtype string `json:"dtype"`
			Eager *bool  `json:"enforce_eager"`
			Len   *int   `json:"max_model_len"`
		} `json:"model_config"`
		Cache struct {
			BlockSize *int     `json:"block_size"`
			Blocks    *int     `json:"num_gpu_blocks"`
			Prefix    *bool    `json:"enable_prefix_caching"`
			Share     *float64 `json:"gpu_memory_utilization"`
		} `json:"cache_config"`
		Parallel struct {
			TP *int `json:"tensor_parallel_size"`
			PP *int `json:"pipeline_parallel_size"`
		} `json:"parallel_config"`
		Scheduler struct {
			MaxTokens *int   `json:"max_num_batched_tokens"`
			MaxSeqs   *int   `json:"max_num_seqs"`
			Chunked   *bool  `json:"enable_chunked_prefill"`
			Async     *bool  `json:"async_scheduling"`
			Policy    string `json:"policy"`
		} `json:"scheduler_config"`
		Attention struct {
			Backend *string `json:"backend"`
		} `json:"attention_config"`
		Device struct {
			Device string `json:"device"`
		} `json:"device_config"`
	} `json:"vllm_config"`
	System struct {
		GPUs *string `json:"nvidia_gpu_models"` // "GPU 0: NVIDIA A100-SXM4-80GB\nGPU 1: …"
	} `json:"system_env"`
}

func (s *serverInfo) facts(f *Facts) {
	c := s.Config
	keep(&f.EnforceEager, c.Model.Eager)
	keep(&f.MaxModelLen, c.Model.Len)
	keep(&f.BlockSize, c.Cache.BlockSize)
	keep(&f.KVBlocks, c.Cache.Blocks)
	keep(&f.PrefixCache, c.Cache.Prefix)
	keep(&f.MemoryShare, c.Cache.Share)
	keep(&f.TP, c.Parallel.TP)
	keep(&f.PP, c.Parallel.PP)
	keep(&f.MaxTokens, c.Scheduler.MaxTokens)
	keep(&f.MaxNumSeqs, c.Scheduler.MaxSeqs)
	keep(&f.Chunked, c.Scheduler.Chunked)
	keep(&f.Async, c.Scheduler.Async)
	if c.Scheduler.Policy != "" {
		f.Policy = c.Scheduler.Policy
	}
	if c.Model.Dtype != "" {
		f.Dtype = strings.TrimPrefix(c.Model.Dtype, "torch.")
	}
	if c.Attention.Backend != nil {
		f.Attention = strings.ToLower(*c.Attention.Backend)
	}
	switch {
	case s.System.GPUs != nil:
		first, _, _ := strings.Cut(*s.System.GPUs, "\n")
		_, name, named := strings.Cut(first, ": ")
		if !named {
			name = first
		}
		f.GPU = strings.TrimSpace(name)
	case c.Device.Device != "" && c.Device.Device != "cuda":
		f.GPU = c.Device.Device
	}
}

// keep overwrites only with what was stated.
func keep[T any](to **T, stated *T) {
	if stated != nil {
		*to = stated
	}
}

// facts reads vllm:cache_config_info, whose labels are values as Python
// prints them. It is there without development mode.
func (m metrics) facts(f *Facts) {
	labels := m.labels("vllm:cache_config_info")
	number := func(key string) *int {
		if n, err := strconv.Atoi(labels[key]); err == nil {
			return &n
		}
		return nil
	}
	keep(&f.BlockSize, number("block_size"))
	keep(&f.KVBlocks, number("num_gpu_blocks"))
	if b, err := strconv.ParseBool(labels["enable_prefix_caching"]); err == nil {
		f.PrefixCache = &b
	}
	if s, err := strconv.ParseFloat(labels["gpu_memory_utilization"], 64); err == nil {
		f.MemoryShare = &s
	}
}

// Fingerprint is the identity of an engine: a digest of all its facts. Two
// measurements belong together only if theirs are equal.
func (f Facts) Fingerprint() string {
	data, err := json.Marshal(f)
	if err != nil {
		panic("engine: facts are plain data: " + err.Error())
	}
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}
