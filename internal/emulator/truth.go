package emulator

import (
	"encoding/csv"
	"fmt"
	"os"
	"strconv"
	"time"

	"calrun/internal/trace"
)

// Truth is what really became of every request received so far, in order of
// receipt: Due and Sent are the moment it was received, First and Last the
// moments at which its tokens were there, whenever they were written. Times
// count from the start of the engine. Call it when no request is under way:
// one that has not ended has an error.
func (e *Engine) Truth() []trace.Row {
	e.mu.Lock()
	defer e.mu.Unlock()
	rows := make([]trace.Row, len(e.all))
	for i, r := range e.all {
		row := trace.Row{
			Request: trace.Request{ID: i, Due: r.recv, Prompt: r.prompt, Output: r.output},
			Sent:    r.recv, Prompted: r.prompt, Cached: r.cached, Tokens: r.out.written, Status: r.out.status, Error: r.out.failure,
		}
		if r.out.written > 0 {
			row.First, row.FirstTokens = r.first, 1
		}
		switch {
		case r.out.written == r.output:
			row.Last = r.last
		case row.Error == "":
			row.Error = "it has not ended"
		}
		rows[i] = row
	}
	return rows
}

// Started is the moment from which the times of the truth count.
func (e *Engine) Started() time.Time { return e.started }

// writeTruth writes one CSV line a request: its name, when it was received,
// when its first and last token were there and when they were written. Times
// are seconds from the start of the engine, which the last column gives in
// Unix time; empty is never.
func (e *Engine) writeTruth(path string) error {
	rows := e.Truth()
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("write truth: %w", err)
	}
	defer f.Close()
	w := csv.NewWriter(f)
	when := func(d time.Duration) string {
		if d == 0 {
			return ""
		}
		return strconv.FormatFloat(d.Seconds(), 'f', 9, 64)
	}
	started := strconv.FormatFloat(float64(e.started.UnixNano())/1e9, 'f', 6, 64)
	lines := [][]string{{
		"id", "x_request_id", "recv_s", "first_true_s", "first_written_s", "last_true_s", "last_written_s",
		"prompt_tokens", "output_tokens", "status", "error", "started_unix_s",
	}}
	e.mu.Lock()
	for i, row := range rows {
		r := e.all[i]
		lines = append(lines, []string{
			strconv.Itoa(i), r.name, when(row.Sent), when(row.First), when(r.out.first), when(row.Last), when(r.out.last),
			strconv.Itoa(row.Prompted), strconv.Itoa(row.Tokens), strconv.Itoa(row.Status), row.Error, started,
		})
	}
	e.mu.Unlock()
	if err := w.WriteAll(lines); err != nil {
		return fmt.Errorf("write truth: %w", err)
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("write truth: %w", err)
	}
	return nil
}
