package trace

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// The files of a folder of points, relative to it or to the folder of a run.
const (
	indexFile = "points.json" // the points in order, with their seeds
	traceFile = "trace.csv"   // what was asked
	stateFile = "run.json"    // state, reason, window
)

// RowsFile is the file of a run that says what became of its requests.
const RowsFile = "requests.jsonl"

// RunDir is where a run of a point lies below a folder of points.
func RunDir(root, point string, seed int) string {
	return filepath.Join(root, "points", point, strconv.Itoa(seed))
}

type indexed struct {
	Point
	Seeds []int `json:"seeds"`
}

// writeIndex writes points.json: the points in order, each with its seeds.
// It is what makes the folder of runs below root readable by [ReadPoints].
func writeIndex(root string, points []Point) error {
	index := make([]indexed, len(points))
	for i, p := range points {
		index[i] = indexed{Point: p, Seeds: []int{}}
		for _, r := range p.Runs {
			index[i].Seeds = append(index[i].Seeds, r.Seed)
		}
	}
	data, err := json.MarshalIndent(index, "", "  ")
	if err != nil {
		return fmt.Errorf("write points: %w", err)
	}
	if err := os.WriteFile(filepath.Join(root, indexFile), append(data, '\n'), 0o644); err != nil {
		return fmt.Errorf("write points: %w", err)
	}
	return nil
}

// WritePoints writes points with all their runs below root: what [ReadPoints]
// reads.
func WritePoints(root string, points []Point) error {
	for _, p := range points {
		for _, r := range p.Runs {
			if err := WriteRun(RunDir(root, p.Name, r.Seed), r); err != nil {
				return err
			}
		}
	}
	return writeIndex(root, points)
}

// ReadPoints reads a workload, a measurement or a simulation. Rows are nil
// where a run has none.
func ReadPoints(root string) ([]Point, error) {
	data, err := os.ReadFile(filepath.Join(root, indexFile))
	if err != nil {
		return nil, fmt.Errorf("read points: %w", err)
	}
	var index []indexed
	if err := json.Unmarshal(data, &index); err != nil {
		return nil, fmt.Errorf("read points %s: %w", filepath.Join(root, indexFile), err)
	}
	points := make([]Point, len(index))
	for i, x := range index {
		points[i] = x.Point
		for _, seed := range x.Seeds {
			run, err := ReadRun(RunDir(root, x.Name, seed))
			if err != nil {
				return nil, err
			}
			run.Seed = seed
			points[i].Runs = append(points[i].Runs, run)
		}
	}
	return points, nil
}

type runState struct {
	Seed   int     `json:"seed"`
	State  State   `json:"state,omitempty"`
	Reason string  `json:"reason,omitempty"`
	Window float64 `json:"window_s,omitempty"`
}

// WriteRun writes one run into dir: trace.csv, and where it has rows or a
// state, requests.jsonl and run.json.
func WriteRun(dir string, r Run) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("write run: %w", err)
	}
	if err := WriteCSV(filepath.Join(dir, traceFile), r.Requests); err != nil {
		return err
	}
	if r.State == "" && r.Rows == nil {
		return nil
	}
	if err := WriteRows(filepath.Join(dir, RowsFile), r.Rows); err != nil {
		return err
	}
	data, err := json.Marshal(runState{r.Seed, r.State, r.Reason, r.Window.Seconds()})
	if err != nil {
		return fmt.Errorf("write run: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, stateFile), append(data, '\n'), 0o644); err != nil {
		return fmt.Errorf("write run: %w", err)
	}
	return nil
}

// ReadRun reads what [WriteRun] wrote.
func ReadRun(dir string) (Run, error) {
	var r Run
	var err error
	if r.Requests, err = ReadCSV(filepath.Join(dir, traceFile)); err != nil {
		return r, err
	}
	data, err := os.ReadFile(filepath.Join(dir, stateFile))
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err != nil {
		return r, fmt.Errorf("read run: %w", err)
	}
	var s runState
	if err := json.Unmarshal(data, &s); err != nil {
		return r, fmt.Errorf("read run %s: %w", filepath.Join(dir, stateFile), err)
	}
	r.Seed, r.State, r.Reason, r.Window = s.Seed, s.State, s.Reason, FromSeconds(s.Window)
	if r.Rows, err = ReadRows(filepath.Join(dir, RowsFile)); err != nil {
		return r, err
	}
	if len(r.Rows) != 0 && len(r.Rows) != len(r.Requests) {
		return r, fmt.Errorf("read run %s: %d rows for %d requests", dir, len(r.Rows), len(r.Requests))
	}
	for i := range r.Rows {
		r.Rows[i].Content = r.Requests[i].Content // which requests.jsonl leaves out
	}
	return r, nil
}

// row is a Row as a line of requests.jsonl.
type row struct {
	ID          int     `json:"id"`
	Due         float64 `json:"due_s"`
	Sent        float64 `json:"sent_s"`
	First       float64 `json:"first_s"`
	Last        float64 `json:"last_s"`
	Prompt      int     `json:"prompt_tokens"`
	Output      int     `json:"output_tokens"`
	Prompted    int     `json:"server_prompt_tokens"`
	Tokens      int     `json:"server_output_tokens"`
	FirstTokens int     `json:"first_tokens,omitempty"`
	Cached      int     `json:"cached_tokens,omitempty"`
	Estimated   bool    `json:"estimated,omitempty"`
	Status      int     `json:"status,omitempty"`
	Error       string  `json:"error,omitempty"`
}

// WriteRows writes one JSON line a row; times in seconds since the start of
// the run, to the nanosecond.
func WriteRows(path string, rows []Row) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	for _, r := range rows {
		err := enc.Encode(row{
			r.ID, r.Due.Seconds(), r.Sent.Seconds(), r.First.Seconds(), r.Last.Seconds(),
			r.Prompt, r.Output, r.Prompted, r.Tokens, r.FirstTokens, r.Cached, r.Estimated, r.Status, r.Error,
		})
		if err != nil {
			return fmt.Errorf("write rows: %w", err)
		}
	}
	if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
		return fmt.Errorf("write rows: %w", err)
	}
	return nil
}

// ReadRows reads what [WriteRows] wrote.
func ReadRows(path string) ([]Row, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read rows: %w", err)
	}
	defer f.Close()
	rows := []Row{}
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for n := 1; lines.Scan(); n++ {
		var x row
		dec := json.NewDecoder(bytes.NewReader(lines.Bytes()))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&x); err != nil {
			return nil, fmt.Errorf("read rows %s: line %d: %w", path, n, err)
		}
		r := Row{
			Request:  Request{ID: x.ID, Prompt: x.Prompt, Output: x.Output},
			Prompted: x.Prompted, Tokens: x.Tokens, FirstTokens: x.FirstTokens, Cached: x.Cached,
			Estimated: x.Estimated, Status: x.Status, Error: x.Error,
		}
		for _, t := range []struct {
			to *time.Duration
			s  float64
		}{{&r.Due, x.Due}, {&r.Sent, x.Sent}, {&r.First, x.First}, {&r.Last, x.Last}} {
			*t.to = FromSeconds(t.s)
		}
		rows = append(rows, r)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read rows %s: %w", path, err)
	}
	return rows, nil
}
