package steps

import (
	"fmt"
	"os"
	"path/filepath"

	"calrun/internal/engine"
	"calrun/internal/trace"
	"calrun/internal/workload"
	"calrun/pipeline"
)

// MeasuredResult is a measurement, from an engine or from a recording.
type MeasuredResult struct {
	Workload    pipeline.Artefact `json:"workload" artefact:"workload" doc:"what was asked and sent, without any latency: all that a simulator may see"`
	Measurement pipeline.Artefact `json:"measurement" artefact:"measurement" doc:"every request of every point, as it was answered"`
	Engine      MeasuredEngine    `json:"engine" doc:"what was measured"`
	Points      []PointRun        `json:"points" doc:"every run of every point"`
	Arrivals    int               `json:"arrivals" doc:"requests that were due"`
	Sent        int               `json:"sent" doc:"requests handed to the kernel; sent = completed + failed"`
	Completed   int               `json:"completed" doc:"requests answered to their end"`
	Failed      int               `json:"failed" doc:"requests sent and not answered to their end"`
	NotSent     int               `json:"not_sent" doc:"requests that could not be sent: no connection, or too many in flight"`
	Mismatched  int               `json:"mismatched" doc:"completed requests with another number of output tokens than asked for"`
	Bunched     int               `json:"bunched" doc:"requests whose first two token events were read at once: their TTFT may be too large"`
	Bundled     int               `json:"bundled" doc:"completed requests whose first event carried several tokens: their TPOT is too small"`
	Estimated   int               `json:"estimated" doc:"completed requests whose tokens the client counted, for want of a count by the server"`
	Clipped     int               `json:"clipped" doc:"requests shortened to max_total"`
	Dropped     int               `json:"dropped" doc:"requests left out because of max_total"`
	Cached      int               `json:"cached_tokens" doc:"prompt tokens that the engine took from its prefix cache; above 0 the simulator computes what the engine did not"`
	Tokens      Tokens            `json:"tokens" doc:"token totals of the client beside the engine's own counters"`
	Late        float64           `json:"late_p99_s" doc:"sent - due at P99, the worst run's, seconds"`
	Stamps      string            `json:"stamps" doc:"kernel, or read where the platform has no kernel stamps"`
	Ended       string            `json:"ended" doc:"when the measurement ended, RFC 3339"`
	Join        *workload.Join    `json:"join,omitempty" doc:"how the clocks of an imported measurement were joined"`
	Doubts      []string          `json:"doubts" doc:"what speaks against using it"`
}

// MeasuredEngine is the engine in a result.
type MeasuredEngine struct {
	Name        string `json:"name" doc:"vllm, calrun-emulator, openai"`
	Version     string `json:"version" doc:"empty if it does not say"`
	Model       string `json:"model" doc:"the served model"`
	Fingerprint string `json:"fingerprint" doc:"digest of everything it states about itself"`
}

// PointRun is one run of one point.
type PointRun struct {
	Name      string  `json:"name" doc:"the point"`
	Seed      int     `json:"seed" doc:"seed or repeat, from 1"`
	State     string  `json:"state" doc:"ok, overloaded, skipped, or invalid where too many requests failed"`
	Reason    string  `json:"reason" doc:"why it is not ok"`
	Completed int     `json:"completed" doc:"requests answered to their end"`
	Failed    int     `json:"failed" doc:"requests that were not, those that could not be sent included"`
	Late      float64 `json:"late_p99_s" doc:"sent - due at P99, seconds"`
	Share     float64 `json:"cpu_share" doc:"CPU time of calrun over that of all cores; an emulator inside it counts"`

	Waited *float64 `json:"cpu_waited,omitempty" doc:"share of the run in which something on this machine was ready to run and had no core; absent where the kernel does not say"`
}

// Tokens are totals over all runs without a failed request: aborted requests
// are in the engine's counters, and nobody knows how far.
type Tokens struct {
	Prompt          int      `json:"prompt" doc:"prompt tokens, by the usage of every answer"`
	Output          int      `json:"output" doc:"output tokens, likewise"`
	EnginePrompt    *float64 `json:"engine_prompt,omitempty" doc:"prompt tokens, by the engine's counter"`
	EngineGenerated *float64 `json:"engine_generated,omitempty" doc:"output tokens, by the engine's counter"`
	Equal           *bool    `json:"equal,omitempty" doc:"whether both totals agree to the token; absent where the engine has no counters"`
}

// invalid is the state of a run with too many failures. Its rows stay: the
// comparison judges them by its own limit.
const invalid = "invalid"

// recording is a measurement on its way to disk.
type recording struct {
	facts    engine.Facts
	workload workload.Facts
	points   []trace.Point // requests as the server counted them, rows as they were
	stamps   string        // as in [TemplateCalrun], empty for the engine's own
}

// write writes both folders below dir: the measurement, to which files may
// have been added already, and the workload.
func (m *recording) write(dir string) (work, measured pipeline.Artefact, err error) {
	work = pipeline.Artefact{Of: "workload", Path: filepath.Join(dir, "workload")}
	measured = pipeline.Artefact{Of: "measurement", Path: filepath.Join(dir, "measurement")}
	bare := make([]trace.Point, len(m.points))
	for i, p := range m.points {
		bare[i] = p
		bare[i].Runs = make([]trace.Run, len(p.Runs))
		for j, r := range p.Runs {
			bare[i].Runs[j] = trace.Run{Seed: r.Seed, Requests: r.Requests}
		}
	}
	for _, f := range []struct {
		dir    string
		points []trace.Point
	}{{work.Path, bare}, {measured.Path, m.points}} {
		if err := os.MkdirAll(f.dir, 0o755); err != nil {
			return work, measured, fmt.Errorf("write the measurement: %w", err)
		}
		if err := trace.WritePoints(f.dir, f.points); err != nil {
			return work, measured, err
		}
		if err := engine.WriteFacts(f.dir, m.facts); err != nil {
			return work, measured, err
		}
		if err := workload.WriteFacts(f.dir, m.workload); err != nil {
			return work, measured, err
		}
	}
	return work, measured, nil
}

// replayPoint is recorded rows, sorted by Due, as one replay with one repeat.
func replayPoint(name string, rows []trace.Row) trace.Point {
	run := trace.Run{Seed: 1, Rows: rows}
	run.State, run.Reason = stateOf(trace.Replay, rows)
	for _, row := range rows {
		run.Requests = append(run.Requests, row.Request)
		run.Window = max(run.Window, row.Last)
	}
	run.Requests = seenByServer(run.Requests, rows)
	p := trace.Point{Name: name, Group: trace.Replay, Runs: []trace.Run{run}}
	if span := rows[len(rows)-1].Due - rows[0].Due; span > 0 {
		p.Rate = float64(len(rows)-1) / span.Seconds()
	}
	return p
}

// seenByServer gives requests the token counts that the server reported, so
// that a simulator sees what the engine saw.
func seenByServer(reqs []trace.Request, rows []trace.Row) []trace.Request {
	out := append([]trace.Request(nil), reqs...)
	for i, row := range rows {
		if row.Prompted > 0 {
			out[i].Prompt = row.Prompted
		}
		if row.OK() && row.Tokens > 0 {
			out[i].Output = row.Tokens
		}
	}
	return out
}

// count adds a run to the totals and returns its line.
func (r *MeasuredResult) count(name string, run trace.Run) PointRun {
	p := PointRun{Name: name, Seed: run.Seed, State: string(run.State), Reason: run.Reason}
	for _, row := range run.Rows {
		r.Arrivals++
		r.Cached += row.Cached
		switch {
		case row.OK():
			p.Completed++
			r.Sent++
			if row.Tokens != row.Output {
				r.Mismatched++
			}
			if row.FirstTokens > 1 && row.Tokens > 1 {
				r.Bundled++
			}
			if row.Estimated {
				r.Estimated++
			}
		case row.Sent == 0:
			r.NotSent++
			p.Failed++
		default:
			r.Sent++
			r.Failed++
			p.Failed++
		}
	}
	r.Completed += p.Completed
	return p
}

// stateOf says of a replay, which is judged whether or not it overloads the
// engine, what its TTFT is: drain time, if more than a sixth of all requests
// were still without a token when the last one arrived. The rates of a sweep
// are not for this rule: which of them are stable is decided by the
// comparison alone, over all seeds.
func stateOf(g trace.Group, rows []trace.Row) (state trace.State, reason string) {
	if g != trace.Replay {
		return trace.OK, ""
	}
	last, ok := rows[0].Due, 0
	for _, r := range rows {
		if r.OK() {
			ok++
			last = max(last, r.Due)
		}
	}
	waiting := 0
	for _, r := range rows {
		if r.OK() && r.First > last {
			waiting++
		}
	}
	if waiting <= 8 || 6*waiting <= ok {
		return trace.OK, ""
	}
	return trace.Overloaded, fmt.Sprintf("%d of %d requests were still without a token when the last one arrived", waiting, ok)
}
