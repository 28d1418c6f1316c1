package fit

import (
	"context"
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
	Values   Params  // what was set or found
	Before   float64 // [Loss] of the base
	After    float64 // [Loss] with the hypothesis
	Explains float64 // (Before − After)/Before, 0 where it makes things worse or there is nothing to explain
}

// Attribute asks of each hypothesis, alone, how much of the loss would go if
// it held. The order of the result is that of the hypotheses.
func Attribute(ctx context.Context, c Case, hs []Hypothesis) ([]Attribution, error) {
	before, err := c.loss(ctx, c.Simulate, c.Base)
	if err != nil {
		return nil, fmt.Errorf("attribute: the simulation as it is: %w", err)
	}
	as := make([]Attribution, len(hs))
	for i, h := range hs {
		a, err := c.ask(ctx, h)
		if err != nil {
			return nil, fmt.Errorf("attribute: %s: %w", h.Name, err)
		}
		a.Before = before
		if before > lossFloor {
			a.Explains = max(0, (before-a.After)/before)
		}
		as[i] = a
	}
	return as, nil
}

func (c Case) ask(ctx context.Context, h Hypothesis) (Attribution, error) {
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
			return a, err
		}
		a.Values = with(a.Values, f.Values)
	}
	var err error
	a.After, err = c.loss(ctx, simulate, with(c.Base, a.Values))
	return a, err
}

func (c Case) loss(ctx context.Context, simulate Simulate, p Params) (float64, error) {
	points, err := simulate(ctx, p)
	if err != nil {
		return 0, err
	}
	rs, err := Compare(c.Measured, points, 1)
	if err != nil {
		return 0, err
	}
	if len(rs) == 0 {
		return 0, fmt.Errorf("no statistic is defined on the measured points; no request completed")
	}
	return Loss(rs), nil
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
