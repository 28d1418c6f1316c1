package fit

import (
	"slices"

	"calrun/internal/stats"
)

// share is the interval of what a hypothesis explains: each resampling draws
// the same seeds, and the same blocks of requests inside them, for the
// measurement, the simulation as it was and the one in which the hypothesis
// holds, as a comparison draws them, so that what they share falls out.
//
// A resampling adds its own noise to the sum of squares of either side; its
// mean is taken off again, since a hypothesis that leaves nothing but noise
// would else be said to explain less than it does. The interval holds the
// estimate in any case.
func share(base, held *bootstrap, before []Residual, a Attribution) Interval {
	block := 1
	for _, b := range []*bootstrap{base, held} {
		for _, p := range b.points {
			block = max(block, p.plan.Block)
		}
	}
	base.blocks(block)
	held.blocks(block)
	b, after := base.losses(weighted(before)), held.losses(weighted(a.Left))
	shares := make([]float64, 0, len(b))
	for i := range b {
		if b[i] > lossFloor {
			shares = append(shares, min(1, max(0, (b[i]-max(0, after[i]))/b[i])))
		}
	}
	if len(shares) == 0 {
		return Interval{0, 1}
	}
	slices.Sort(shares)
	return Interval{min(a.Explains, stats.Quantile(shares, tail)), max(a.Explains, stats.Quantile(shares, 1-tail))}
}

// blocks sets the length of blocks, except of points without memory.
func (b *bootstrap) blocks(n int) {
	for _, p := range b.points {
		if p.plan.Block > 1 || !p.alone {
			p.plan.Block = n
		}
	}
}

// losses are the losses of the resamplings, without the mean of their own
// noise, for weighted residuals r.
func (b *bootstrap) losses(r []float64) []float64 {
	const few = 200 // enough for a quantile that is read as a percentage
	out, own := make([]float64, few), 0.0
	for i := range out {
		for n, d := range b.deviation(i) {
			d *= b.scale
			out[i] += (r[n] + d) * (r[n] + d)
			own += d * d / few
		}
	}
	for i := range out {
		out[i] -= own
	}
	return out
}
