package steps

import (
	"fmt"
	"math"
	"slices"

	"calrun/internal/fit"
	"calrun/internal/trace"
)

// TuneResult is what Tune found.
type TuneResult struct {
	Params     Params         `json:"params" doc:"parameters to simulate with; those of the start where nothing beats it"`
	FittedOn   []string       `json:"fitted_on" doc:"points that params were fitted on, now or before; a comparison holds them apart"`
	Improved   bool           `json:"improved" doc:"params are better than the start on the points fitted on"`
	LossBefore float64        `json:"loss_before" doc:"weighted mean of ln(simulated/measured)² at the start; its root is about the relative error"`
	LossAfter  float64        `json:"loss_after" doc:"the same with params"`
	Simulated  int            `json:"simulations" doc:"simulations made"`
	Exhausted  bool           `json:"exhausted" doc:"the budget ended the search"`
	Knobs      []TunedKnob    `json:"knobs" doc:"the knobs that were turned, sorted by name"`
	Pinned     []PinnedKnob   `json:"pinned" doc:"knobs left alone because the engine states their value"`
	AtBound    []string       `json:"at_bound" doc:"knobs that ran into an end of their range"`
	Idle       []string       `json:"idle" doc:"knobs that the points do not need, left at their start"`
	Condition  float64        `json:"condition" doc:"condition number of the fit, 0 if it has none; above 30 two knobs can hardly be told apart"`
	Misfit     float64        `json:"misfit" doc:"by how much the errors left exceed noise, at least 1; the intervals are wider by it, 0 if there are none"`
	Residuals  []TuneResidual `json:"residuals" doc:"every statistic that was fitted, before and after"`
	Notes      []string       `json:"notes" doc:"doubts about the fit, as sentences"`
}

// TunedKnob is one knob, before and after.
type TunedKnob struct {
	Name  string   `json:"name" doc:"name of the parameter"`
	Start float64  `json:"start" doc:"value before"`
	Value float64  `json:"value" doc:"value after"`
	Low   *float64 `json:"low" doc:"lower end of the interval that holds the value with a probability of 95 %; null if the points say nothing about it"`
	High  *float64 `json:"high" doc:"its upper end"`
	Bound string   `json:"bound" doc:"low or high if it ran into that end of its range, else empty"`
	Idle  bool     `json:"idle" doc:"the points do not need it"`
}

// PinnedKnob is a knob that the engine states.
type PinnedKnob struct {
	Name   string   `json:"name" doc:"name of the parameter"`
	Engine float64  `json:"engine" doc:"value that the engine states"`
	Start  *float64 `json:"start" doc:"value that it keeps; null if unset"`
}

// TuneResidual is one statistic of one fitted point. Errors are signed
// logarithms: 0.05 is 5 % too slow.
type TuneResidual struct {
	Point     string  `json:"point" doc:"name of the point"`
	Metric    string  `json:"metric" doc:"ttft, tpot or e2e"`
	Statistic string  `json:"statistic" doc:"p50 or mean"`
	Measured  float64 `json:"measured_s" doc:"seconds on the engine"`
	Before    float64 `json:"before" doc:"ln(simulated/measured) at the start"`
	After     float64 `json:"after" doc:"ln(simulated/measured) with params"`
	Weight    float64 `json:"weight" doc:"weight in the loss"`
}

// report fills the result from a fit.
func (s *Tune) report(r *TuneResult, f *fit.Fit, on []trace.Point) error {
	r.Improved, r.LossBefore, r.LossAfter = f.Improved, f.StartLoss, f.Loss
	r.Simulated, r.Exhausted, r.Condition, r.Misfit = f.Evaluations, f.Exhausted, f.Condition, f.Misfit
	var moved fit.Params
	for i, k := range f.Knobs {
		knob := TunedKnob{Name: k.Name, Start: k.Start, Value: k.Value, Bound: k.Bound, Idle: k.Idle}
		if k.Interval != nil {
			knob.Low, knob.High = &k.Interval.Low, &k.Interval.High
		}
		r.Knobs = append(r.Knobs, knob)
		if k.Value != k.Start {
			moved = append(moved, f.Values[i])
		}
		if k.Bound != "" {
			r.AtBound = append(r.AtBound, k.Name)
			r.Notes = append(r.Notes, fmt.Sprintf("%s ran into the %s end of its range, %g: widen the range, or look for another cause", k.Name, k.Bound, k.Value))
		}
		if k.Idle {
			r.Idle = append(r.Idle, k.Name)
		}
	}
	if f.Improved {
		var err error
		if r.Params, err = over(s.Start, moved); err != nil {
			return err
		}
		fitted := slices.Clone(s.Start.FittedOn)
		for _, p := range on {
			fitted = append(fitted, p.Name)
		}
		slices.Sort(fitted)
		r.Params.FittedOn = slices.Compact(fitted)
		r.FittedOn = slices.Clone(r.Params.FittedOn)
	}
	if r.FittedOn == nil {
		r.FittedOn = []string{}
	}
	r.residuals(f)
	r.doubts(f)
	return nil
}

func (r *TuneResult) residuals(f *fit.Fit) {
	for _, b := range f.Before {
		i := slices.IndexFunc(f.Residuals, func(a fit.Residual) bool {
			return a.Point == b.Point && a.Metric == b.Metric && a.Statistic == b.Statistic
		})
		if i < 0 {
			continue
		}
		r.Residuals = append(r.Residuals, TuneResidual{
			Point: b.Point, Metric: b.Metric, Statistic: b.Statistic, Measured: b.Measured,
			Before: b.Log, After: f.Residuals[i].Log, Weight: b.Weight,
		})
	}
}

// doubts are what the reader of a fit should know besides its values.
func (r *TuneResult) doubts(f *fit.Fit) {
	if !f.Improved {
		r.Notes = append(r.Notes, "nothing in the ranges beats the start; the parameters are unchanged")
	}
	if note := r.worsened(); note != "" {
		r.Notes = append(r.Notes, note)
	}
	if f.Withheld != "" {
		r.Notes = append(r.Notes, fmt.Sprintf("a fit with less error in all was not taken, since it would have put %s, right before to %.0f %%, outside of that", f.Withheld, 100*held))
	}
	if len(f.Equifinal) > 0 {
		r.Notes = append(r.Notes, fmt.Sprintf("the search ended elsewhere as well, and fits as well there: %s", f.Equifinal[0]))
	}
	if f.Exhausted {
		r.Notes = append(r.Notes, fmt.Sprintf("the budget of %d simulations ended the search; a larger one may find better values", f.Evaluations))
	}
	if f.Refused > 0 {
		r.Notes = append(r.Notes, fmt.Sprintf("%d simulations were refused, the first: %s", f.Refused, f.Refusal))
	}
}

// worsened names the fitted statistic that lost most, if it lost enough to be
// seen: a fit pays for the many with the few.
func (r *TuneResult) worsened() string {
	const seen = 0.05
	worst, by := -1, seen
	for i, x := range r.Residuals {
		if d := math.Abs(x.After) - math.Abs(x.Before); math.Abs(x.After) > seen && d > by {
			worst, by = i, d
		}
	}
	if worst < 0 {
		return ""
	}
	x := r.Residuals[worst]
	return fmt.Sprintf("%s %s of %s got worse, from %+.1f %% to %+.1f %%: the knobs cannot be right for all points at once", x.Metric, x.Statistic, x.Point, 100*math.Expm1(x.Before), 100*math.Expm1(x.After))
}
