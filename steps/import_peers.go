package steps

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"calrun/internal/engine"
	"calrun/internal/stats"
	"calrun/internal/trace"
	"calrun/internal/workload"
)

// peerFile is what another load generator recorded.
type peerFile struct {
	tool  string
	facts engine.Facts
	ended time.Time // zero where the file holds no wall clock
	runs  []*peerRun
	notes []string // what the format lacks
}

// peerRun is one run of it.
type peerRun struct {
	rows    []trace.Row // times on the generator's clock; Due is its plan where there is one
	planned bool        // every request has a Due
	made    int         // requests of the run, as the file counts them; 0 where it does not
	chained int         // sent because an earlier request was answered
	halves  int         // failed, and the file does not say how long they were
	joined  int         // the first two token events were stamped within [together]
	merged  int         // fewer token events than tokens
}

// together is how close two stamps of a client in user space are that has
// found both events in one read: no engine makes 10,000 tokens a second for one
// request.
const together = 100 * time.Microsecond

// peerFormat is a file of another load generator as a format.
func peerFormat(name, what string, read func(data []byte) (*peerFile, error)) Format {
	return Format{name, what, func(path string) (*recording, error) {
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("%w; %s is %s", err, name, what)
		}
		f, err := read(data)
		if err == nil {
			for _, r := range f.runs {
				if len(r.rows) == 0 {
					err = errors.New("it holds no requests")
				}
			}
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w; %s is %s", path, err, name, what)
		}
		return f.recording(), nil
	}}
}

// atOnce says whether the first two token events were read together, by the
// gaps between them, in seconds.
func atOnce(gaps []float64) bool { return len(gaps) > 0 && trace.FromSeconds(gaps[0]) < together }

// add takes a request with its token events: how many there were, 0 where the
// file does not say, and whether the first two were read together.
func (r *peerRun) add(row trace.Row, events int, joined bool) error {
	row.Prompt, row.Output = cmp.Or(row.Prompt, row.Prompted), cmp.Or(row.Output, row.Tokens)
	switch {
	case !row.OK():
		row.First, row.Last, row.Tokens = 0, 0, 0
		if row.Prompt < 1 || row.Output < 1 {
			r.halves++
		}
		row.Prompt, row.Output = max(row.Prompt, 1), max(row.Output, 1)
	case row.Prompt < 1 || row.Tokens < 1:
		return fmt.Errorf("%d prompt and %d output tokens of a completed request; there is at least one of each", row.Prompt, row.Tokens)
	case row.First < row.Sent || row.Last < row.First:
		return fmt.Errorf("sent at %v, first token at %v, last at %v: out of order", row.Sent, row.First, row.Last)
	case joined:
		r.joined++
	}
	if row.OK() && events > 0 && events < row.Tokens {
		r.merged++
	}
	r.rows = append(r.rows, row)
	return nil
}

// recording is the file as a measurement: each run a replay with one repeat.
func (f *peerFile) recording() *recording {
	m := &recording{facts: f.facts, stamps: "read"}
	m.facts.Name = cmp.Or(m.facts.Name, "openai")
	w := &m.workload
	w.Doubts = append(w.Doubts,
		fmt.Sprintf("recorded by %s, whose stamps are its own and not the kernel's: what it read late is in the engine's latencies", f.tool),
		"it is one run: the engine's own noise is unknown")
	w.Doubts = append(w.Doubts, f.notes...)
	if f.ended.IsZero() {
		w.Doubts = append(w.Doubts, "the file does not say when it was measured: the age of profiles cannot be judged against it")
	} else {
		w.Ended = f.ended.UTC().Format(time.RFC3339Nano)
	}
	for i, r := range f.runs {
		name, of := workload.ReplayName, ""
		if len(f.runs) > 1 {
			name = fmt.Sprintf("%s-%d", workload.ReplayName, i+1)
			of = name + ": "
		}
		for _, note := range r.settle() {
			w.Doubts = append(w.Doubts, of+note)
		}
		m.points = append(m.points, replayPoint(name, r.rows))
		w.Counts.Requests += len(r.rows)
	}
	return m
}

// settle brings the times of a run to durations since its first arrival, and
// says what is to be known of it. A generator that was late by more than
// calrun allows its own is not followed in what it had planned: the engine
// would be judged by its client.
func (r *peerRun) settle() (notes []string) {
	note := func(n int, format string, args ...any) {
		if n > 0 {
			notes = append(notes, fmt.Sprintf(format, args...))
		}
	}
	late := make([]float64, len(r.rows))
	for i, row := range r.rows {
		late[i] = row.Late().Seconds()
	}
	p99 := trace.FromSeconds(stats.Quantile(stats.Sorted(late), 0.99))
	switch {
	case !r.planned:
		note(1, "when requests were due is not recorded: they count as due when they were sent")
	case p99 > DefaultLateness:
		note(1, "the load generator was late: sent - due is %v at P99, above %v; requests count as due when they were sent, and what a user waited before that is in no figure", p99.Round(time.Millisecond/10), DefaultLateness)
		r.planned = false
	}
	for i := range r.rows {
		if row := &r.rows[i]; !r.planned || row.Sent < row.Due {
			row.Due = row.Sent
		}
	}
	slices.SortStableFunc(r.rows, func(a, b trace.Row) int { return cmp.Compare(a.Due, b.Due) })
	zero := r.rows[0].Due
	for i := range r.rows {
		row := &r.rows[i]
		row.ID = i
		row.Due, row.Sent = row.Due-zero, row.Sent-zero
		if row.OK() {
			row.First, row.Last = row.First-zero, row.Last-zero
		}
	}
	n := len(r.rows)
	note(r.made-n, "the file holds %d of the %d requests of the run: the load of the others is missing", n, r.made)
	note(r.chained, "%d of %d requests were sent because an earlier one was answered (a closed loop, or turns of a conversation): a simulator is given these arrivals as fixed, whatever its own answers", r.chained, n)
	note(r.halves, "the lengths of %d failed requests are not all recorded: a simulator is given 1 token for what is missing", r.halves)
	note(20*r.joined/n, "the first two token events of %d of %d requests were stamped within %v: read at once, and their TTFT may be too large", r.joined, n, together)
	note(20*r.merged/n, "%d of %d requests have fewer token events than tokens, and the first may have carried several: then their TPOT is too small", r.merged, n)
	return notes
}

// unsaidLoop is what formats without the generator's configuration lack.
const unsaidLoop = "the file does not say whether requests were sent on a schedule or in a closed loop; of a closed loop a simulator is given the arrivals as fixed"

// eachLine decodes a file of JSON lines.
func eachLine[T any](data []byte, take func(x *T) error) error {
	n := 0
	for line := range bytes.Lines(data) {
		n++
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		x := new(T)
		err := json.Unmarshal(line, x)
		if err == nil {
			err = take(x)
		}
		if err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
	}
	return nil
}

// needed is a field that a request cannot do without.
type needed struct {
	name  string
	there bool
}

// absent names the first field that is not there.
func absent(fields ...needed) error {
	for _, f := range fields {
		if !f.there {
			return fmt.Errorf("a request has no %s", f.name)
		}
	}
	return nil
}

// secondsIn is a number of seconds that may not be there.
func secondsIn(s *float64) time.Duration {
	if s == nil {
		return 0
	}
	return trace.FromSeconds(*s)
}

// failure is why a request failed, as a file has it: a text, an object, or
// nothing.
func failure(raw json.RawMessage) string {
	var text string
	if len(raw) == 0 || string(raw) == "null" || json.Unmarshal(raw, &text) == nil {
		return text
	}
	return string(raw)
}
