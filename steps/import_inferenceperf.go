package steps

import (
	"encoding/json"
	"fmt"

	"calrun/internal/trace"
)

// inferencePerf is an entry of per_request_lifecycle_metrics.json. Times are
// seconds of a monotonic clock. Its end is that of the stream, after the last
// token.
type inferencePerf struct {
	Start *float64        `json:"start_time"`
	Error json.RawMessage `json:"error"`
	Info  struct {
		Prompt   int `json:"input_tokens"`
		Response struct {
			Output int       `json:"output_tokens"`
			Times  []float64 `json:"output_token_times"`
			Usage  *struct {
				Prompt int `json:"prompt_tokens"`
				Output int `json:"completion_tokens"`
			} `json:"server_usage"`
		} `json:"response_metrics"`
	} `json:"info"`
}

func readInferencePerf(data []byte) (*peerFile, error) {
	var all []inferencePerf
	if err := json.Unmarshal(data, &all); err != nil {
		return nil, fmt.Errorf("not a list of requests: %w", err)
	}
	run := &peerRun{}
	f := &peerFile{tool: "inference-perf", runs: []*peerRun{run}, notes: []string{unsaidLoop}}
	for i := range all {
		if err := run.inferencePerf(&all[i]); err != nil {
			return nil, fmt.Errorf("request %d: %w", i, err)
		}
	}
	return f, nil
}

func (r *peerRun) inferencePerf(q *inferencePerf) error {
	if err := absent(needed{"start_time", q.Start != nil}); err != nil {
		return err
	}
	resp := q.Info.Response
	row := trace.Row{
		Sent: secondsIn(q.Start), Error: failure(q.Error),
		Prompted: q.Info.Prompt, Tokens: resp.Output, Estimated: resp.Usage == nil,
	}
	if resp.Usage != nil {
		row.Prompted, row.Tokens = resp.Usage.Prompt, resp.Usage.Output
	}
	n := len(resp.Times)
	if !row.OK() {
		return r.add(row, 0, false)
	}
	if n == 0 {
		return fmt.Errorf("a request has no info.response_metrics.output_token_times (did per_request_fields leave it out, or was nothing streamed?)")
	}
	row.First, row.Last = trace.FromSeconds(resp.Times[0]), trace.FromSeconds(resp.Times[n-1])
	return r.add(row, n, n > 1 && trace.FromSeconds(resp.Times[1])-row.First < together)
}
