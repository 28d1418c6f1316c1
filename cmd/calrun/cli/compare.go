package cli

import (
	"fmt"
	"strconv"
	"strings"

	"calrun/pipeline"
	"calrun/steps"

	"github.com/spf13/cobra"
)

// compareVerb puts two runs side by side.
func (a *app) compareVerb() *cobra.Command {
	var v versus
	c := &cobra.Command{
		Use:   "compare A [B]",
		Short: "Put two runs side by side, or the accepted runs of a lock one after the other",
		Long: `Compare two runs, or locks of accepted runs: plan, inputs, files, what each step
depended on, parameters, the figures that gates read, and what the steps made. Only what
differs is shown, and all figures; --all shows everything. With one lock: the drift
of its figures over the accepted runs, and when the engine or the plan changed.

Where both runs simulated the same measurement (the second was made with --from the
first), or one run simulated it twice: which simulation is closer to it, by the
paired difference of their errors with its 95 % interval.`,
		Example: "  calrun compare latest 20261124-0930\n  calrun compare plan.lock.yaml latest --markdown\n  calrun compare plan.lock.yaml\n  calrun compare latest",
		Args:    args(cobra.RangeArgs(1, 2)),
		RunE: func(_ *cobra.Command, given []string) error {
			if len(given) == 1 {
				return a.alone(given[0], v)
			}
			first, err := a.lockOf(given[0])
			if err != nil {
				return err
			}
			second, err := a.lockOf(given[1])
			if err != nil {
				return err
			}
			v.names = [2]string{first.Accepted.Run, second.Accepted.Run}
			v.rows = pipeline.SideBySide(first, second)
			v.rivals, v.note = a.rivals(first, second)
			return a.versus(v)
		},
	}
	c.Flags().BoolVar(&v.markdown, "markdown", false, "as Markdown tables")
	c.Flags().BoolVar(&v.all, "all", false, "also what is the same")
	return c
}

// alone compares what one lock or one run has in itself.
func (a *app) alone(name string, v versus) error {
	l, err := a.lockOf(name)
	if err != nil {
		return err
	}
	if len(l.History) > 0 {
		v.names, v.rows, v.all = [2]string{"before", "accepted"}, pipeline.Drift(l.History), true
		return a.versus(v)
	}
	if record := a.recordOf(l); record != nil {
		if v.rivals, err = steps.RivalsIn(*record); err != nil {
			return err
		}
	}
	if len(v.rivals) == 0 {
		return usageError{fmt.Errorf("%s is no lock and did not simulate one measurement twice; name a second run to compare it with", name)}
	}
	v.names, v.rows = [2]string{l.Accepted.Run, l.Accepted.Run}, []pipeline.Row{}
	return a.versus(v)
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

// versus is a comparison and how it is shown.
type versus struct {
	names         [2]string
	rows          []pipeline.Row
	rivals        []steps.Rivals
	note          string // why there are none, where a reader would look for them
	markdown, all bool
}

// comparisonDoc is what compare prints with --json.
type comparisonDoc struct {
	Calrun string         `json:"calrun"` // "v1": the form of this document
	A      string         `json:"a" doc:"first run"`
	B      string         `json:"b" doc:"second run"`
	Rows   []pipeline.Row `json:"rows" doc:"what the runs are made of and found, side by side"`
	Rivals []steps.Rivals `json:"rivals,omitempty" doc:"pairs of simulations of one measurement, and which is closer to it"`
	Note   string         `json:"note,omitempty" doc:"why there are none, where a reader would look for them"`
}

// versus prints a comparison.
func (a *app) versus(v versus) error {
	if a.json {
		return a.print(comparisonDoc{"v1", v.names[0], v.names[1], v.rows, v.rivals, v.note})
	}
	if len(v.rows) > 0 {
		table := [][]string{{"", "", v.names[0], v.names[1], ""}}
		for _, r := range v.rows {
			if r.Same && !v.all && r.Group != "figures" {
				continue
			}
			delta := ""
			if r.Delta != nil && !r.Same {
				delta = fmt.Sprintf("%+.4g", *r.Delta)
			}
			table = append(table, []string{r.Group, r.Name, brevity(r.A), brevity(r.B), delta})
		}
		if err := a.table(table, v.markdown); err != nil {
			return err
		}
	}
	for i, r := range v.rivals {
		if i > 0 || len(v.rows) > 0 {
			fmt.Fprintln(a.Out)
		}
		if err := a.rivalry(r, v); err != nil {
			return err
		}
	}
	if v.note != "" {
		fmt.Fprintln(a.Err, v.note)
	}
	return nil
}

// table writes rows, the first of them the head, in columns or as Markdown.
func (a *app) table(rows [][]string, markdown bool) error {
	if !markdown {
		return columns(a.Out, rows)
	}
	for i, row := range rows {
		fmt.Fprintf(a.Out, "| %s |\n", strings.Join(row, " | "))
		if i == 0 {
			fmt.Fprintln(a.Out, strings.Repeat("|---", len(row))+"|")
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
