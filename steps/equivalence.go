package steps

import (
	"encoding/json"
	"fmt"
	"math"

	"calrun/internal/compare"
	"calrun/internal/trace"
	"calrun/pipeline"
)

// Equivalent implements [pipeline.Equivalent]: every cell of the two
// measurements is held against the margin. The measurement is different if one
// of its cells is, and equivalent if all of its medians, means and throughputs
// are: a few repeats can prove two tails different, hardly ever equivalent.
func (h *HardwareRun) Equivalent(recorded, again json.RawMessage, open func(pipeline.Artefact) (string, error), margin float64) (*pipeline.Equivalence, error) {
	before, err := openMeasured(recorded, open)
	if err != nil {
		return nil, fmt.Errorf("the recorded measurement: %w", err)
	}
	now, err := openMeasured(again, open)
	if err != nil {
		return nil, err
	}
	cells, err := compare.Equivalent(before, now, margin)
	if err != nil {
		return nil, err
	}
	return equivalence(cells, margin), nil
}

// openMeasured reads the points of a result of hardware-run.
func openMeasured(result json.RawMessage, open func(pipeline.Artefact) (string, error)) ([]trace.Point, error) {
	var doc struct{ Measurement pipeline.Artefact }
	if err := json.Unmarshal(result, &doc); err != nil {
		return nil, err
	}
	dir, err := open(doc.Measurement)
	if err != nil {
		return nil, err
	}
	return trace.ReadPoints(dir)
}

// equivalence sums the cells up.
func equivalence(cells []compare.EquivalenceCell, margin float64) *pipeline.Equivalence {
	out := &pipeline.Equivalence{Cells: cells, Verdict: compare.CellEquivalent}
	count, tails := map[string]int{}, 0
	var worst *compare.EquivalenceCell // the one that decides
	for i, c := range cells {
		count[c.Finding]++
		switch {
		case c.Finding == compare.CellDifferent:
			if out.Verdict != compare.CellDifferent || farther(c, *worst) {
				out.Verdict, worst = c.Finding, &cells[i]
			}
		case c.Finding == compare.CellUndecided && c.Tail():
			tails++
		case c.Finding == compare.CellUndecided && out.Verdict != compare.CellDifferent:
			if out.Verdict != compare.CellUndecided || farther(c, *worst) {
				out.Verdict, worst = c.Finding, &cells[i]
			}
		}
	}
	if count[compare.CellEquivalent] == 0 && out.Verdict == compare.CellEquivalent {
		out.Verdict = compare.CellUndecided // nothing was found to be
	}
	out.Note = fmt.Sprintf("measured again: %d of %d cells equivalent within a margin of %.3g %%, %d different, %d undecided (%d of them tails)",
		count[compare.CellEquivalent], len(cells), 100*margin, count[compare.CellDifferent], count[compare.CellUndecided], tails)
	if worst != nil {
		out.Note += "; " + sayCell(*worst)
	}
	return out
}

// farther says whether the ratio of a lies farther from 1 than that of b.
func farther(a, b compare.EquivalenceCell) bool {
	far := func(c compare.EquivalenceCell) float64 {
		if c.Ratio == nil {
			return 0
		}
		return math.Abs(math.Log(*c.Ratio))
	}
	return far(a) > far(b)
}

// sayCell is a cell for people.
func sayCell(c compare.EquivalenceCell) string {
	text := c.Point
	if c.Metric != "" {
		text += " " + c.Metric + " " + c.Stat
	}
	if c.Ratio != nil {
		text += fmt.Sprintf(" ×%.3f", *c.Ratio)
	}
	if c.Low != nil && c.High != nil {
		text += fmt.Sprintf(" [%.3f, %.3f]", *c.Low, *c.High)
	}
	return text + ": " + c.Why
}

var _ pipeline.Equivalent = (*HardwareRun)(nil)
