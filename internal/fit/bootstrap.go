package fit

import (
	"math"
	"slices"

	"calrun/internal/stats"
	"calrun/internal/trace"
)

// bootstrap resamples the statistics of a fit.
type bootstrap struct {
	points []*resampled
	total  float64 // weight of all statistics
	scale  float64 // for the number of seeds and for what blocks cut off
}

// resampled is one point's pairs: for each metric both sides, run by run.
type resampled struct {
	plan   stats.Plan
	draw   stats.Resampling
	sides  [3][2][]float64
	ranked [3][2]stats.Ranked
	rows   []Residual // of this point
	weight []int32
	alone  bool // a probe: nothing to remember
	silent bool // nothing was completed, so that there is no noise to speak of
}

func newBootstrap(measured, simulated []trace.Point, rs []Residual) (*bootstrap, error) {
	b := &bootstrap{scale: 1}
	for _, r := range rs {
		b.total += r.Weight
	}
	block := 1
	for _, m := range measured {
		p, memory, err := newResampled(m, simulated, rs)
		if err != nil {
			return nil, err
		}
		b.points = append(b.points, p)
		if p.silent {
			continue
		}
		if m.Group != trace.Probe { // probes are alone: nothing to remember
			block = max(block, memory.Block())
			b.scale = max(b.scale, 1/math.Sqrt(memory.BlockShare(memory.Block())))
		}
		if k := len(p.plan.Runs); k > 1 && m.Group != trace.Probe {
			b.scale = max(b.scale, stats.SmallSample(k, tail))
		}
	}
	// One length for all rates, so that they draw the same blocks.
	for _, p := range b.points {
		if p.plan.Block == 0 {
			p.plan.Block = block
		}
	}
	return b, nil
}

// newResampled pairs a point's requests run by run. A plan's block of 0 is to
// be filled in.
func newResampled(m trace.Point, simulated []trace.Point, rs []Residual) (*resampled, stats.Memory, error) {
	p := &resampled{plan: stats.Plan{Seed: 1}, alone: m.Group == trace.Probe}
	longest := stats.Memory{Time: 1, Rho: []float64{1}}
	for _, r := range rs {
		if r.Point == m.Name {
			p.rows = append(p.rows, r)
			p.silent = p.silent || !(r.Simulated > 0)
		}
	}
	i := slices.IndexFunc(simulated, func(s trace.Point) bool { return s.Name == m.Name })
	if p.silent = p.silent || len(p.rows) == 0 || i < 0; p.silent {
		return p, longest, nil
	}
	var logs [3][][]float64
	for n := range m.Runs {
		one := m
		one.Runs = m.Runs[n : n+1]
		var q pairs
		if err := q.add(one, simulated[i]); err != nil {
			return nil, longest, err
		}
		if len(q.metric[0].measured) == 0 {
			continue
		}
		p.plan.Runs = append(p.plan.Runs, len(q.metric[0].measured))
		for k := range q.metric {
			x := q.metric[k]
			p.sides[k][0], p.sides[k][1] = append(p.sides[k][0], x.measured...), append(p.sides[k][1], x.simulated...)
			logs[k] = append(logs[k], x.logs())
		}
	}
	p.plan.Units = len(p.plan.Runs) > 1
	if m.Group == trace.Probe {
		p.plan.Block = 1
	}
	for k := range logs {
		if memory := stats.MemoryOf(logs[k]); memory.Time > longest.Time {
			longest = memory
		}
		p.ranked[k] = [2]stats.Ranked{stats.Rank(p.sides[k][0]), stats.Rank(p.sides[k][1])}
	}
	return p, longest, nil
}

// deviation is by how much the weighted residuals of the i-th resampling
// differ from those of the fit.
func (b *bootstrap) deviation(i int) []float64 {
	var out []float64
	for _, p := range b.points {
		if p.silent {
			out = append(out, make([]float64, len(p.rows))...)
			continue
		}
		p.resample(i)
		for _, r := range p.rows {
			k := slices.Index(metrics[:], r.Metric)
			log := math.Log(p.statistic(k, 1, r.Statistic) / p.statistic(k, 0, r.Statistic))
			if !finite(log) {
				log = r.Log
			}
			out = append(out, math.Sqrt(r.Weight/b.total)*(log-r.Log))
		}
	}
	return out
}

// noise is the standard deviation of each residual's logarithm.
func (b *bootstrap) noise() []float64 {
	const few = 100 // enough for a standard deviation
	var out []float64
	for i := range few {
		d := b.deviation(i)
		if out == nil {
			out = make([]float64, len(d))
		}
		for n, v := range d {
			out[n] += v * v / few
		}
	}
	n := 0
	for _, p := range b.points {
		for _, r := range p.rows {
			out[n] = b.scale * math.Sqrt(out[n]*b.total/r.Weight)
			n++
		}
	}
	return out
}

// resample counts how often each pair occurs in the i-th resampling.
func (p *resampled) resample(i int) {
	p.plan.Draw(i, &p.draw)
	offsets, n := make([]int, len(p.plan.Runs)), 0
	for run, size := range p.plan.Runs {
		offsets[run], n = n, n+size
	}
	if len(p.weight) != n {
		p.weight = make([]int32, n)
	}
	clear(p.weight)
	for slot, run := range p.draw.Slots {
		for j, w := range p.draw.Weights[slot] {
			p.weight[offsets[run]+j] += w
		}
	}
}

// statistic is the P50 or the mean of one side as resampled.
func (p *resampled) statistic(metric, side int, name string) float64 {
	if name == "p50" {
		var out [1]float64
		p.ranked[metric][side].Quantiles(p.weight, []float64{0.5}, out[:])
		return out[0]
	}
	sum, n := 0.0, 0.0
	for i, v := range p.sides[metric][side] {
		if w := float64(p.weight[i]); w > 0 && !math.IsNaN(v) {
			sum, n = sum+w*v, n+w
		}
	}
	return sum / n
}
