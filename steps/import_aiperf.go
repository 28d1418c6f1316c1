package steps

import (
	"encoding/json"
	"fmt"
	"time"

	"calrun/internal/trace"
)

// aiperfRecord is a line of AIPerf's profile_export.jsonl. Times are
// nanoseconds of the wall clock; latencies count from the start of the request,
// which follows its credit, the generator's plan. request_latency ends at the
// last chunk with content.
type aiperfRecord struct {
	Metadata struct {
		Phase     string `json:"benchmark_phase"`
		Turn      int    `json:"turn_index"`
		Credit    *int64 `json:"credit_issued_ns"`
		Start     *int64 `json:"request_start_ns"`
		End       int64  `json:"request_end_ns"`
		Cancelled bool   `json:"was_cancelled"`
	} `json:"metadata"`
	Metrics map[string]aiperfMetric `json:"metrics"`
	Error   json.RawMessage         `json:"error"`
}

type aiperfMetric struct {
	Value json.RawMessage `json:"value"` // a number or a list
	Unit  string          `json:"unit"`
}

// number reads a metric of a record; ok is false where it is not there.
func (r *aiperfRecord) number(name, unit string) (v float64, ok bool, err error) {
	m, ok := r.Metrics[name]
	if !ok {
		return 0, false, nil
	}
	if m.Unit != unit {
		return 0, false, fmt.Errorf("metrics.%s is in %q, not in %s", name, m.Unit, unit)
	}
	if err := json.Unmarshal(m.Value, &v); err != nil {
		return 0, false, fmt.Errorf("metrics.%s is %s, not a number", name, m.Value)
	}
	return v, true, nil
}

// time reads a metric in milliseconds that has to be there.
func (r *aiperfRecord) time(name string) (time.Duration, error) {
	v, ok, err := r.number(name, "ms")
	if err == nil {
		err = absent(needed{"metrics." + name, ok})
	}
	return trace.FromSeconds(v / 1e3), err
}

// tokens reads the server's count, without one the client's.
func (r *aiperfRecord) tokens(server, client string) (n int, counted bool, err error) {
	v, counted, err := r.number(server, "tokens")
	if err == nil && !counted {
		v, _, err = r.number(client, "tokens")
	}
	return int(v), counted, err
}

func readAIPerf(data []byte) (*peerFile, error) {
	run := &peerRun{planned: true}
	f := &peerFile{tool: "AIPerf", runs: []*peerRun{run}, notes: []string{unsaidLoop}}
	warm := 0
	err := eachLine(data, func(r *aiperfRecord) error {
		if r.Metadata.Phase == "warmup" {
			warm++
			return nil
		}
		if end := time.Unix(0, r.Metadata.End); r.Metadata.End > 0 && end.After(f.ended) {
			f.ended = end
		}
		return run.aiperf(r)
	})
	if warm > 0 {
		f.notes = append(f.notes, fmt.Sprintf("%d requests of the warm-up were left out", warm))
	}
	return f, err
}

func (r *peerRun) aiperf(q *aiperfRecord) error {
	if err := absent(needed{"metadata.request_start_ns", q.Metadata.Start != nil}); err != nil {
		return err
	}
	row := trace.Row{Sent: time.Duration(*q.Metadata.Start), Error: failure(q.Error)}
	if q.Metadata.Credit != nil {
		row.Due = time.Duration(*q.Metadata.Credit)
	} else {
		r.planned = false
	}
	if q.Metadata.Cancelled && row.OK() {
		row.Error = "cancelled by the load generator"
	}
	if q.Metadata.Turn > 0 {
		r.chained++
	}
	var err error
	var counted bool
	if row.Prompted, _, err = q.tokens("usage_prompt_tokens", "input_sequence_length"); err != nil {
		return err
	}
	if row.Tokens, counted, err = q.tokens("usage_completion_tokens", "output_sequence_length"); err != nil {
		return err
	}
	if !row.OK() {
		return r.add(row, 0, false)
	}
	row.Estimated = !counted
	ttft, err := q.time("time_to_first_token")
	if err != nil {
		return err
	}
	e2e, err := q.time("request_latency")
	if err != nil {
		return err
	}
	row.First, row.Last = row.Sent+ttft, row.Sent+e2e
	var gaps []float64
	if json.Unmarshal(q.Metrics["inter_chunk_latency"].Value, &gaps) != nil || len(gaps) == 0 {
		return r.add(row, 0, false) // one chunk, or a version that does not write them
	}
	return r.add(row, len(gaps)+1, atOnce([]float64{gaps[0] / 1e3}))
}
