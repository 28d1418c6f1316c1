package steps

import (
	"encoding/json"
	"fmt"
	"time"

	"calrun/internal/engine"
	"calrun/internal/trace"
)

// vllmBench is a result of `vllm bench serve`: totals, and with
// --save-detailed a list for each field of the requests, in the order in which
// they were sent. Times are seconds, starts on a monotonic clock. TTFT and
// latency count from the start; gaps are those between token events.
type vllmBench struct {
	Date        string      `json:"date"` // in local time, without its zone
	Model       string      `json:"model_id"`
	Concurrency *int        `json:"max_concurrency"`
	Completed   int         `json:"completed"`
	Failed      int         `json:"failed"`
	Prompts     []int       `json:"input_lens"`
	Outputs     []int       `json:"output_lens"`
	Starts      []float64   `json:"start_times"`
	TTFTs       []float64   `json:"ttfts"`
	Latencies   []float64   `json:"latencies"`
	Gaps        [][]float64 `json:"itls"`
	Errors      []string    `json:"errors"`
}

func readVLLM(data []byte) (*peerFile, error) {
	var b vllmBench
	if err := json.Unmarshal(data, &b); err != nil {
		return nil, err
	}
	n := len(b.TTFTs)
	for _, list := range []struct {
		name  string
		there bool
		n     int
	}{
		{"ttfts", b.TTFTs != nil, n},
		{"input_lens", b.Prompts != nil, len(b.Prompts)},
		{"output_lens", b.Outputs != nil, len(b.Outputs)},
		{"start_times", b.Starts != nil, len(b.Starts)},
		{"latencies", b.Latencies != nil, len(b.Latencies)},
		{"itls", b.Gaps != nil, len(b.Gaps)},
		{"errors", b.Errors != nil, len(b.Errors)},
	} {
		switch {
		case !list.there:
			return nil, fmt.Errorf("no list %s: it holds no requests, or comes from a vLLM that did not write this yet (0.32 does)", list.name)
		case list.n != n:
			return nil, fmt.Errorf("%s has %d entries and ttfts %d", list.name, list.n, n)
		}
	}
	f := &peerFile{
		tool: "vllm bench serve", facts: engine.Facts{Model: b.Model},
		notes: []string{"the file does not say who counted the tokens, the server or the client's tokenizer"},
	}
	if at, err := time.Parse("20060102-150405", b.Date); err == nil {
		f.ended = at
		f.notes = append(f.notes, "the date of the file has no time zone: it is taken as UTC")
	}
	run := &peerRun{made: b.Completed + b.Failed}
	if b.Concurrency != nil {
		run.chained = n
	}
	f.runs = []*peerRun{run}
	for i := range n {
		row := trace.Row{Prompted: b.Prompts[i], Tokens: b.Outputs[i], Sent: trace.FromSeconds(b.Starts[i]), Error: b.Errors[i]}
		if row.OK() && (b.TTFTs[i] <= 0 || b.Latencies[i] <= 0) {
			row.Error = "the recording holds no first and last token for it"
		}
		row.First, row.Last = row.Sent+trace.FromSeconds(b.TTFTs[i]), row.Sent+trace.FromSeconds(b.Latencies[i])
		if err := run.add(row, len(b.Gaps[i])+1, atOnce(b.Gaps[i])); err != nil {
			return nil, fmt.Errorf("request %d: %w", i, err)
		}
	}
	return f, nil
}
