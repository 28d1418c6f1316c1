package fit

import (
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/gonum/mat"

	"calrun/internal/stats"
)

// Interval holds a knob's value at the level of 95 %.
type Interval struct {
	Low, High float64
}

// draws is the number of resamplings behind an interval.
const draws = 400

// tail is the share of them left out on either side.
const tail = 0.025

// intervals sets the interval of every knob that the points say anything of,
// idle ones too, by a bootstrap. Each resampling draws seeds, where there are
// at least two, and inside them blocks of consecutive requests, measured and
// simulated together, so that what both sides share (arrivals, lengths) falls
// out and the engine's own noise stays. The fit to a resampling is not
// searched again: it is one Gauss–Newton step from the optimum.
//
// Three things widen an interval beyond that: the small number of seeds
// ([stats.SmallSample]); how far the search stopped from the linearised
// optimum; and misfit, where the residuals left are larger than the
// resamplings' own, by the root of their ratio (Birge 1932), since what the
// simulator lacks moves the knobs as noise does.
func (s *search) intervals(f *Fit, r []float64, j *mat.Dense) error {
	var turnable []int
	for i := range f.Knobs {
		if f.Knobs[i].Moves >= math.Sqrt(lossFloor) {
			turnable = append(turnable, i)
		}
	}
	if len(turnable) == 0 {
		return nil
	}
	points, err := s.problem.Simulate(s.ctx, slices.Clone(s.best.params))
	s.evaluations++
	if err != nil {
		return fmt.Errorf("fit: simulate with %s: %w", s.best.params, err)
	}
	b, err := newBootstrap(s.problem.Measured, points, s.best.residuals)
	if err != nil {
		return fmt.Errorf("fit: %w", err)
	}
	step := s.newton(j, turnable)
	if step == nil {
		return nil
	}
	leans := step.to(r)
	moves := make([][]float64, len(turnable)) // by knob, one a resampling
	noise := 0.0
	for i := range draws {
		d := b.deviation(i)
		to := step.to(d)
		for n, v := range to {
			moves[n] = append(moves[n], v)
		}
		noise += step.left(d, to) / draws
	}
	misfit := 1.0
	if left := step.left(r, leans); noise > 0 && left > noise {
		misfit = math.Sqrt(left / noise)
	}
	for n, i := range turnable {
		k, kf := s.problem.Knobs[i], &f.Knobs[i]
		slices.Sort(moves[n])
		u, wide := k.place(kf.Value), b.scale*misfit
		low := u + min(0, leans[n]) + wide*min(0, stats.Quantile(moves[n], tail))
		high := u + max(0, leans[n]) + wide*max(0, stats.Quantile(moves[n], 1-tail))
		kf.Interval = &Interval{min(k.at(low), kf.Value), max(k.at(high), kf.Value)}
	}
	f.Misfit, f.information, f.turnable, f.weight = misfit, s.information(step.j, turnable), turnable, b.total
	return nil
}

// newton turns a change of the residuals into the change of knobs that least
// squares answers it with.
type newton struct {
	j      *mat.Dense // slopes of the knobs in question
	solver mat.Dense  // (JᵀJ + P)⁻¹ Jᵀ, P the priors
}

// newton is nil where the slopes say nothing at all.
func (s *search) newton(j *mat.Dense, knobs []int) *newton {
	rows, _ := j.Dims()
	g := &newton{j: mat.NewDense(rows, len(knobs), nil)}
	for n, i := range knobs {
		g.j.SetCol(n, mat.Col(nil, i, j))
	}
	information := s.information(g.j, knobs)
	if err := g.solver.Solve(information, g.j.T()); err != nil && g.solver.IsEmpty() {
		return nil
	}
	return g
}

// information is JᵀJ with the priors. Knobs that are all but the same leave it
// all but singular; a ridge of one in 10¹² keeps their intervals finite, and as
// wide as the range.
func (s *search) information(j *mat.Dense, knobs []int) *mat.Dense {
	var a mat.Dense
	a.Mul(j.T(), j)
	for n, i := range knobs {
		a.Set(n, n, a.At(n, n)*(1+1e-12)+s.problem.Knobs[i].belief())
	}
	return &a
}

// belief is the information of a knob's prior on its place in the range.
func (k Knob) belief() float64 {
	if k.Spread == 0 {
		return 0
	}
	width := k.Hi - k.Lo
	switch {
	case k.Factor && k.logarithmic():
		width = math.Log(k.Hi / k.Lo)
	case k.Factor && k.Start > 0:
		width /= k.Start
	}
	v := priorRow * width / k.Spread
	return v * v
}

// to is the change of the knobs' places.
func (g *newton) to(d []float64) []float64 {
	var to mat.VecDense
	to.MulVec(&g.solver, mat.NewVecDense(len(d), slices.Clone(d)))
	to.ScaleVec(-1, &to)
	return to.RawVector().Data
}

// left is the sum of squares that the change leaves.
func (g *newton) left(d, to []float64) float64 {
	var moved mat.VecDense
	moved.MulVec(g.j, mat.NewVecDense(len(to), to))
	sum := 0.0
	for i, v := range d {
		left := v + moved.AtVec(i)
		sum += left * left
	}
	return sum
}
