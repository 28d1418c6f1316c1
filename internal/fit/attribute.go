package fit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"calrun/internal/trace"
)

// Hypothesis is a suspected cause of an error, as a change of the simulation
// that would undo it.
type Hypothesis struct {
	Name string

	// Set are values that differ from the base, known beforehand: the block
	// count that the engine states.
	Set Params

	// Knobs are values that are fitted first, on On: an overhead that nobody
	// stated. With knobs, a hypothesis needs some tens of simulations of On
	// and one of all points.
	Knobs []Knob

	// On simulates the points that Knobs are fitted on, Measured among them;
	// they are best few and quiet (the probes). nil: the case's own.
	On *Problem

	// Simulate stands in for the case's simulator: other inputs, say. nil:
	// the case's own.
	Simulate Simulate
}

// Case is an error that wants a cause.
type Case struct {
	Measured []trace.Point
	Base     Params // values that the simulator had; a hypothesis overrides some
	Simulate Simulate
	Options  Options // of each fit of a hypothesis with knobs
}

// Attribution is what a hypothesis would explain.
type Attribution struct {
	Name     string
	Values   Params     // what was set or found
	Before   float64    // [Loss] of the base
	After    float64    // [Loss] with the hypothesis
	Left     []Residual // what is left with it
	Noise    []float64  // of each of Left, the standard deviation of its logarithm over resamplings
	Explains float64    // (Before − After)/Before, 0 where it makes things worse or there is nothing to explain
	Interval Interval   // of Explains, at the level of 95 %; see [share]
}

// Attribute asks of each hypothesis, alone, how much of the loss would go if
// it held. The order of the result is that of the hypotheses.
func Attribute(ctx context.Context, c Case, hs []Hypothesis) ([]Attribution, error) {
	points, rs, err := c.compare(ctx, c.Simulate, c.Base)
	if err != nil {
		return nil, fmt.Errorf("attribute: the simulation as it is: %w", err)
	}
	before := Loss(rs)
	base, err := newBootstrap(c.Measured, points, rs)
	if err != nil {
		return nil, fmt.Errorf("attribute: %w", err)
	}
	as := make([]Attribution, len(hs))
	for i, h := range hs {
		a, held, err := c.ask(ctx, h)
		if err != nil {
			return nil, fmt.Errorf("attribute: %s: %w", h.Name, err)
		}
		a.Before = before
		if before > lossFloor {
			a.Explains = max(0, (before-a.After)/before)
			a.Interval = share(base, held, rs, a)
		}
		as[i] = a
	}
	return as, nil
}

func (c Case) ask(ctx context.Context, h Hypothesis) (Attribution, *bootstrap, error) {
	a := Attribution{Name: h.Name, Values: slices.Clone(h.Set)}
	simulate := h.Simulate
	if simulate == nil {
		simulate = c.Simulate
	}
	if len(h.Knobs) > 0 {
		on := Problem{Measured: c.Measured, Simulate: simulate}
		if h.On != nil {
			on = *h.On
		}
		over := with(c.Base, h.Set)
		inner := on.Simulate
		on.Knobs = h.Knobs
		on.Simulate = func(ctx context.Context, p Params) ([]trace.Point, error) { return inner(ctx, with(over, p)) }
		f, err := Calibrate(ctx, on, c.Options)
		if err != nil {
			return a, nil, err
		}
		a.Values = with(a.Values, f.Values)
	}
	points, rs, err := c.compare(ctx, simulate, with(c.Base, a.Values))
	if err != nil {
		return a, nil, err
	}
	a.Left, a.After = rs, Loss(rs)
	b, err := newBootstrap(c.Measured, points, rs)
	if err != nil {
		return a, nil, err
	}
	a.Noise = b.noise()
	return a, b, nil
}

func (c Case) compare(ctx context.Context, simulate Simulate, p Params) ([]trace.Point, []Residual, error) {
	points, err := simulate(ctx, p)
	if err != nil {
		return nil, nil, err
	}
	rs, err := Compare(c.Measured, points, 1)
	if err == nil && len(rs) == 0 {
		err = errors.New("no statistic is defined on the measured points; no request completed")
	}
	return points, rs, err
}

// floor is what a statistic of a good simulator is off by besides noise, as
// a logarithm: what it lacks of the engine.
const floor = 0.005

// Excess judges attributions of one case against each other: by how much the
// sum of each one's squared residuals, in units of noise, exceeds that of the
// best, whose is 0. Noise is as it is with the attribution that leaves the
// smallest loss; where even that leaves more than noise, units are larger by as
// much (a quasi-likelihood ratio: Wedderburn 1974). Statistics count alike:
// unlike in the loss, a queue near saturation does not outshout the probes,
// which tell a constant from a factor.
func Excess(as []Attribution) []float64 {
	out := make([]float64, len(as))
	if len(as) == 0 {
		return out
	}
	best := slices.MinFunc(as, func(a, b Attribution) int { return cmp.Compare(a.After, b.After) })
	for i, a := range as {
		for n, r := range best.Left {
			if x, ok := find(a.Left, n, r); ok && n < len(best.Noise) {
				out[i] += x.Log * x.Log / (best.Noise[n]*best.Noise[n] + floor*floor)
			}
		}
	}
	least := slices.Min(out)
	unit := max(1, least/float64(max(1, len(best.Left))))
	for i := range out {
		out[i] = (out[i] - least) / unit
	}
	return out
}

// with is base with some values replaced or added.
func with(base, over Params) Params {
	p := slices.Clone(base)
	for _, v := range over {
		if i := slices.IndexFunc(p, func(x Value) bool { return x.Name == v.Name }); i >= 0 {
			p[i] = v
		} else {
			p = append(p, v)
		}
	}
	return p
}
