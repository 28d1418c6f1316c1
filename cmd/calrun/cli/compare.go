package cli

import (
	"fmt"
	"strconv"
	"strings"

	"calrun/pipeline"

	"github.com/spf13/cobra"
)

// compareVerb puts two runs side by side.
func (a *app) compareVerb() *cobra.Command {
	var markdown, all bool
	c := &cobra.Command{
		Use:   "compare A [B]",
		Short: "Put two runs side by side, or the accepted runs of a lock one after the other",
		Long: `Compare two runs, or locks of accepted runs: plan, inputs, what each step depended
on, parameters, the figures that gates read, and what the steps made. Only what
differs is shown, and all figures; --all shows everything. With one lock: the drift
of its figures over the accepted runs, and when the engine or the plan changed.`,
		Example: "  calrun compare latest 20261124-0930\n  calrun compare plan.lock.yaml latest --markdown\n  calrun compare plan.lock.yaml",
		Args:    args(cobra.RangeArgs(1, 2)),
		RunE: func(_ *cobra.Command, given []string) error {
			first, err := a.lockOf(given[0])
			if err != nil {
				return err
			}
			if len(given) == 1 {
				if len(first.History) == 0 {
					return usageError{fmt.Errorf("%s is no lock; name a second run to compare it with", given[0])}
				}
				return a.rows(pipeline.Drift(first.History), [2]string{"before", "accepted"}, markdown, true)
			}
			second, err := a.lockOf(given[1])
			if err != nil {
				return err
			}
			return a.rows(pipeline.SideBySide(first, second), [2]string{first.Accepted.Run, second.Accepted.Run}, markdown, all)
		},
	}
	c.Flags().BoolVar(&markdown, "markdown", false, "as a Markdown table")
	c.Flags().BoolVar(&all, "all", false, "also what is the same")
	return c
}

// lockOf is what a name stands for: a lock file, or a run.
func (a *app) lockOf(name string) (*pipeline.Lock, error) {
	if pipeline.IsLock(name) {
		return pipeline.ReadLock(name)
	}
	store, id, err := a.find([]string{name})
	if err != nil {
		return nil, err
	}
	return store.LockOf(id, a.kinds)
}

// rows prints a comparison.
func (a *app) rows(rows []pipeline.Row, names [2]string, markdown, all bool) error {
	if a.json {
		return a.print(map[string]any{"calrun": "v1", "a": names[0], "b": names[1], "rows": rows})
	}
	table := [][]string{{"", "", names[0], names[1], ""}}
	for _, r := range rows {
		if r.Same && !all && r.Group != "figures" {
			continue
		}
		delta := ""
		if r.Delta != nil && !r.Same {
			delta = fmt.Sprintf("%+.4g", *r.Delta)
		}
		table = append(table, []string{r.Group, r.Name, brevity(r.A), brevity(r.B), delta})
	}
	if !markdown {
		return columns(a.Out, table)
	}
	for i, row := range table {
		fmt.Fprintf(a.Out, "| %s |\n", strings.ReplaceAll(strings.Join(row, "\x00"), "\x00", " | "))
		if i == 0 {
			fmt.Fprintln(a.Out, "|---|---|---|---|---|")
		}
	}
	return nil
}

// brevity shortens digests, long numbers and long texts to what people compare
// by eye; --json has them whole.
func brevity(s string) string {
	if s == "" {
		return "–"
	}
	words := strings.Fields(s)
	for i, w := range words {
		if hexa, ok := strings.CutPrefix(w, "sha256:"); ok {
			words[i] = hexa[:min(12, len(hexa))]
		} else if number, err := strconv.ParseFloat(w, 64); err == nil && strings.Contains(w, ".") && len(w) > 9 {
			words[i] = strconv.FormatFloat(number, 'g', 6, 64)
		}
	}
	s = strings.ReplaceAll(strings.Join(words, " "), "|", `\|`)
	if r := []rune(s); len(r) > 48 {
		return string(r[:47]) + "…"
	}
	return s
}
