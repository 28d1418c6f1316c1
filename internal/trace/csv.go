package trace

import (
	"bufio"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"strings"
	"time"
)

// The columns of Vidur's trace format.
const (
	colDue    = "arrived_at"
	colPrompt = "num_prefill_tokens"
	colOutput = "num_decode_tokens"
)

// ReadCSV reads a trace in Vidur's columns (arrived_at in seconds,
// num_prefill_tokens, num_decode_tokens; others are passed over). Rows keep
// their order in the file. An error says which line and column, what stands
// there and what may.
func ReadCSV(path string) ([]Request, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read trace: %w", err)
	}
	defer f.Close()
	reqs, err := decodeCSV(f)
	if err != nil {
		return nil, fmt.Errorf("read trace %s: %w", path, err)
	}
	return reqs, nil
}

func decodeCSV(r io.Reader) ([]Request, error) {
	in := csv.NewReader(bufio.NewReader(r))
	in.ReuseRecord = true
	in.FieldsPerRecord = -1
	head, err := in.Read()
	if errors.Is(err, io.EOF) {
		return nil, errors.New("the file is empty; its first line must name the columns " + columns())
	}
	if err != nil {
		return nil, err
	}
	at := map[string]int{colDue: -1, colPrompt: -1, colOutput: -1}
	for i, name := range head {
		name = strings.TrimSpace(strings.TrimPrefix(name, "\ufeff"))
		if _, wanted := at[name]; wanted {
			at[name] = i
		}
	}
	width := len(head)
	for _, name := range []string{colDue, colPrompt, colOutput} {
		if at[name] < 0 {
			return nil, fmt.Errorf("line 1: no column %s among %q; a trace needs %s", name, strings.Join(head, ","), columns())
		}
	}
	var reqs []Request
	for {
		rec, err := in.Read()
		if errors.Is(err, io.EOF) {
			return reqs, nil
		}
		if err != nil {
			return nil, err
		}
		line, _ := in.FieldPos(0)
		if len(rec) != width {
			return nil, fmt.Errorf("line %d: %d fields, the first line has %d", line, len(rec), width)
		}
		req := Request{ID: len(reqs)}
		if req.Due, err = seconds(rec[at[colDue]]); err != nil {
			return nil, fmt.Errorf("line %d: %s: %w", line, colDue, err)
		}
		if req.Prompt, err = tokens(rec[at[colPrompt]]); err != nil {
			return nil, fmt.Errorf("line %d: %s: %w", line, colPrompt, err)
		}
		if req.Output, err = tokens(rec[at[colOutput]]); err != nil {
			return nil, fmt.Errorf("line %d: %s: %w", line, colOutput, err)
		}
		reqs = append(reqs, req)
	}
}

func columns() string { return colDue + ", " + colPrompt + ", " + colOutput }

// maxSeconds keeps a time inside what a Duration can hold.
const maxSeconds = float64(math.MaxInt64) / 1e9

func seconds(s string) (time.Duration, error) {
	v, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
	switch {
	case err != nil:
		return 0, fmt.Errorf("%q is not a number", s)
	case math.IsNaN(v) || v < 0 || v >= maxSeconds:
		return 0, fmt.Errorf("%q is not a time in seconds from 0 on", s)
	}
	return FromSeconds(v), nil
}

// tokens accepts "374" and "374.0", as dataframes write it, and no fractions.
func tokens(s string) (int, error) {
	v, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
	switch {
	case err != nil:
		return 0, fmt.Errorf("%q is not a number", s)
	case v != math.Trunc(v) || v < 0 || v > math.MaxInt32:
		return 0, fmt.Errorf("%q is not a count of tokens (a whole number from 0 on)", s)
	}
	return int(v), nil
}

// FromSeconds is a file's seconds as a duration, to the nearest nanosecond.
func FromSeconds(s float64) time.Duration { return time.Duration(math.Round(s * 1e9)) }

// WriteCSV writes requests in Vidur's columns. [ReadCSV] gives them back to
// the nanosecond, IDs excepted: they are the row's place.
func WriteCSV(path string, reqs []Request) error {
	var b strings.Builder
	b.WriteString(colDue + "," + colPrompt + "," + colOutput + "\n")
	for _, r := range reqs {
		b.WriteString(strconv.FormatFloat(r.Due.Seconds(), 'f', -1, 64))
		fmt.Fprintf(&b, ",%d,%d\n", r.Prompt, r.Output)
	}
	if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
		return fmt.Errorf("write trace: %w", err)
	}
	return nil
}
