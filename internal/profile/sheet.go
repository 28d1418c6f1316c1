package profile

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"strings"
)

// sheet is a CSV file with a line of names.
type sheet struct {
	file string // as errors and tables name it
	at   map[string]int
	rows []record
}

type record struct {
	fields []string
	line   int
}

// openSheet reads the whole file. Profiles are at most a few megabytes.
func openSheet(path, file string) (*sheet, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read profile: %w", err)
	}
	defer f.Close()
	in := csv.NewReader(f)
	in.FieldsPerRecord = -1
	head, err := in.Read()
	if errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read profile %s: the file is empty; its first line must name the columns", file)
	}
	if err != nil {
		return nil, fmt.Errorf("read profile %s: %w", file, err)
	}
	s := &sheet{file: file, at: map[string]int{}}
	for i, name := range head {
		name = strings.TrimSpace(strings.TrimPrefix(name, "\ufeff"))
		if _, twice := s.at[name]; twice && name != "" {
			return nil, fmt.Errorf("read profile %s: line 1: two columns are called %s", file, name)
		}
		s.at[name] = i
	}
	for {
		rec, err := in.Read()
		if errors.Is(err, io.EOF) {
			return s, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read profile %s: %w", file, err)
		}
		line, _ := in.FieldPos(0)
		if len(rec) != len(head) {
			return nil, fmt.Errorf("read profile %s: line %d: %d fields, the first line has %d", file, line, len(rec), len(head))
		}
		s.rows = append(s.rows, record{rec, line})
	}
}

// need refuses a sheet that lacks a column, and says which it has.
func (s *sheet) need(cols ...string) error {
	for _, c := range cols {
		if _, ok := s.at[c]; !ok {
			return fmt.Errorf("read profile %s: line 1: no column %s; the columns are %s", s.file, c, strings.Join(s.names(), ", "))
		}
	}
	return nil
}

// names are the columns in the order of the file; Vidur's five statistics of
// an operator are named once.
func (s *sheet) names() []string {
	all := make([]string, len(s.at))
	for name, i := range s.at {
		if i < len(all) {
			all[i] = name
		}
	}
	var out []string
	seen := map[string]bool{}
	for _, name := range all {
		if strings.HasPrefix(name, "time_stats.") {
			name = name[:strings.LastIndex(name, ".")] + ".*"
		}
		if name != "" && !seen[name] {
			seen[name] = true
			out = append(out, name)
		}
	}
	return out
}

func (s *sheet) text(r record, col string) string { return strings.TrimSpace(r.fields[s.at[col]]) }

// number reads a cell. An empty one is NaN, as dataframes write it: whether a
// profile may hold it is for [Values] to say.
func (s *sheet) number(r record, col string) (float64, error) {
	text := s.text(r, col)
	if text == "" {
		return math.NaN(), nil
	}
	v, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return 0, fmt.Errorf("read profile %s: line %d: %s: %q is not a number", s.file, r.line, col, text)
	}
	return v, nil
}

// size reads a count of tokens, sequences or bytes.
func (s *sheet) size(r record, col string) (float64, error) {
	v, err := s.number(r, col)
	if err != nil {
		return 0, err
	}
	if math.IsNaN(v) || v < 0 || v != math.Trunc(v) || v > 1<<40 {
		return 0, fmt.Errorf("read profile %s: line %d: %s: %q is not a count (a whole number from 0 on)", s.file, r.line, col, s.text(r, col))
	}
	return v, nil
}
