package steps

import (
	"errors"

	"calrun/internal/trace"
)

// veekshaRow is a line of request_level_metrics.jsonl. Times are seconds since
// the first dispatch, rounded to 10 µs; latencies end when the client had the
// last token. What it calls ready is when it dispatched, not when it had
// planned to.
type veekshaRow struct {
	Session   int       `json:"session_total_requests"`
	Completed *float64  `json:"client_completed_at"`
	TTFC      *float64  `json:"ttfc"`
	E2E       *float64  `json:"end_to_end_latency"`
	Prompt    *int      `json:"num_total_prompt_tokens"`
	Output    *int      `json:"num_output_tokens"`
	Asked     *int      `json:"num_requested_output_tokens"`
	Stream    *bool     `json:"is_stream"`
	Gaps      []float64 `json:"tbc"`
}

func readVeeksha(data []byte) (*peerFile, error) {
	run := &peerRun{}
	f := &peerFile{tool: "veeksha", runs: []*peerRun{run}, notes: []string{unsaidLoop}}
	return f, eachLine(data, func(r *veekshaRow) error {
		if err := absent(
			needed{"client_completed_at", r.Completed != nil}, needed{"ttfc", r.TTFC != nil}, needed{"end_to_end_latency", r.E2E != nil},
			needed{"num_total_prompt_tokens", r.Prompt != nil}, needed{"num_output_tokens", r.Output != nil},
		); err != nil {
			return err
		}
		if r.Stream != nil && !*r.Stream {
			return errors.New("a request was not streamed, so that its ttfc is its end-to-end latency; the client openai_chat_completions streams")
		}
		if r.Session > 1 {
			run.chained++
		}
		row := trace.Row{Prompted: *r.Prompt, Tokens: *r.Output, Estimated: true, Last: secondsIn(r.Completed)}
		row.Sent = row.Last - secondsIn(r.E2E)
		row.First = row.Sent + secondsIn(r.TTFC)
		if r.Asked != nil {
			row.Output = *r.Asked
		}
		return run.add(row, len(r.Gaps)+1, atOnce(r.Gaps))
	})
}
