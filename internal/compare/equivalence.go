package compare

import (
	"fmt"
	"math"

	"calrun/internal/stats"
	"calrun/internal/trace"
)

// The findings of an [EquivalenceCell].
const (
	CellEquivalent = "equivalent"
	CellDifferent  = "different"
	CellUndecided  = "inconclusive"
)

// EquivalenceCell is one number of one point, measured twice. Low and High are
// the ends of the 90 % interval of Ratio: two one-sided tests at 5 % hold it
// against the margin.
type EquivalenceCell struct {
	Point    string   `json:"point"`
	Metric   string   `json:"metric"` // ttft, tpot, e2e or throughput
	Stat     string   `json:"stat"`   // p50, p90, p95, p99, mean or rate
	Recorded *float64 `json:"recorded"`
	Again    *float64 `json:"again"`
	Ratio    *float64 `json:"ratio"` // again over recorded
	Low      *float64 `json:"low"`
	High     *float64 `json:"high"`
	Units    int      `json:"units"`   // seeds, repeats, or requests of a probe, on each side
	Finding  string   `json:"finding"` // equivalent, different or inconclusive
	Why      string   `json:"why"`     // why it is not equivalent
}

// Tail says whether the cell is of a quantile above the median. Few repeats
// seldom prove two tails equivalent; they may well prove them different.
func (c EquivalenceCell) Tail() bool { return c.Stat == "p90" || c.Stat == "p95" || c.Stat == "p99" }

// equivalenceUnits is the least number of seeds or repeats whose spread is
// taken for that of the next one.
const equivalenceUnits = replayRepeats

// tostTail is the level of each of the two one-sided tests.
const tostTail = 0.05

// Equivalent sets a second measurement of the same requests against the
// recorded one, cell by cell: equivalent where the 90 % interval of again over
// recorded lies inside (1/(1+margin), 1+margin), which is Schuirmann's two
// one-sided t-tests at 5 % (J. Pharmacokinet. Biopharm. 15, 1987, 657-680) on
// logarithms; different where an interval that is wide enough for all cells
// together (Bonferroni) lies outside; undecided in between, and with less than
// three units.
//
// The units are seeds of a sweep, paired, since both measurements send a seed's
// requests alike; repeats of a replay, and requests of a probe, whose two
// samples are independent (Welch). A probe has no cells but means.
func Equivalent(recorded, again []trace.Point, margin float64) ([]EquivalenceCell, error) {
	if !(margin > 0) || math.IsInf(margin, 1) {
		return nil, fmt.Errorf("compare: a margin of %g; it is a number above 0, 0.1 for 10 %%", margin)
	}
	pairs, err := pairUp(recorded, again)
	if err != nil {
		return nil, err
	}
	var tests []tost
	for _, p := range pairs {
		tests = append(tests, tostsOf(p)...)
	}
	cells := make([]EquivalenceCell, len(tests))
	for i, t := range tests {
		cells[i] = t.judge(math.Log1p(margin), len(tests))
	}
	return cells, nil
}

// tost is a cell before it is judged: the estimate of ln(again/recorded), its
// standard error and the degrees of freedom behind it.
type tost struct {
	cell        EquivalenceCell
	at, se      float64
	freedom     float64
	broken      bool // the engine fails now, and did not then
	minimum     int
	undecidable string
}

// tostsOf prepares the cells of a point.
func tostsOf(p *pair) []tost {
	trouble, broken := failing(p)
	var out []tost
	for metric := range throughput + 1 {
		if len(p.runs) == 0 || metric == throughput && p.measured.Alone() {
			continue
		}
		s := newSample(p, metric)
		if s.n == 0 {
			continue // nobody's metric: TPOT of single tokens
		}
		for stat := range statNames {
			if stat != mean && (metric == throughput || p.measured.Group == trace.Probe) {
				continue
			}
			t := tost{cell: EquivalenceCell{Point: p.measured.Name}, undecidable: trouble, broken: broken}
			t.cell.Metric, t.cell.Stat = cellName(metric, stat)
			t.estimate(s, stat)
			out = append(out, t)
		}
	}
	if len(out) == 0 {
		if trouble == "" {
			trouble = "no request has a value in both measurements"
		}
		out = append(out, tost{cell: EquivalenceCell{Point: p.measured.Name}, undecidable: trouble, broken: broken})
	}
	return out
}

// failing says what keeps a point from being compared by its times: requests
// without an answer.
func failing(p *pair) (why string, broken bool) {
	const most = 0.01
	if p.unlike != "" {
		return p.unlike, false
	}
	var failed, n [2]int
	for side, point := range [2]trace.Point{p.measured, p.simulated} {
		for _, r := range point.Runs {
			n[side] += len(r.Requests)
			failed[side] += len(r.Requests) - len(r.Rows)
			for _, row := range r.Rows {
				if !row.OK() {
					failed[side]++
				}
			}
		}
	}
	share := func(side int) float64 { return float64(failed[side]) / float64(max(n[side], 1)) }
	switch {
	case share(eng) > most:
		return fmt.Sprintf("%d of %d requests failed in the recorded measurement", failed[eng], n[eng]), false
	case share(sim) > most:
		return fmt.Sprintf("%d of %d requests failed, of the recorded ones %d", failed[sim], n[sim], failed[eng]), true
	}
	return "", false
}

// estimate fills in the test from the units of a sample.
func (t *tost) estimate(s *sample, stat int) {
	a, b := make([]float64, len(s.runs)), make([]float64, len(s.runs))
	for i, r := range s.runs {
		a[i], b[i] = r.at.log[eng][stat], r.at.log[sim][stat]
	}
	t.minimum = equivalenceUnits
	switch s.pair.measured.Group {
	case trace.Sweep:
		for i := range b {
			b[i] -= a[i]
		}
		m, v := moments(b)
		t.at, t.se, t.freedom = m, math.Sqrt(v/float64(len(b))), float64(len(b)-1)
	case trace.Probe:
		t.minimum = probeRequests
		a, b = linear(s.values(eng)), linear(s.values(sim))
		t.welch(a, b)
	case trace.Replay:
		t.welch(a, b)
	}
	t.cell.Units = len(a)
	t.cell.Recorded, t.cell.Again = number(s.value(eng, stat)), number(s.value(sim, stat))
	if s.metric == throughput {
		t.cell.Recorded, t.cell.Again = rates(s)
	}
	if t.undecidable == "" && !(s.at.log[eng][stat] > logOf(0)) {
		t.undecidable = "the recorded value is 0"
	}
}

// linear turns values into ones whose mean is the logarithm of theirs and
// whose spread is, to first order, that of their logarithm (delta method).
func linear(values []float64) []float64 {
	m := stats.Mean(values)
	out := make([]float64, len(values))
	for i, v := range values {
		out[i] = math.Log(m) + v/m - 1
	}
	return out
}

// welch compares the means of two independent samples; the degrees of freedom
// are Satterthwaite's.
func (t *tost) welch(a, b []float64) {
	ma, va := moments(a)
	mb, vb := moments(b)
	n, m := float64(len(a)), float64(len(b))
	va, vb = va/n, vb/m
	t.at, t.se = mb-ma, math.Sqrt(va+vb)
	t.freedom = n + m - 2
	if va+vb > 0 {
		t.freedom = (va + vb) * (va + vb) / (va*va/(n-1) + vb*vb/(m-1))
	}
}

// moments are mean and variance; the variance of less than two is NaN.
func moments(x []float64) (m, variance float64) {
	m = stats.Mean(x)
	for _, v := range x {
		variance += (v - m) * (v - m)
	}
	return m, variance / float64(len(x)-1)
}

// judge holds the interval against the margin, a logarithm; together is the
// number of cells that are judged.
func (t *tost) judge(margin float64, together int) EquivalenceCell {
	c := t.cell
	c.Finding, c.Why = CellUndecided, t.undecidable
	if t.broken {
		c.Finding = CellDifferent
	}
	if c.Why != "" {
		return c
	}
	c.Ratio = number(math.Exp(t.at))
	if c.Units < t.minimum {
		c.Why = fmt.Sprintf("%d of at least %d repeats: their spread is not known", c.Units, t.minimum)
		return c
	}
	reach := func(tail float64) float64 {
		if t.se == 0 {
			return 0
		}
		return t.se * stats.T(1-tail, t.freedom)
	}
	near, far := reach(tostTail), reach(tostTail/float64(together))
	c.Low, c.High = number(math.Exp(t.at-near)), number(math.Exp(t.at+near))
	switch {
	case math.IsNaN(t.at) || math.IsNaN(near):
		c.Why = "a run has no value"
	case math.Abs(t.at)+near < margin:
		c.Finding = CellEquivalent
	case math.Abs(t.at)-far > margin:
		c.Finding, c.Why = CellDifferent, "the interval for all cells lies outside the margin"
	default:
		c.Why = "the interval meets the margin"
	}
	return c
}
