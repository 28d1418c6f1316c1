package cli

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"calrun/internal/report"
	"calrun/pipeline"
	"calrun/steps"

	"github.com/spf13/cobra"
)

// reportVerb writes the page of a run.
func (a *app) reportVerb() *cobra.Command {
	var out string
	c := &cobra.Command{
		Use:     "report [RUN] [-o FILE]",
		Short:   "Write a run as one self-contained HTML page",
		Long:    "Write a run as one HTML page that needs nothing beside it. Without RUN: the newest one.\nWithout -o it replaces the page beside the run; -o - prints it.",
		Example: "  calrun report\n  calrun report latest -o report.html",
		Args:    args(cobra.MaximumNArgs(1)),
		RunE: func(_ *cobra.Command, given []string) error {
			past, err := a.past(given)
			if err != nil {
				return err
			}
			page := a.page(past)
			if out == "-" && a.json {
				return usageError{fmt.Errorf("-o - and --json both want standard output; give one of them")}
			}
			if out == "-" {
				return report.HTML(a.Out, page)
			}
			path := out
			if path == "" {
				path = filepath.Join(past.Dir(), pageFile)
			}
			if err := writeFile(path, func(w io.Writer) error { return report.HTML(w, page) }); err != nil {
				return err
			}
			if a.json {
				return a.print(map[string]any{"calrun": "v1", "run": past.State.Run, "report": path})
			}
			_, err = fmt.Fprintln(a.Out, relative(path))
			return err
		},
	}
	c.Flags().StringVarP(&out, "output", "o", "", "file to write")
	return c
}

// page makes the report of a run.
func (a *app) page(past *pipeline.Past) report.Page {
	// A plan that a newer calrun refuses still has a page; only the order of
	// its steps is lost.
	return steps.Report(steps.RunRecord{State: past.State, Plan: a.planOf(past), Source: past.PlanSource, Artefact: past.Artefact})
}

// planOf is the plan that a run began with; nil if it does not load any more.
func (a *app) planOf(past *pipeline.Past) *pipeline.Plan {
	file := filepath.Join(past.State.Dir, filepath.Base(past.State.File))
	plan, _ := pipeline.LoadBytes(file, past.PlanSource, pipeline.LoadOptions{Kinds: a.kinds, Inputs: past.Given(), Recorded: true})
	return plan
}

// pageFile is the page's name in the folder of its run.
const pageFile = "report.html"

func writePage(past *pipeline.Past, page report.Page) (string, error) {
	path := filepath.Join(past.Dir(), pageFile)
	return path, writeFile(path, func(w io.Writer) error { return report.HTML(w, page) })
}

// existing is the path of the page beside a run, "" if there is none.
func existing(past *pipeline.Past) string {
	path := filepath.Join(past.Dir(), pageFile)
	if _, err := os.Stat(path); err != nil {
		return ""
	}
	return path
}
