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
		v.names, v.rows = [2]string{"before", "accepted"}, pipeline.Drift(l.History)
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
		if err := a.sides(v); err != nil {
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

// sides prints two runs side by side: what differs, all figures, and how much
// is the same.
func (a *app) sides(v versus) error {
	table, same := [][]string{{"", "", v.names[0], v.names[1], ""}}, 0
	for _, r := range v.rows {
		if r.Same && !v.all && !r.Figure {
			same++
			continue
		}
		delta := ""
		if r.Delta != nil && !r.Same {
			delta = fmt.Sprintf("%+.4g", *r.Delta)
		}
		before, now := brevity(r.A, r.B)
		table = append(table, []string{r.Group, r.Name, before, now, delta})
	}
	if err := a.table(table, v.markdown); err != nil || same == 0 {
		return err
	}
	_, err := fmt.Fprintf(a.Out, "\n%d more are the same; --all lists them\n", same)
	return err
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

// columnWidth is how many characters of a text stand in a table.
const columnWidth = 48

// brevity shortens two texts to what people compare by eye; --json has them
// whole. What two long ones begin with alike is left out, lest they be cut
// before they differ.
func brevity(a, b string) (string, string) {
	x, y, alike := []rune(shortened(a)), []rune(shortened(b)), 0
	for a != b && alike < min(len(x), len(y)) && x[alike] == y[alike] {
		alike++
	}
	for back := 0; alike > 0 && x[alike-1] != ' ' && back < 12; back++ { // to where the word begins, if that is near
		alike--
	}
	return column(x, alike), column(y, alike)
}

// column is a text as a table has it; alike is how much of it may be left out.
func column(text []rune, alike int) string {
	if len(text) == 0 {
		return "–"
	}
	if len(text) > columnWidth && alike > 0 {
		text = append([]rune("…"), text[alike:]...)
	}
	if len(text) > columnWidth {
		text = append(text[:columnWidth-1], '…')
	}
	return string(text)
}

// shortened is a text with its digests and its long numbers shortened.
func shortened(s string) string {
	words := strings.Fields(s)
	for i, w := range words {
		if hexa, ok := strings.CutPrefix(w, "sha256:"); ok {
			words[i] = hexa[:min(12, len(hexa))]
		} else if number, err := strconv.ParseFloat(w, 64); err == nil && strings.Contains(w, ".") && len(w) > 9 {
			words[i] = strconv.FormatFloat(number, 'g', 6, 64)
		}
	}
	return strings.ReplaceAll(strings.Join(words, " "), "|", `\|`)
}
