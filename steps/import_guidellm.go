package steps

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"calrun/internal/engine"
	"calrun/internal/trace"
)

// guideLLM is a benchmarks.json. Times are seconds of the wall clock. Its
// time_per_output_token_ms includes the TTFT and is not read.
type guideLLM struct {
	Config struct {
		Spec struct {
			Backend struct {
				Model string `json:"model"`
			} `json:"backend"`
		} `json:"spec"`
	} `json:"config"`
	Benchmarks []struct {
		Config struct {
			Strategy struct {
				Type string `json:"type_"`
			} `json:"strategy"`
		} `json:"config"`
		Scheduler struct {
			Made struct {
				Total int `json:"total"`
			} `json:"requests_made"`
		} `json:"scheduler_metrics"`
		Requests struct {
			Successful []guideLLMRequest `json:"successful"`
			Errored    []guideLLMRequest `json:"errored"`
			Incomplete []guideLLMRequest `json:"incomplete"`
		} `json:"requests"`
		End float64 `json:"end_time"`
	} `json:"benchmarks"`
}

type guideLLMRequest struct {
	Prompt int `json:"prompt_tokens"`
	Output int `json:"output_tokens"`
	Cached int `json:"cached_tokens"`
	Info   struct {
		Turn    int             `json:"turn_index"`
		Error   json.RawMessage `json:"error"`
		Timings struct {
			Due    *float64 `json:"targeted_start"`
			Start  *float64 `json:"request_start"`
			First  *float64 `json:"first_token_iteration"`
			Last   *float64 `json:"last_token_iteration"`
			Events int      `json:"token_iterations"`
		} `json:"timings"`
	} `json:"info"`
}

// guideLLMLoops are the strategies that wait for answers.
var guideLLMLoops = []string{"synchronous", "concurrent", "throughput"}

func readGuideLLM(data []byte) (*peerFile, error) {
	var g guideLLM
	if err := json.Unmarshal(data, &g); err != nil {
		return nil, err
	}
	if len(g.Benchmarks) == 0 {
		return nil, errors.New("no benchmarks")
	}
	f := &peerFile{tool: "guidellm", facts: engine.Facts{Model: g.Config.Spec.Backend.Model}}
	for i, b := range g.Benchmarks {
		run := &peerRun{planned: true, made: b.Scheduler.Made.Total}
		for _, group := range []struct {
			name     string
			failed   bool
			requests []guideLLMRequest
		}{
			{"successful", false, b.Requests.Successful},
			{"errored", true, b.Requests.Errored},
			{"incomplete", true, b.Requests.Incomplete},
		} {
			for k := range group.requests {
				if err := run.guideLLM(&group.requests[k], group.failed, group.name); err != nil {
					return nil, fmt.Errorf("benchmarks[%d].requests.%s[%d]: %w", i, group.name, k, err)
				}
			}
		}
		if slices.Contains(guideLLMLoops, b.Config.Strategy.Type) {
			run.chained = len(run.rows)
		}
		f.runs = append(f.runs, run)
		if at := time.Unix(0, int64(trace.FromSeconds(b.End))); b.End > 0 && at.After(f.ended) {
			f.ended = at
		}
	}
	return f, nil
}

// guideLLM takes a request of a group; those that failed may lack times.
func (r *peerRun) guideLLM(q *guideLLMRequest, failed bool, group string) error {
	t := q.Info.Timings
	row := trace.Row{
		Request: trace.Request{Due: secondsIn(t.Due)}, Prompted: q.Prompt, Tokens: q.Output, Cached: q.Cached,
		Sent: secondsIn(cmp.Or(t.Start, t.Due)), First: secondsIn(t.First), Last: secondsIn(t.Last),
	}
	if row.Sent == 0 {
		return absent(needed{"info.timings.request_start", false})
	}
	r.planned = r.planned && t.Due != nil
	if q.Info.Turn > 0 {
		r.chained++
	}
	if failed {
		if row.Error = failure(q.Info.Error); row.Error == "" {
			row.Error = group + ", says the recording"
		}
	} else if err := absent(
		needed{"info.timings.request_start", t.Start != nil},
		needed{"info.timings.first_token_iteration", t.First != nil},
		needed{"info.timings.last_token_iteration", t.Last != nil},
	); err != nil {
		return err
	}
	return r.add(row, t.Events, false)
}
