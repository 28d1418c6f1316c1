package trace

import (
	"bufio"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The columns of Vidur's trace format.
const (
	colDue    = "arrived_at"
	colPrompt = "num_prefill_tokens"
	colOutput = "num_decode_tokens"
	// Two more that a trace may have, together.
	colIDs  = "hash_ids"        // of the blocks that a prompt begins with
	colSize = "hash_block_size" // tokens in each of them
)

// ReadCSV reads a trace in Vidur's columns (arrived_at in seconds,
// num_prefill_tokens, num_decode_tokens; others are passed over) and, where
// there is one, in hash_ids and hash_block_size, the [Content] of each prompt
// ("17 18 19" or "[17, 18, 19]", and 512). Rows keep their order in the file. An error says which line and column, what stands
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
	at := map[string]int{colDue: -1, colPrompt: -1, colOutput: -1, colIDs: -1, colSize: -1}
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
	if at[colIDs] >= 0 && at[colSize] < 0 {
		return nil, fmt.Errorf("line 1: %s without %s: say how many tokens a block has, in a column of that name (512 in Mooncake's traces)", colIDs, colSize)
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
		if at[colIDs] >= 0 {
			if req.Content, err = content(rec[at[colIDs]], rec[at[colSize]], req.Prompt); err != nil {
				return nil, fmt.Errorf("line %d: %w", line, err)
			}
		}
		reqs = append(reqs, req)
	}
}

// content reads the ids of a prompt's blocks, as text without commas or as a
// list. None is no content.
func content(ids, size string, prompt int) (*Content, error) {
	ids = strings.TrimSpace(ids)
	if inner, ok := strings.CutPrefix(ids, "["); ok {
		if ids, ok = strings.CutSuffix(inner, "]"); !ok {
			return nil, fmt.Errorf("%s: the list is not closed", colIDs)
		}
	}
	fields := strings.FieldsFunc(ids, func(r rune) bool { return r == ' ' || r == ',' })
	if len(fields) == 0 {
		return nil, nil
	}
	n, err := tokens(size)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: %w", colSize, err)
	case n < 1:
		return nil, fmt.Errorf("%s: %q; a block has at least 1 token", colSize, strings.TrimSpace(size))
	case (len(fields)-1)*n >= prompt:
		return nil, fmt.Errorf("%s: %d blocks of %d tokens for a prompt of %d: the last of them would be empty", colIDs, len(fields), n, prompt)
	}
	c := &Content{Tokens: n, IDs: make([]uint64, len(fields))}
	for i, f := range fields {
		if c.IDs[i], err = strconv.ParseUint(f, 10, 64); err != nil {
			return nil, fmt.Errorf("%s: %q is not an id (a whole number from 0 on)", colIDs, f)
		}
	}
	return c, nil
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

// columns are the two columns of a prompt's content, each with its comma. Ids
// beyond its end, as of a prompt that was cut, are left out.
func (c *Content) columns(prompt int) string {
	if c == nil {
		return ",,"
	}
	ids := make([]string, min(len(c.IDs), (prompt+c.Tokens-1)/c.Tokens))
	for i, id := range c.IDs[:len(ids)] {
		ids[i] = strconv.FormatUint(id, 10)
	}
	return fmt.Sprintf(",%s,%d", strings.Join(ids, " "), c.Tokens)
}

// WriteCSV writes requests in Vidur's columns, and the two of their content
// where one has any. [ReadCSV] gives them back to
// the nanosecond, IDs excepted: they are the row's place.
func WriteCSV(path string, reqs []Request) error {
	var b strings.Builder
	b.WriteString(colDue + "," + colPrompt + "," + colOutput)
	known := slices.ContainsFunc(reqs, func(r Request) bool { return r.Content != nil })
	if known {
		b.WriteString("," + colIDs + "," + colSize)
	}
	b.WriteByte('\n')
	for _, r := range reqs {
		b.WriteString(strconv.FormatFloat(r.Due.Seconds(), 'f', -1, 64))
		fmt.Fprintf(&b, ",%d,%d", r.Prompt, r.Output)
		if known {
			b.WriteString(r.Content.columns(r.Prompt))
		}
		b.WriteByte('\n')
	}
	if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
		return fmt.Errorf("write trace: %w", err)
	}
	return nil
}
