package cli

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"

	"calrun/internal/report"
	"calrun/pipeline"

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
			store, err := a.store()
			if err != nil {
				return err
			}
			past, err := past(store, first(given))
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

// existing is the path of the page beside a run, "" if there is none.
func existing(past *pipeline.Past) string {
	path := filepath.Join(past.Dir(), pageFile)
	if _, err := os.Stat(path); err != nil {
		return ""
	}
	return path
}

// versionVerb says which calrun this is.
func (a *app) versionVerb() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Say which calrun this is",
		Args:  args(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			if a.json {
				return a.print(map[string]any{"calrun": "v1", "version": version(), "go": runtime.Version(), "plans": pipeline.Version})
			}
			_, err := fmt.Fprintf(a.Out, "calrun %s (%s, plans %s)\n", version(), runtime.Version(), pipeline.Version)
			return err
		},
	}
}

// version is the module's version, with the commit where the build knows it.
// It is shown and journalled and never decides a key: two builds of the same
// sources must find each other's results.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	v := info.Main.Version
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && v == "(devel)" {
			v = "devel-" + s.Value[:min(12, len(s.Value))]
		}
	}
	return v
}
