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
type sample struct {
	pair     *pair
	metric   int // place in metricNames, or throughput
	n        int // pairs with a value
	ranked   [2]stats.Ranked
	merged   stats.Merged
	relative []float64 // |S−R|/R by request, NaN where there is no pair
	centred  []float64 // the same after ln(S/R) lost its mean
	memory   stats.Memory
	block    int // requests in one independent block
	blocks   int
	at       figures // the estimate
	draws    drawn
	scaled   int // units behind the scale of deviations, 0 if not scaled
}

// throughput stands where a metric stands; its only figure is the ratio of
// tokens, kept as a mean.
const throughput = len(metricNames)

// figures are what one weighting of a sample yields. log holds ln of each
// statistic for both sides, dist the distances.
type figures struct {
	log      [2][ratios]float64
	dist     [figureCount - ratios]float64
	nullDist [figureCount - ratios]float64 // of a perfect simulator at this n
}

// drawn holds a sample's replicates by figure; errors for statistics,
// distances for the rest. Log keeps both sides of P99 for the knee.
type drawn struct {
	value, null, floor [figureCount][]float64
	tailLog            [2][]float64
}

func newSample(p *pair, metric int) *sample {
	s := &sample{pair: p, metric: metric}
	side := p.side(metric)
	residual := make([][]float64, len(p.runs))
	from := 0
	for k, size := range p.runs {
		for i := from; i < from+size; i++ {
			if x := s.residual(side[eng][i], side[sim][i]); !math.IsNaN(x) {
				residual[k] = append(residual[k], x)
				s.n++
			}
		}
		from += size
	}
	s.memory = stats.Memory{Time: 1, Rho: []float64{1}}
	if p.measured.Group != trace.Probe { // probes are alone: nothing to remember
		s.memory = stats.MemoryOf(residual)
	}
	s.block = s.memory.Block()
	for _, r := range residual {
		s.blocks += len(r) / s.block
	}
	if metric == throughput {
		s.at = s.figures(ones(len(side[eng])))
		return s
	}
	for k := range s.ranked {
		s.ranked[k] = stats.Rank(side[k])
	}
	s.merged = stats.Merge(side[eng], side[sim])
	s.perRequest(residual)
	s.at = s.figures(ones(len(side[eng])))
	return s
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
func (s *sample) residual(r, v float64) float64 {
	if s.metric == throughput {
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

func (s *sample) perRequest(residual [][]float64) {
	sum, n := 0.0, 0
	for _, run := range residual {
		for _, x := range run {
			sum += x
			n++
		}
	}
	centre := sum / float64(max(n, 1))
	side := s.pair.side(s.metric)
	s.relative = make([]float64, len(side[eng]))
	s.centred = make([]float64, len(side[eng]))
	for i, r := range side[eng] {
		x := s.residual(r, side[sim][i])
		s.relative[i] = math.Abs(math.Expm1(x))
		s.centred[i] = math.Abs(math.Expm1(x - centre))
	}
}

// figures computes everything for the sample in which request i occurs
// weight[i] times on both sides.
func (s *sample) figures(weight []int32) figures {
	var f figures
	side := s.pair.side(s.metric)
	if s.metric == throughput {
		for k := range side {
			sum := 0.0
			for i, v := range side[k] {
				sum += float64(weight[i]) * v
			}
			f.log[k][mean] = logOf(sum)
		}
		return f
	}
	var q [4]float64
	for k := range side {
		s.ranked[k].Quantiles(weight, levels, q[:])
		for i, v := range q {
			f.log[k][i] = logOf(v)
		}
	}
	var n, sumR, sumS, rel, cen float64
	for i, r := range side[eng] {
		if weight[i] == 0 || math.IsNaN(r) {
			continue
		}
		w := float64(weight[i])
		n += w
		sumR += w * r
		sumS += w * side[sim][i]
		rel += w * s.relative[i]
		cen += w * s.centred[i]
	}
	f.log[eng][mean], f.log[sim][mean] = logOf(sumR/n), logOf(sumS/n)
	d := s.merged.Distances(weight)
	f.dist = [...]float64{d.KS, d.W1 * n / sumR, rel / n}
	f.nullDist = [...]float64{d.NullKS, d.NullW1 * n / sumR, cen / n}
	return f
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
	if s.n == 0 {
		return fmt.Sprintf("no request of %s has a value on both sides", p.measured.Name)
	}
	if figure < ratios && !(s.at.log[eng][figure] > logOf(0)) {
		return "the measured value is 0"
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
		if least := stats.MinSample(levels[figure], 0.95); s.n < least {
			return fmt.Sprintf("n too small: %s needs %d requests, there are %d", statNames[figure], least, s.n)
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
