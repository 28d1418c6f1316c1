package fit

import (
	"context"
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/gonum/mat"

	"calrun/internal/trace"
)

// Experiment is a point that could be measured, and fitted on, besides.
type Experiment struct {
	Name     string
	Simulate Simulate // yields that point, and no other
}

// Advice is what would help to pin a knob down.
type Advice struct {
	Knob       string
	From       string  // the knob that it is hardest to tell from; "" if it is the only one
	Experiment string  // what narrows its interval most; "" if nothing narrows it by a third
	Half       float64 // half the width of the interval to be expected then
}

// helps is what an experiment must make of an interval, as a share of its
// width, to be worth its time.
const helps = 2.0 / 3

// Doubtful are the knobs that a fit does not determine: turned, and either
// known to less than half their value or one of two that cannot be told apart.
func (f *Fit) Doubtful() []string {
	var names []string
	for _, k := range f.Knobs {
		if k.Idle || k.Interval == nil {
			continue
		}
		wide := k.Interval.High-k.Interval.Low > math.Abs(k.Value)/2
		if wide || slices.Contains(f.Confounded[:], k.Name) {
			names = append(names, k.Name)
		}
	}
	return names
}

// Advise says for each doubtful knob which of the experiments would narrow its
// interval most. The slopes of what an experiment would yield are simulated at
// the fit's values; it is taken to weigh 1, and to be as noisy as the points
// fitted on.
func Advise(ctx context.Context, p Problem, f *Fit, es []Experiment) ([]Advice, error) {
	doubtful := f.Doubtful()
	if len(doubtful) == 0 || f.information == nil {
		return nil, nil
	}
	var before mat.Dense
	if err := before.Inverse(f.information); err != nil && before.IsEmpty() {
		return nil, nil
	}
	after := make([]*mat.Dense, len(es))
	for i, e := range es {
		var err error
		if after[i], err = f.with(ctx, p, e); err != nil {
			return nil, fmt.Errorf("fit: %s: %w", e.Name, err)
		}
	}
	var out []Advice
	for n, i := range f.turnable {
		k := f.Knobs[i]
		if !slices.Contains(doubtful, k.Name) {
			continue
		}
		a := Advice{Knob: k.Name, From: f.twin(&before, n)}
		least := helps
		for e, x := range after {
			if x == nil {
				continue
			}
			if share := math.Sqrt(x.At(n, n) / before.At(n, n)); share < least {
				least, a.Experiment = share, es[e].Name
				a.Half = share * (k.Interval.High - k.Interval.Low) / 2
			}
		}
		out = append(out, a)
	}
	return out, nil
}

// twin is the knob whose estimate hangs most on that of the n-th.
func (f *Fit) twin(covariance *mat.Dense, n int) string {
	most, name := 0.0, ""
	for m, i := range f.turnable {
		if m == n {
			continue
		}
		r := math.Abs(covariance.At(m, n)) / math.Sqrt(covariance.At(m, m)*covariance.At(n, n))
		if r > most {
			most, name = r, f.Knobs[i].Name
		}
	}
	return name
}

// with is the covariance that the fit would have with an experiment besides,
// up to the factor that it has without; nil if the experiment cannot be
// simulated there.
func (f *Fit) with(ctx context.Context, p Problem, e Experiment) (*mat.Dense, error) {
	base, err := e.Simulate(ctx, slices.Clone(f.Values))
	if err != nil {
		return nil, ctx.Err()
	}
	var j *mat.Dense
	for n, i := range f.turnable {
		column, err := f.slope(ctx, e, p.Knobs[i], i, base)
		if err != nil || column == nil {
			return nil, ctx.Err()
		}
		if j == nil {
			j = mat.NewDense(len(column), len(f.turnable), nil)
		}
		j.SetCol(n, column)
	}
	var more, inverse mat.Dense
	more.Mul(j.T(), j)
	more.Add(&more, f.information)
	if err := inverse.Inverse(&more); err != nil && inverse.IsEmpty() {
		return nil, nil
	}
	return &inverse, nil
}

// slope is how the statistics of an experiment change with a knob's place,
// weighed as those of the fit; nil if they do not exist.
func (f *Fit) slope(ctx context.Context, e Experiment, k Knob, i int, base []trace.Point) ([]float64, error) {
	place := k.place(f.Values[i].Value)
	sides, at := [2][]Residual{}, [2]float64{}
	for side, h := range []float64{-f.reach[i], f.reach[i]} { // far enough to be above the simulator's roughness
		to := slices.Clone(f.Values)
		to[i].Value = k.at(place + math.Copysign(k.step(f.reach[i], place), h))
		points, err := e.Simulate(ctx, to)
		if err != nil {
			return nil, err
		}
		if sides[side], err = Compare(base, points, 0); err != nil {
			return nil, err
		}
		at[side] = k.place(to[i].Value)
	}
	if len(sides[0]) == 0 || len(sides[0]) != len(sides[1]) || at[0] == at[1] {
		return nil, nil
	}
	column := make([]float64, len(sides[0]))
	for row, r := range sides[1] {
		column[row] = math.Sqrt(r.Weight/f.weight) * (r.Log - sides[0][row].Log) / (at[1] - at[0])
	}
	return column, nil
}
