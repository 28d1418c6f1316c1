package steps

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"calrun/internal/engine"
	"calrun/internal/stats"
	"calrun/internal/trace"
	"calrun/internal/workload"
)

// servingSimRow is a line of LLMServingSim's requests.jsonl. Arrivals are on
// the wall clock of the client, all else on the engine's monotonic clock.
type servingSimRow struct {
	ID      string   `json:"request_id"`
	Prompt  int      `json:"input_toks"`
	Output  int      `json:"output_toks"`
	Arrival *float64 `json:"arrival_time"`
	Queued  *float64 `json:"queued_ts"`
	First   *float64 `json:"first_token_ts"`
	Last    *float64 `json:"last_token_ts"`
}

// servingSimMeta is its meta.json, in the parts that matter. Older recordings
// lack the resolved configuration: then what was asked for is all there is.
type servingSimMeta struct {
	Model    string `json:"model"`
	Version  string `json:"vllm_version"`
	Dataset  string `json:"dataset_path"`
	Finished string `json:"finished_at"`
	Asked    struct {
		TP        *int   `json:"tensor_parallel_size"`
		MaxSeqs   *int   `json:"max_num_seqs"`
		MaxTokens *int   `json:"max_num_batched_tokens"`
		MaxLen    *int   `json:"max_model_len"`
		Dtype     string `json:"dtype"`
	} `json:"engine_kwargs"`
	Cache struct {
		Blocks    *int     `json:"num_gpu_blocks"`
		BlockSize *int     `json:"block_size"`
		Share     *float64 `json:"gpu_memory_utilization"`
		Prefix    *bool    `json:"enable_prefix_caching"`
	} `json:"kv_cache"`
	Hardware struct {
		Name   string `json:"device_name"`
		Memory *int64 `json:"device_total_memory_bytes"`
	} `json:"hardware"`
	Resolved struct {
		Scheduler struct {
			MaxSeqs   *int   `json:"max_num_seqs"`
			MaxTokens *int   `json:"max_num_batched_tokens"`
			Chunked   *bool  `json:"enable_chunked_prefill"`
			Async     *bool  `json:"async_scheduling"`
			Policy    string `json:"policy"`
		} `json:"scheduler_config"`
		Parallel struct {
			TP *int `json:"tensor_parallel_size"`
			PP *int `json:"pipeline_parallel_size"`
		} `json:"parallel_config"`
		Model struct {
			Eager *bool `json:"enforce_eager"`
			Len   *int  `json:"max_model_len"`
		} `json:"model_config"`
	} `json:"resolved_config"`
}

func (m *servingSimMeta) facts() engine.Facts {
	s := m.Resolved.Scheduler
	return engine.Facts{
		Name: engine.VLLM, Version: m.Version, Model: m.Model, Dtype: m.Asked.Dtype, Policy: s.Policy,
		MaxModelLen: cmp.Or(m.Resolved.Model.Len, m.Asked.MaxLen), MaxNumSeqs: cmp.Or(s.MaxSeqs, m.Asked.MaxSeqs),
		MaxTokens: cmp.Or(s.MaxTokens, m.Asked.MaxTokens), Chunked: s.Chunked, Async: s.Async,
		BlockSize: m.Cache.BlockSize, KVBlocks: m.Cache.Blocks, PrefixCache: m.Cache.Prefix, MemoryShare: m.Cache.Share,
		TP: cmp.Or(m.Resolved.Parallel.TP, m.Asked.TP), PP: m.Resolved.Parallel.PP,
		GPU: m.Hardware.Name, GPUMemory: m.Hardware.Memory, EnforceEager: m.Resolved.Model.Eager,
	}
}

// readServingSim reads requests.jsonl and meta.json as one replay with one
// repeat. Due is the arrival, brought over to the engine's clock by the
// median offset; Sent is when the engine had the request in its queue, so
// that TTFTSent and E2ESent are free of the join.
func readServingSim(dir string) (*recording, error) {
	var meta servingSimMeta
	if err := readJSON(filepath.Join(dir, "meta.json"), &meta); err != nil {
		return nil, err
	}
	lines, err := readServingSimRows(filepath.Join(dir, "requests.jsonl"))
	if err != nil {
		return nil, err
	}
	rows, join := joinClocks(lines)
	ended, err := servingSimEnd(meta.Finished)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, "meta.json"), err)
	}
	name := filepath.Base(meta.Dataset)
	return &recording{facts: meta.facts(), points: []trace.Point{replayPoint(workload.ReplayName, rows)}, workload: workload.Facts{
		Counts: workload.Counts{Requests: len(rows)}, Join: &join, Ended: ended,
		Dataset: strings.TrimSuffix(name, filepath.Ext(name)),
	}}, nil
}

func servingSimEnd(s string) (string, error) {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return "", fmt.Errorf("finished_at: %q is not a time such as 2026-01-31T12:00:00Z", s)
	}
	return t.UTC().Format(time.RFC3339Nano), nil
}

func readServingSimRows(path string) ([]servingSimRow, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var rows []servingSimRow
	err = eachLine(data, func(r *servingSimRow) error {
		if r.Arrival == nil || r.Queued == nil {
			return fmt.Errorf("request %q has no arrival_time or no queued_ts", r.ID)
		}
		if r.Prompt < 1 {
			return fmt.Errorf("input_toks is %d; a request has at least one prompt token", r.Prompt)
		}
		rows = append(rows, *r)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if len(rows) == 0 {
		return nil, fmt.Errorf("%s holds no requests", path)
	}
	slices.SortStableFunc(rows, func(a, b servingSimRow) int { return cmp.Compare(*a.Arrival, *b.Arrival) })
	return rows, nil
}

// joinClocks brings all times to durations since the first arrival.
func joinClocks(lines []servingSimRow) ([]trace.Row, workload.Join) {
	offsets := make([]float64, len(lines))
	for i, l := range lines {
		offsets[i] = *l.Queued - *l.Arrival
	}
	sorted := stats.Sorted(offsets)
	median := stats.Quantile(sorted, 0.5)
	join := workload.Join{
		Low: sorted[0] - median, High: sorted[len(sorted)-1] - median,
		Spread: stats.Quantile(sorted, 0.95) - stats.Quantile(sorted, 0.05),
	}
	zero := *lines[0].Arrival
	engineTime := func(t float64) time.Duration { return trace.FromSeconds(t - (zero + median)) }
	rows := make([]trace.Row, len(lines))
	for i, l := range lines {
		row := trace.Row{
			Request:  trace.Request{ID: i, Due: trace.FromSeconds(*l.Arrival - zero), Prompt: l.Prompt, Output: l.Output},
			Sent:     engineTime(*l.Queued),
			Prompted: l.Prompt, Tokens: l.Output,
		}
		switch {
		case l.First == nil || l.Last == nil || *l.First == 0 || *l.Last == 0:
			row.Error, row.Tokens = "the recording holds no first and last token for it", 0
		default:
			row.First, row.Last = engineTime(*l.First), engineTime(*l.Last)
		}
		rows[i] = row
	}
	return rows, join
}
