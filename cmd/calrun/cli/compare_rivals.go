package cli

import (
	"fmt"
	"slices"
	"strings"

	"calrun/internal/compare"
	"calrun/pipeline"
	"calrun/steps"
)

// recordOf is the run that a lock came from; nil if the store does not have
// it, as of a lock from elsewhere.
func (a *app) recordOf(l *pipeline.Lock) *steps.RunRecord {
	store, err := a.store()
	if err != nil {
		return nil
	}
	past, err := store.ReadRun(l.Accepted.Run)
	if err != nil {
		return nil
	}
	return &steps.RunRecord{State: past.State, Plan: a.planOf(past), Source: past.PlanSource, Artefact: past.Artefact}
}

// rivals are the simulations that two runs made of one measurement; the note
// says why there are none where a reader would look for them.
func (a *app) rivals(first, second *pipeline.Lock) (found []steps.Rivals, note string) {
	x, y := a.recordOf(first), a.recordOf(second)
	if x == nil || y == nil {
		return nil, ""
	}
	found, apart, err := steps.RivalsOf(*x, *y)
	switch {
	case err != nil:
		note = "which simulation is closer cannot be said: " + err.Error()
	case apart:
		note = "the runs simulated different measurements, so their errors are not paired; run --from " + first.Accepted.Run + " simulates its measurement again"
	}
	return found, note
}

// rivalry prints which of two simulations is closer.
func (a *app) rivalry(r steps.Rivals, v versus) error {
	fmt.Fprintf(a.Out, "Two simulations of one measurement: %s\n\n", rivalVerdict(r.Overall))
	for _, side := range []struct {
		name string
		of   steps.RivalOrigin
	}{{"A", r.A}, {"B", r.B}} {
		fmt.Fprintf(a.Out, "- %s: %s of run %s (%s)\n", side.name, orDash(side.of.Step), side.of.Run, column([]rune(shortened(side.of.Simulator)), 0))
	}
	fmt.Fprintln(a.Out)
	rows, left := [][]string{{"", "metric", "", "A", "B", "|A| − |B| (95 %)", "closer"}}, 0
	for _, c := range slices.Concat(r.Means, r.Cells) {
		switch {
		case c.Point == "" && c.Metric != "all" && c.Cells == 1: // its cell says the same
		case c.Low != nil || v.all:
			rows = append(rows, rivalRow(c))
		default:
			left++
		}
	}
	if err := a.table(rows, v.markdown); err != nil {
		return err
	}
	if left > 0 {
		fmt.Fprintf(a.Out, "\n%d more are not judged; --all says why.\n", left)
	}
	return nil
}

// rivalVerdict is the mean of a group in a sentence.
func rivalVerdict(c compare.RivalCell) string {
	if c.Low == nil {
		return "undecided, " + c.Why
	}
	text := fmt.Sprintf("over %d cells of the %s A errs by %s and B by %s on average, %s", c.Cells, c.Group, percent(*c.APEA, "%.1f"), percent(*c.APEB, "%.1f"), difference(c))
	if c.Closer == compare.CloserNone {
		return "undecided, " + c.Why + ": " + text
	}
	return strings.ToUpper(c.Closer) + " is closer: " + text
}

// rivalRow is a cell or mean in a table; errors of cells are signed.
func rivalRow(c compare.RivalCell) []string {
	row := []string{c.Point, c.Metric, c.Stat, "–", "–", "–", c.Why}
	if c.Point == "" {
		row[0] = fmt.Sprintf("%s, mean of %d", c.Group, c.Cells)
	}
	if c.Difference != nil {
		form, a, b := "%+.1f", *c.BiasA, *c.BiasB
		if c.Point == "" {
			form, a, b = "%.1f", *c.APEA, *c.APEB
		}
		row[3], row[4], row[5] = percent(a, form), percent(b, form), difference(c)
	}
	switch {
	case c.Closer != compare.CloserNone:
		row[6] = strings.ToUpper(c.Closer)
	case c.Low != nil:
		row[6] = "–"
	}
	return row
}

// difference is that of two errors with its interval, in percentage points.
func difference(c compare.RivalCell) string {
	text := percent(*c.Difference, "%+.1f")
	if c.Low != nil {
		text += fmt.Sprintf(" (%s to %s)", percent(*c.Low, "%+.1f"), percent(*c.High, "%+.1f"))
	}
	return text
}

// percent is a share in percent, with the minus that is as wide as a plus.
func percent(share float64, form string) string {
	return strings.Replace(fmt.Sprintf(form+" %%", 100*share), "-", "−", 1)
}
