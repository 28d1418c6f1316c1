package steps

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"calrun/internal/trace"
)

// apart is the time between the arrivals of requests that have the engine to
// themselves, as a foreign simulator is told them.
const apart = 10_000 * time.Second

// spaced are the requests as a foreign simulator is to see them.
func spaced(reqs []trace.Request, alone bool) []trace.Request {
	out := slices.Clone(reqs)
	for i := range out {
		out[i].ID = i
		if alone {
			out[i].Due = time.Duration(i) * apart
		}
	}
	return out
}

// foreignRow is a line of what a foreign simulator writes. What it repeats of
// the trace is held against it.
type foreignRow struct {
	ID     *int     `json:"id"`
	Due    *float64 `json:"due_s"`
	First  *float64 `json:"first_s"`
	Last   *float64 `json:"last_s"`
	Prompt *int     `json:"prompt_tokens"`
	Output *int     `json:"output_tokens"`
	Error  string   `json:"error"`
}

// foreignRows are rows on the clock of the trace that the simulator was given.
type foreignRows []trace.Row

// readForeign reads what a foreign simulator made of the requests, and refuses
// what cannot be about them.
func readForeign(path string, asked []trace.Request) (foreignRows, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("there is no OUT/points/NAME/SEED/%s: %w", trace.RowsFile, errors.Unwrap(err))
	}
	defer f.Close()
	var rows foreignRows
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for n := 1; lines.Scan(); n++ {
		if strings.TrimSpace(lines.Text()) == "" {
			continue
		}
		if len(rows) == len(asked) {
			return nil, fmt.Errorf("%s: line %d: the trace has %d requests and this is one more", trace.RowsFile, n, len(asked))
		}
		row, err := parseForeign(lines.Text(), asked[len(rows)])
		if err != nil {
			return nil, fmt.Errorf("%s: line %d: %w", trace.RowsFile, n, err)
		}
		rows = append(rows, row)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", trace.RowsFile, err)
	}
	if len(rows) != len(asked) {
		return nil, fmt.Errorf("%s has %d rows and the trace %d requests; one that could not be served is a row with an error", trace.RowsFile, len(rows), len(asked))
	}
	return rows, nil
}

// tolerance is how far a repeated arrival may be from the trace's: what a
// decimal with six places loses.
const tolerance = time.Microsecond

// longestTime keeps seconds inside what a time.Duration holds, with room to
// subtract.
const longestTime = 4e9

// parseForeign reads the line of one request.
func parseForeign(line string, asked trace.Request) (trace.Row, error) {
	row := trace.Row{Request: asked, Sent: asked.Due}
	var x foreignRow
	dec := json.NewDecoder(strings.NewReader(line))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&x); err != nil {
		return row, fmt.Errorf("%w, in %.80q; the fields are id, first_s, last_s, error, due_s, prompt_tokens and output_tokens, and numbers are finite", err, line)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return row, fmt.Errorf("more than one JSON object in %.80q", line)
	}
	switch {
	case x.ID == nil || *x.ID != asked.ID:
		return row, fmt.Errorf("id is %s where request %d of the trace was expected; rows come in the order of the trace, its first is 0", orAbsent(x.ID), asked.ID)
	case x.Prompt != nil && *x.Prompt != asked.Prompt:
		return row, fmt.Errorf("request %d has prompt_tokens %d; the trace asks for %d", asked.ID, *x.Prompt, asked.Prompt)
	case x.Output != nil && *x.Output != asked.Output:
		return row, fmt.Errorf("request %d has output_tokens %d; the trace asks for %d", asked.ID, *x.Output, asked.Output)
	case x.Due != nil && !(*x.Due >= 0 && *x.Due <= longestTime && (trace.FromSeconds(*x.Due)-asked.Due).Abs() <= tolerance):
		return row, fmt.Errorf("request %d has due_s %v; the trace has it arrive at %v", asked.ID, *x.Due, asked.Due.Seconds())
	case x.Error != "":
		row.Error = x.Error
		return row, nil
	case x.First == nil || x.Last == nil:
		return row, fmt.Errorf("request %d has first_s %s and last_s %s; a request that was served has both, one that was not an error", asked.ID, orAbsent(x.First), orAbsent(x.Last))
	case !(*x.First >= 0 && *x.First <= *x.Last && *x.Last <= longestTime):
		return row, fmt.Errorf("request %d has first_s %v and last_s %v; times count up from 0 in seconds, and the last token is never before the first", asked.ID, *x.First, *x.Last)
	}
	row.First, row.Last = trace.FromSeconds(*x.First), trace.FromSeconds(*x.Last)
	switch {
	case row.First < asked.Due-tolerance:
		return row, fmt.Errorf("request %d has first_s %v and arrives at %v only; nothing is answered before it is asked", asked.ID, *x.First, asked.Due.Seconds())
	case asked.Output == 1 && row.Last-row.First > tolerance:
		return row, fmt.Errorf("request %d asks for one token, and has its first at %v and its last at %v", asked.ID, *x.First, *x.Last)
	}
	row.First = max(row.First, asked.Due) // a decimal may have lost a digit
	row.Last = max(row.Last, row.First)
	row.Prompted, row.Tokens, row.FirstTokens = asked.Prompt, asked.Output, 1
	return row, nil
}

func orAbsent[T any](v *T) string {
	if v == nil {
		return "absent"
	}
	return fmt.Sprint(*v)
}

// on puts rows onto the clock of the requests as they were asked. The window
// ends with the last token.
func (rows foreignRows) on(reqs []trace.Request) (out []trace.Row, window time.Duration) {
	out = make([]trace.Row, len(rows))
	for i, r := range rows {
		shift := reqs[i].Due - r.Due
		if r.OK() {
			r.First, r.Last = r.First+shift, r.Last+shift
		}
		r.Request, r.Sent = reqs[i], reqs[i].Due
		out[i] = r
		window = max(window, r.Last)
	}
	return out, window
}
