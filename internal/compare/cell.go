package compare

import (
	"fmt"
	"math"
	"sort"
	"strings"

	"calrun/internal/stats"
	"calrun/internal/trace"
)

// entry is a cell and the columns of its signed error and of its measured
// value.
type entry struct {
	cell     Cell
	col      int
	measured int
}

// distances are what a metric has at a point beside its cells.
type distances struct {
	ks, w1      *float64
	requests    Paired
	ksCol       int
	w1Col       int
	requestsCol int
	doubt       string
}

// cells builds a point's cells with their columns: metrics by statistics,
// the throughput last.
func (b *builder) cells(p *pair) {
	var far [len(metricNames)]distances
	for metric := range metricNames {
		for stat := range statNames {
			b.entries[p] = append(b.entries[p], b.cell(p, metric, stat))
		}
		far[metric] = b.distance(p, metric)
	}
	b.distances[p] = far
	b.entries[p] = append(b.entries[p], b.cell(p, throughput, mean))
}

// sample is the sample of a metric, nil if the point has none.
func (b *builder) sample(p *pair, metric int) *sample {
	if metric >= len(b.samples[p]) {
		return nil
	}
	return b.samples[p][metric]
}

func (b *builder) cell(p *pair, metric, stat int) entry {
	e := entry{col: none, measured: none, cell: Cell{Point: p.measured.Name, Metric: "throughput", Stat: "rate"}}
	if metric != throughput {
		e.cell.Metric, e.cell.Stat = metricNames[metric], statNames[stat]
	}
	s := b.sample(p, metric)
	if s == nil {
		e.cell.Doubt = p.missing
		if e.cell.Doubt == "" {
			e.cell.Doubt = "probes are alone, their throughput is no rate of the engine"
		}
		return e
	}
	e.cell.N, e.cell.Blocks = s.n, s.blocks
	e.cell.Doubt = b.doubt(s, stat)
	if s.n == 0 {
		return e
	}
	b.sides(&e.cell, s, stat)
	if e.cell.Measured == nil || *e.cell.Measured <= 0 {
		e.cell.Doubt = "the measured value is 0"
		return e
	}
	if metric != throughput && !b.compared(p) {
		return e
	}
	e.cell.Bias = number(s.bias(stat))
	e.cell.APE = number(math.Abs(s.bias(stat)))
	e.col = b.table.add(column{s.draws.value[stat], s.draws.null[stat], s.draws.floor[stat]})
	if e.cell.Doubt == "" {
		e.cell.Low, e.cell.High = b.interval(s, stat)
	}
	if metric != throughput { // of a rate nothing is known of the time that a draw would have taken
		e.measured = b.measured(s, stat)
	}
	return e
}

// measured enters what the engine's value of a statistic would have been.
func (b *builder) measured(s *sample, stat int) int {
	exp := func(logs []float64) []float64 {
		if logs == nil {
			return nil // no floor
		}
		out := make([]float64, len(logs))
		for d, l := range logs {
			out[d] = math.Exp(l)
		}
		return out
	}
	measured := exp(s.draws.measured[stat])
	return b.table.add(column{measured, measured, exp(s.draws.floorMeasured[stat])})
}

// sides fills what each side alone says.
func (b *builder) sides(c *Cell, s *sample, stat int) {
	if s.metric == throughput {
		c.Measured, c.Simulated = rates(s)
		return
	}
	side := func(k int) *float64 {
		if s.at.log[k][stat] <= logOf(0) {
			return number(0)
		}
		return number(s.value(k, stat))
	}
	c.Measured, c.Simulated = side(eng), side(sim)
	if stat < len(levels) {
		i := stats.QuantileInterval(s.values(eng), levels[stat], 0.95)
		c.MeasuredLow, c.MeasuredHigh = i.Low, i.High
	}
}

// rates are the token rates of the steady part on both sides, geometric means
// over runs.
func rates(s *sample) (measured, simulated *float64) {
	span := 0.0 // mean logarithm of the steady part's length
	for _, run := range s.pair.measured.Runs {
		for _, seed := range s.pair.seeds {
			if seed == run.Seed {
				span += logOf(steadySpan(run.Requests)) / float64(len(s.pair.seeds))
			}
		}
	}
	rate := func(side int) *float64 {
		if s.at.log[side][mean] <= logOf(0) {
			return number(0)
		}
		return number(math.Exp(s.at.log[side][mean] - span))
	}
	return rate(eng), rate(sim)
}

// doubt says why a figure of a sample is not judged in this comparison.
func (b *builder) doubt(s *sample, figure int) string {
	p := s.pair
	if p.unlike != "" {
		return p.unlike
	}
	if s.metric != throughput && !b.compared(p) {
		return "overloaded: compared by throughput only (scope: all brings the rest back)"
	}
	if d := s.doubt(figure); d != "" {
		return d
	}
	if b.state[p] == stateInvalid {
		return b.reason[p]
	}
	return b.lone(s, figure)
}

// Loads above which one run does not tell how often the engine congests: what
// it did not meet it cannot resample. Measured on a queue with known truth,
// where above them 95 % intervals of one run cover in 31 to 80 % of cases,
// however many blocks the run seems to have.
const (
	loneMedian = 0.85
	loneMean   = 0.50
)

// lone doubts a sweep's single seed at a load at which it is known not to do.
func (b *builder) lone(s *sample, figure int) string {
	p := s.pair
	if p.measured.Group != trace.Sweep || len(p.runs) > 1 || s.metric == throughput {
		return ""
	}
	limit := loneMean
	if figure == p50 {
		limit = loneMedian
	}
	if rho := b.rho[p]; rho >= limit {
		return fmt.Sprintf("one seed at ρ = %.2f: one run cannot tell how often the engine congests", rho)
	}
	return ""
}

// interval is the 95 % interval of a cell's signed error. Replicates are
// spread for the gates' level, so their spread is taken back to 95 % first.
func (b *builder) interval(s *sample, stat int) (low, high *float64) {
	back := 1.0
	if b.opt.Looks > 1 && s.scaled > 0 {
		back = stats.SmallSample(s.scaled, 0.025) / stats.SmallSample(s.scaled, b.opt.tail())
	}
	at := math.Log1p(s.bias(stat))
	logs := make([]float64, 0, len(s.draws.value[stat]))
	for _, v := range s.draws.value[stat] {
		if l := math.Log1p(v); !math.IsNaN(l) {
			logs = append(logs, at+back*(l-at))
		}
	}
	sort.Float64s(logs)
	return number(math.Expm1(stats.Quantile(logs, 0.025))), number(math.Expm1(stats.Quantile(logs, 0.975)))
}

func (b *builder) distance(p *pair, metric int) distances {
	d := distances{ksCol: none, w1Col: none, requestsCol: none, doubt: p.missing}
	s := b.sample(p, metric)
	if s == nil {
		return d
	}
	d.doubt = b.doubt(s, ks)
	if s.n == 0 || !b.compared(p) {
		return d
	}
	d.ks, d.w1 = number(s.at.dist[ks-ratios]), number(s.at.dist[w1-ratios])
	d.requests.MAPE = number(s.at.dist[perRequest-ratios])
	var both [2][]float64
	for i, r := range p.values[metric][eng] {
		if !math.IsNaN(r) {
			both[eng] = append(both[eng], r)
			both[sim] = append(both[sim], p.values[metric][sim][i])
		}
	}
	d.requests.Correlation = number(stats.Correlation(both[eng], both[sim]))
	col := func(figure int) int {
		return b.table.add(column{s.draws.value[figure], s.draws.null[figure], s.draws.floor[figure]})
	}
	d.ksCol, d.w1Col, d.requestsCol = col(ks), col(w1), col(perRequest)
	return d
}

// leaf enters a number that draws have.
func (b *builder) leaf(pointer, op string, cols ...int) {
	for _, c := range cols {
		if c == none {
			return
		}
	}
	if len(cols) > 0 {
		b.draws.Leaves[pointer] = Leaf{Op: op, Cols: cols}
	}
}

// unsure enters a doubt, unless there is none.
func (b *builder) unsure(pointer, why string) {
	if why != "" {
		b.draws.Doubts[pointer] = why
	}
}

// unreplicated is the doubt about an estimate of which there are no draws: one
// value of it tells a gate nothing of the next run's.
const unreplicated = "no replicates of this number"

// place enters a cell under a pointer and returns it.
func (b *builder) place(pointer string, e entry) Cell {
	b.leaf(pointer+"/ape", "abs", e.col)
	b.leaf(pointer+"/bias", "value", e.col)
	b.leaf(pointer+"/measured", "value", e.measured)
	b.leaf(pointer+"/simulated", "scaled", e.measured, e.col)
	if e.cell.Doubt != "" {
		b.unsure(pointer, e.cell.Doubt)
		return e.cell
	}
	if e.measured == none {
		b.unsure(pointer+"/measured", unreplicated)
		b.unsure(pointer+"/simulated", unreplicated)
	}
	for name, end := range map[string]*float64{"/measured_low": e.cell.MeasuredLow, "/measured_high": e.cell.MeasuredHigh} {
		why := unreplicated
		if end == nil {
			why = "no order statistics bound it"
		}
		b.unsure(pointer+name, why)
	}
	b.unsure(pointer+"/low", unreplicated)
	b.unsure(pointer+"/high", unreplicated)
	return e.cell
}

// escape makes a name one token of a JSON pointer (RFC 6901).
func escape(name string) string {
	return strings.ReplaceAll(strings.ReplaceAll(name, "~", "~0"), "/", "~1")
}
