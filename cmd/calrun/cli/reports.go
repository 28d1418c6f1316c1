package cli

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"calrun/pipeline"
	"calrun/pipeline/suggest"
)

// ending is a finished run as reports for other systems see it.
type ending struct {
	past *pipeline.Past
	plan *pipeline.Plan // nil where its source does not load any more: order and lines are lost
	page string         // path of its page, may be empty
}

// last is the round whose gates decided.
func (e ending) last() *pipeline.Round {
	if rounds := e.past.State.Rounds; len(rounds) > 0 {
		return rounds[len(rounds)-1]
	}
	return &pipeline.Round{}
}

// names are those of a round's steps or gates, in the order of the plan.
func (e ending) names(of []string) []string {
	place := func(name string) int {
		if e.plan != nil {
			for i, d := range e.plan.Steps {
				if d.Name == name {
					return i
				}
			}
		}
		return len(of)
	}
	slices.SortFunc(of, func(a, b string) int {
		if x, y := place(a), place(b); x != y {
			return x - y
		}
		return strings.Compare(a, b)
	})
	return of
}

func (e ending) steps() []string { return e.names(slices.Collect(maps.Keys(e.last().Steps))) }
func (e ending) gates() []string { return e.names(slices.Collect(maps.Keys(e.last().Gates))) }

// reportFormats are what --report knows, and whether each wants a file.
var reportFormats = map[string]bool{"junit": true, "prometheus": true, "github": false}

// reportSpec is one --report.
type reportSpec struct{ format, file string }

// writable says whether a file can be put at a path: a run of hours should not
// end with the news that its report has no place. What is there stays.
func writable(path string) bool {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return false
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".calrun-*")
	if err != nil {
		return false
	}
	return errors.Join(f.Close(), os.Remove(f.Name())) == nil
}

// reportSpecs reads --report FORMAT[=FILE].
func reportSpecs(given []string) ([]reportSpec, error) {
	var out []reportSpec
	for _, text := range given {
		format, file, _ := strings.Cut(text, "=")
		wants, known := reportFormats[format]
		switch {
		case !known:
			all := slices.Sorted(maps.Keys(reportFormats))
			return nil, usageError{fmt.Errorf("--report %s: there is no report %q; %s", text, format, suggest.DidYouMeanOr(format, all, "reports"))}
		case wants && file == "":
			return nil, usageError{fmt.Errorf("--report %s wants a file: --report %s=FILE", format, format)}
		case wants && !writable(file):
			return nil, usageError{fmt.Errorf("--report %s: %s cannot be written; name a file in a folder that is there and may be written to", text, file)}
		case !wants && file != "":
			return nil, usageError{fmt.Errorf("--report %s takes no file: it writes annotations to standard error and a summary to the file that GITHUB_STEP_SUMMARY names", format)}
		}
		out = append(out, reportSpec{format, file})
	}
	return out, nil
}

// reports writes what other systems read of a run. One that cannot be written
// does not keep the others.
func (a *app) reports(specs []reportSpec, e ending) error {
	var errs []error
	for _, s := range specs {
		switch s.format {
		case "junit":
			errs = append(errs, writeFile(s.file, func(w io.Writer) error { return junit(w, e) }))
		case "prometheus":
			errs = append(errs, writeFile(s.file, func(w io.Writer) error { return prometheus(w, e) }))
		case "github":
			errs = append(errs, a.github(e))
		}
	}
	return errors.Join(errs...)
}
