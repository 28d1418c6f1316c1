package document

import (
	"errors"
	"fmt"
	"sort"
	"strings"

	"github.com/hashicorp/go-multierror"
)

// Problem is one thing that is wrong with a plan, or doubtful.
type Problem struct {
	File    string `json:"file"`
	Line    int    `json:"line"` // from 1; 0 if the problem has no place
	Col     int    `json:"col"`  // from 1, in characters
	Path    string `json:"path"` // steps.hardware.with.workload
	Message string `json:"message"`
	Suggest string `json:"suggest,omitempty"` // what to do about it
	Snippet string `json:"snippet,omitempty"` // the source line
	Warning bool   `json:"warning,omitempty"` // a doubt: the plan loads

	width int // characters under the caret
}

// Problems are all problems of a file, sorted by position.
type Problems []Problem

// Err returns nil if there are no problems, or warnings only; else a
// *multierror.Error that holds every problem as a [Problem] and prints them
// all.
func (ps Problems) Err() error {
	var all *multierror.Error
	for _, p := range ps {
		if !p.Warning {
			all = multierror.Append(all, p)
		}
	}
	if all == nil {
		return nil
	}
	all.ErrorFormat = FormatProblems
	return all
}

// Warnings returns those that do not keep the plan from loading.
func (ps Problems) Warnings() Problems {
	var out Problems
	for _, p := range ps {
		if p.Warning {
			out = append(out, p)
		}
	}
	return out
}

// Error is the problem on one line.
func (p Problem) Error() string {
	s := p.Message
	if p.Suggest != "" {
		s += ", " + p.Suggest
	}
	if p.Path != "" {
		s = p.Path + ": " + s
	}
	if p.Warning {
		s = "warning: " + s
	}
	if p.Line == 0 {
		return fmt.Sprintf("%s: %s", p.File, s)
	}
	return fmt.Sprintf("%s:%d:%d: %s", p.File, p.Line, p.Col, s)
}

// String is the problem with its source line and a caret, several lines
// without a newline at the end.
func (p Problem) String() string {
	if p.Line == 0 || p.Snippet == "" {
		return p.Error()
	}
	head := p
	head.Suggest = ""
	var b strings.Builder
	b.WriteString(head.Error())
	no := fmt.Sprintf("%5d", p.Line)
	// Tabs would shift the caret: YAML forbids them in indents, not in text.
	fmt.Fprintf(&b, "\n%s | %s\n%s | ", no, strings.ReplaceAll(p.Snippet, "\t", " "), strings.Repeat(" ", len(no)))
	b.WriteString(strings.Repeat(" ", max(p.Col-1, 0)))
	b.WriteString(strings.Repeat("^", max(p.width, 1)))
	if p.Suggest != "" {
		b.WriteString(" " + p.Suggest)
	}
	return b.String()
}

// String is every problem with its source line and caret.
func (ps Problems) String() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// FormatProblems prints errors, problems with their lines, as a multierror does.
func FormatProblems(errs []error) string {
	lines := make([]string, 0, len(errs)+1)
	for _, err := range errs {
		var p Problem
		if errors.As(err, &p) {
			lines = append(lines, p.String())
		} else {
			lines = append(lines, err.Error())
		}
	}
	if len(lines) > 1 {
		lines = append(lines, fmt.Sprintf("%d problems", len(errs)))
	}
	return strings.Join(lines, "\n")
}

// Sort orders by position, errors before warnings of the same place.
func (ps Problems) Sort() {
	sort.SliceStable(ps, func(i, j int) bool {
		a, b := ps[i], ps[j]
		switch {
		case a.Line != b.Line:
			return a.Line < b.Line
		case a.Col != b.Col:
			return a.Col < b.Col
		case a.Warning != b.Warning:
			return b.Warning
		case a.Path != b.Path:
			return a.Path < b.Path
		}
		return a.Message < b.Message
	})
}
