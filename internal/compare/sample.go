package compare

import (
	"fmt"
	"math"

	"calrun/internal/stats"
	"calrun/internal/trace"
)

// statNames are the statistics of a metric at a point, in the order of every
// list; quantiles first.
var statNames = [...]string{"p50", "p90", "p95", "p99", "mean"}

// levels are the quantiles among statNames.
var levels = []float64{0.50, 0.90, 0.95, 0.99}

// The places of what a draw yields for a metric at a point: the statistics,
// then the distances.
const (
	p50 = iota
	p90
	p95
	p99
	mean
	ks
	w1
	perRequest
	figureCount
)

const ratios = ks // the first figures are ratios of sides, the others distances

// Fewest units on which a cell is judged.
const (
	sweepBlocks   = 30
	replayBlocks  = 10
	replayRepeats = 3
	probeRequests = 6 // the least n at which a median has a 95 % interval
)

// sample is one metric at one point, ready to be resampled.
//
// With several runs every figure is a mean over runs: of logarithms for the
// two sides of a statistic, so that a cell holds geometric means and its
// error is the typical error of one run of this length. That, not the quantile
// of all runs poured together, is what a sweep asks, and what seeds as units
// of resampling can tell.
type sample struct {
	pair   *pair
	metric int // place in metricNames, or throughput
	n      int // pairs with a value
	runs   []run
	memory stats.Memory
	block  int     // requests in one independent block
	blocks int     // of them, over all runs
	at     figures // the estimate
	scaled int     // units behind the scale of deviations, 0 if not scaled
	draws  drawn
}

// run is one seed or repeat of a sample.
type run struct {
	side     [2][]float64 // NaN where a request has no value
	n        int          // pairs with a value
	ranked   [2]stats.Ranked
	merged   stats.Merged
	relative []float64 // |S−R|/R by request
	centred  []float64 // the same after ln(S/R) lost its mean
	at       figures
}

// throughput stands where a metric stands; its only figure is the ratio of
// tokens, kept as a mean.
const throughput = len(metricNames)

// figures are what one weighting of a run yields, or a mean of such. log holds
// ln of each statistic for both sides, dist the distances.
type figures struct {
	log      [2][ratios]float64
	dist     [figureCount - ratios]float64
	nullDist [figureCount - ratios]float64 // of a perfect simulator at this n
}

// add adds f, weighted.
func (f *figures) add(g figures, weight float64) {
	for side := range f.log {
		for k := range f.log[side] {
			f.log[side][k] += weight * g.log[side][k]
		}
	}
	for k := range f.dist {
		f.dist[k] += weight * g.dist[k]
		f.nullDist[k] += weight * g.nullDist[k]
	}
}

// drawn holds a sample's replicates by figure; errors for statistics,
// distances for the rest. Measured is ln of a statistic of the engine alone;
// the simulator's is that and ln(1 + the error).
type drawn struct {
	value, null, floor      [figureCount][]float64
	measured, floorMeasured [ratios][]float64
}

func newSample(p *pair, metric int) *sample {
	s := &sample{pair: p, metric: metric}
	side := p.side(metric)
	var residuals, influences [][]float64
	from := 0
	for _, size := range p.runs {
		r := run{side: [2][]float64{side[eng][from : from+size], side[sim][from : from+size]}}
		from += size
		residual := r.prepare(metric)
		r.n = len(residual)
		s.n += r.n
		residuals = append(residuals, residual)
		influences = append(influences, r.influence())
		r.at = r.figures(metric, ones(size))
		r.far(&r.at, ones(size))
		s.at.add(r.at, 1/float64(len(p.runs)))
		s.runs = append(s.runs, r)
	}
	if p.measured.Group == trace.Probe { // alone: nothing to remember
		s.remember(stats.Memory{Time: 1, Rho: []float64{1}})
		return s
	}
	s.remember(stats.MemoryOf(residuals))
	s.remember(stats.MemoryOf(influences))
	return s
}

// remember takes a memory if it is longer than what the sample has, and cuts
// the sample into blocks by it.
func (s *sample) remember(m stats.Memory) {
	if m.Time <= s.memory.Time {
		return
	}
	s.memory, s.block, s.blocks = m, m.Block(), 0
	for _, r := range s.runs {
		s.blocks += r.n / s.block
	}
}

// side returns the two sides of a metric or of the throughput.
func (p *pair) side(metric int) [2][]float64 {
	if metric == throughput {
		return p.tokens
	}
	return p.values[metric]
}

// residual is what of a pair tells one draw from another: ln(S/R), and the
// difference of tokens made, which may be 0, for the throughput.
func residual(metric int, r, v float64) float64 {
	if metric == throughput {
		return v - r
	}
	return logOf(v) - logOf(r)
}

// logOf keeps a time of 0, which a simulator may well yield, inside the reals.
func logOf(x float64) float64 {
	const least = 1e-12
	if math.IsNaN(x) {
		return x
	}
	return math.Log(max(x, least))
}

// prepare sorts the run once and returns its residuals in order of arrival.
func (r *run) prepare(metric int) []float64 {
	var out []float64
	sum := 0.0
	for i, v := range r.side[eng] {
		if x := residual(metric, v, r.side[sim][i]); !math.IsNaN(x) {
			out = append(out, x)
			sum += x
		}
	}
	if metric == throughput {
		return out
	}
	for k := range r.ranked {
		r.ranked[k] = stats.Rank(r.side[k])
	}
	r.merged = stats.Merge(r.side[eng], r.side[sim])
	centre := sum / float64(max(len(out), 1))
	r.relative = make([]float64, len(r.side[eng]))
	r.centred = make([]float64, len(r.side[eng]))
	for i, v := range r.side[eng] {
		x := residual(metric, v, r.side[sim][i])
		r.relative[i] = math.Abs(math.Expm1(x))
		r.centred[i] = math.Abs(math.Expm1(x - centre))
	}
	return out
}

// influence is what each pair does to the ratio of means, S/mean(S) −
// R/mean(R): where congestion is rare it remembers longer than ln(S/R), of
// which a block must hold no less.
func (r *run) influence() []float64 {
	var sums [2]float64
	n := 0.0
	for i, v := range r.side[eng] {
		if !math.IsNaN(v) {
			sums[eng] += v
			sums[sim] += r.side[sim][i]
			n++
		}
	}
	var out []float64
	for i, v := range r.side[eng] {
		if !math.IsNaN(v) && sums[eng] > 0 && sums[sim] > 0 {
			out = append(out, n*(r.side[sim][i]/sums[sim]-v/sums[eng]))
		}
	}
	return out
}

// figures computes the statistics of the run in which request i occurs
// weight[i] times on both sides.
func (r *run) figures(metric int, weight []int32) figures {
	var f figures
	if metric == throughput {
		for k, side := range r.side {
			sum := 0.0
			for i, v := range side {
				sum += float64(weight[i]) * v
			}
			f.log[k][mean] = logOf(sum)
		}
		return f
	}
	var q [4]float64
	for k := range r.side {
		r.ranked[k].Quantiles(weight, levels, q[:])
		for i, v := range q {
			f.log[k][i] = logOf(v)
		}
	}
	var n, sumR, sumS float64
	for i, v := range r.side[eng] {
		if weight[i] != 0 && !math.IsNaN(v) {
			w := float64(weight[i])
			n += w
			sumR += w * v
			sumS += w * r.side[sim][i]
		}
	}
	f.log[eng][mean], f.log[sim][mean] = logOf(sumR/n), logOf(sumS/n)
	return f
}

// far adds the distances to figures of the same weighting.
func (r *run) far(f *figures, weight []int32) {
	if r.relative == nil {
		return // throughput has none
	}
	var n, rel, cen float64
	for i, x := range r.relative {
		if weight[i] != 0 && !math.IsNaN(x) {
			n += float64(weight[i])
			rel += float64(weight[i]) * x
			cen += float64(weight[i]) * r.centred[i]
		}
	}
	d := r.merged.Distances(weight)
	average := math.Exp(f.log[eng][mean])
	f.dist = [...]float64{d.KS, d.W1 / average, rel / n}
	f.nullDist = [...]float64{d.NullKS, d.NullW1 / average, cen / n}
}

// values are all values of one side, sorted.
func (s *sample) values(side int) []float64 {
	var all []float64
	for _, r := range s.runs {
		all = append(all, r.ranked[side].Values()...)
	}
	return stats.Sorted(all)
}

// value is the estimate of a statistic on one side.
func (s *sample) value(side, stat int) float64 {
	return math.Exp(s.at.log[side][stat])
}

// bias is the estimate of a statistic's signed error.
func (s *sample) bias(stat int) float64 {
	return math.Expm1(s.at.log[sim][stat] - s.at.log[eng][stat])
}

// doubt says why a figure cannot be judged, "" if it can.
func (s *sample) doubt(figure int) string {
	p := s.pair
	if p.missing != "" {
		return p.missing
	}
	if p.unlike != "" {
		return p.unlike
	}
	if s.n == 0 {
		return fmt.Sprintf("no request of %s has a value on both sides", p.measured.Name)
	}
	if figure < ratios && !(s.at.log[eng][figure] > logOf(0)) {
		return "the measured value is 0"
	}
	for i, r := range s.runs {
		if math.IsNaN(r.at.log[eng][mean]) {
			return fmt.Sprintf("seed %d: no request has a value on both sides", p.seeds[i])
		}
	}
	tail := figure == p90 || figure == p95 || figure == p99
	switch p.measured.Group {
	case trace.Probe:
		if s.n < probeRequests {
			return fmt.Sprintf("only %d requests, %d are needed", s.n, probeRequests)
		}
	case trace.Sweep:
		if tail && len(p.runs) < 2 {
			return "one seed: tails not judged"
		}
		if s.blocks < sweepBlocks {
			return fmt.Sprintf("only %d independent blocks, %d are needed", s.blocks, sweepBlocks)
		}
	case trace.Replay:
		if len(p.runs) >= replayRepeats {
			break // repeats are the unit, not blocks
		}
		if tail && len(p.runs) == 1 {
			return "one repeat"
		}
		if tail {
			return fmt.Sprintf("%d repeats, %d are needed", len(p.runs), replayRepeats)
		}
		if s.blocks < replayBlocks {
			return fmt.Sprintf("only %d independent blocks, %d are needed", s.blocks, replayBlocks)
		}
	}
	if tail {
		n := s.n
		if p.measured.Group == trace.Replay {
			n /= len(p.runs) // the same requests again are no others
		}
		if least := stats.MinSample(levels[figure], 0.95); n < least {
			return fmt.Sprintf("n too small: %s needs %d requests, there are %d", statNames[figure], least, n)
		}
	}
	return ""
}

func ones(n int) []int32 {
	x := make([]int32, n)
	for i := range x {
		x[i] = 1
	}
	return x
}
