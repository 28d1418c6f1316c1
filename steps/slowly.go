package steps

import (
	"context"
	"fmt"
	"math"

	"calrun/internal/fit"
	"calrun/internal/trace"
)

// slowly is a calibration of a simulator that takes seconds: the knobs are
// turned on its twin, the place that is best there is simulated, and what that
// says corrects the twin, until the place stays where it is.
type slowly struct {
	problem fit.Problem // without a simulator
	twin    *twin
	slow    whatIf // each run is a durable part, so that a killed tune goes on
	budget  int
	told    func(done int, values fit.Params) // before each simulation
}

// calibrate yields a fit whose values, losses and residuals are the slow
// simulator's own; intervals and condition are read off the twin.
func (c *slowly) calibrate(ctx context.Context, o fit.Options) (*fit.Fit, error) {
	c.problem.Simulate = c.twin.simulate
	start := make(fit.Params, len(c.problem.Knobs))
	for i, k := range c.problem.Knobs {
		start[i] = fit.Value{Name: k.Name, Value: k.Start}
	}
	if err := c.ask(ctx, start); err != nil {
		return nil, err
	}
	if a := c.twin.anchors[0]; a.failed {
		return nil, fmt.Errorf("the parameters to start from cannot be simulated: %s", a.reason())
	}
	for {
		f, err := fit.Calibrate(ctx, c.problem, o)
		if err != nil {
			return nil, err
		}
		at := c.settled(f)
		if at < 0 && len(c.twin.anchors) < c.budget {
			if err := c.ask(ctx, f.Values); err != nil {
				return nil, err
			}
			continue
		}
		f.Exhausted = at < 0
		return f, c.conclude(f, at)
	}
}

// ask asks the slow simulator at a place.
func (c *slowly) ask(ctx context.Context, values fit.Params) error {
	c.told(len(c.twin.anchors), values)
	p, err := over(c.twin.start, values)
	if err != nil {
		return err
	}
	said, err := c.slow(ctx, c.problem.Measured, p)
	if err != nil {
		return err
	}
	return c.twin.learn(ctx, values, said)
}

// reason is why the first of its runs crashed.
func (a anchor) reason() string {
	for _, p := range a.points {
		for _, r := range p.Runs {
			if r.State == trace.Crashed {
				return p.Name + ": " + r.Reason
			}
		}
	}
	return ""
}

// settled is the anchor that a fit's values are at, the nearest: nearer than a
// thousandth of each range, or than a tenth of what is known of the knob. It is
// negative if there is none.
func (c *slowly) settled(f *fit.Fit) int {
	nearest, _ := c.twin.weigh(f.Values)
	for i, k := range c.problem.Knobs {
		far := (k.Hi - k.Lo) / 1000
		if in := f.Knobs[i].Interval; in != nil {
			far = max(far, (in.High-in.Low)/10)
		}
		if math.Abs(c.twin.anchors[nearest].values[i].Value-f.Values[i].Value) > far {
			return -1
		}
	}
	return nearest
}

// Judgement of the places that were simulated; the thresholds are those of
// package fit.
const (
	luck  = 0.1  // a loss that is smaller by less is as likely luck
	gain  = 0.01 // the least relative fall of the loss that counts
	least = 1e-6 // a loss that nobody would repair
)

// conclude makes the fit one of the slow simulator: at the place where it
// settled, or where another that was simulated is better by more than luck, at
// that; at the start where none beats it.
func (c *slowly) conclude(f *fit.Fit, at int) error {
	rs, losses := make([][]fit.Residual, len(c.twin.anchors)), make([]float64, len(c.twin.anchors))
	best := 0
	for k, a := range c.twin.anchors {
		var err error
		if rs[k], err = fit.Compare(c.problem.Measured, a.points, c.problem.ProbeWeight); err != nil {
			return err
		}
		losses[k] = fit.Loss(rs[k])
		if a.failed {
			f.Refused++
			if f.Refusal == "" {
				f.Refusal = a.reason()
			}
			continue
		}
		if losses[k] < losses[best] && c.holds(rs[0], rs[k]) {
			best = k
		}
	}
	if at >= 0 && losses[at] <= losses[best]*(1+luck)+least && c.holds(rs[0], rs[at]) {
		best = at
	}
	if fell := losses[0] - losses[best]; fell <= gain*losses[0] || fell <= least {
		best = 0
	}
	f.Improved, f.Evaluations = best > 0, len(c.twin.anchors)
	f.StartLoss, f.Before, f.Loss, f.Residuals = losses[0], rs[0], losses[best], rs[best]
	f.Values = c.twin.anchors[best].values
	for i := range f.Knobs {
		k := &f.Knobs[i]
		k.Value, k.Bound = f.Values[i].Value, ""
		k.Idle = f.Improved && k.Value == k.Start
		if f.Improved && !k.Idle {
			k.Bound = c.problem.Knobs[i].AtBound(k.Value)
		}
		if k.Interval != nil {
			k.Interval.Low, k.Interval.High = min(k.Interval.Low, k.Value), max(k.Interval.High, k.Value)
		}
	}
	return nil
}

// holds says that no statistic that was right at the start has become wrong.
func (c *slowly) holds(before, after []fit.Residual) bool {
	for i, b := range before {
		if i < len(after) && math.Abs(b.Log) <= c.problem.Tolerance && math.Abs(after[i].Log) > c.problem.Tolerance {
			return false
		}
	}
	return true
}
