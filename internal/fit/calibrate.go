package fit

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/gonum/mat"

	"calrun/internal/trace"
)

// Problem is what a calibration is about.
type Problem struct {
	Measured []trace.Point // the points to fit on, and no others
	Knobs    []Knob
	Simulate Simulate // must yield at least the measured points

	// ProbeWeight is what all probes together weigh beside 1 for any other
	// point; 0 stands for 1. Probes tell knobs apart, since nothing else is
	// going on. But where an idle engine and a busy one disagree (its front
	// end is quicker when idle), a smaller weight keeps the fit right for the
	// busy one.
	ProbeWeight float64

	// Tolerance is the error, as |ln(simulated/measured)|, up to which a
	// statistic holds: one that holds at the start must hold in the end. 0
	// lets the fit pay for the many with the few.
	Tolerance float64
}

// Check says what is wrong with a problem before anything is simulated.
func (p Problem) Check() error {
	if len(p.Measured) == 0 {
		return errors.New("there is no measured point to fit on")
	}
	if len(p.Knobs) == 0 {
		return errors.New("there is no knob to turn")
	}
	if p.Simulate == nil {
		return errors.New("there is no simulator to tune")
	}
	for i, k := range p.Knobs {
		if err := k.Check(); err != nil {
			return err
		}
		if slices.ContainsFunc(p.Knobs[:i], func(other Knob) bool { return other.Name == k.Name }) {
			return fmt.Errorf("knob %s is named twice", k.Name)
		}
	}
	return nil
}

// Options bound a calibration. The zero value is a good choice.
type Options struct {
	Budget int    // most simulations; 0 is 60 for each knob and 20 besides
	Rough  bool   // values and loss alone: no intervals, no condition number
	Seed   uint64 // moves the grid of starts; the same seed gives the same fit
}

func (o Options) budget(knobs int) int {
	if o.Budget > 0 {
		return o.Budget
	}
	return 20 + 60*knobs
}

// Fit is the outcome of a calibration.
type Fit struct {
	Values      Params     // best values found; the start's if nothing better was
	Start       Params     // where the knobs stood before
	Loss        float64    // [Loss] at Values
	StartLoss   float64    // [Loss] at Start
	Improved    bool       // Loss is below StartLoss by more than the smallest gain that counts
	Evaluations int        // simulations made
	Exhausted   bool       // the budget ended the search
	Refused     int        // simulations, of Evaluations, that the simulator would not run
	Refusal     string     // why the first of them was refused
	Knobs       []KnobFit  // in the order of the problem
	Before      []Residual // at Start
	Residuals   []Residual // at Values
	Condition   float64    // condition number of the scaled Jacobian at Values over the knobs that matter; 0 where there is none to speak of
	Misfit      float64    // by how much the residuals left exceed their noise, at least 1; the intervals are wider by it
	Withheld    string     // statistic that a better fit would have put outside the tolerance that it held; "" if none
	Equifinal   []Params   // other ends of the search that fit as well, far away from Values
	Confounded  [2]string  // the two knobs that look most alike, where Condition says that the points cannot tell them apart

	// What Advise needs: the information of the points on the places of the
	// turnable knobs, the weight of all statistics, and how far each knob is
	// turned for a change to be visible.
	information *mat.Dense
	turnable    []int
	weight      float64
	reach       []float64
}

// KnobFit is what became of one knob.
type KnobFit struct {
	Name  string
	Start float64
	Value float64
	Bound string  // "low" or "high": the value ran into that end of its range; else ""
	Idle  bool    // the points do not need it: left at its start
	Moves float64 // root of the change of loss for a turn through the whole range, linearised at Values

	// Interval holds the value with a probability of 95 %; nil where turning
	// the knob moves nothing.
	Interval *Interval
}

// smallestGain is the least relative fall of the loss that counts as better:
// below it two fits of the same data would go on exchanging noise for ever.
const smallestGain = 0.01

// lossFloor is a loss that nobody would repair: a root mean square of 0.1 %.
const lossFloor = 1e-6

// Calibrate turns the knobs until simulated and measured points agree as well
// as they can. It looks at the start, at a grid of places in the box, descends
// from the best of them (Levenberg–Marquardt on the residuals, then
// Nelder–Mead, since a discrete-event simulator has steps), and last puts
// every knob back that the points do not need. It is deterministic, and never
// worse than its start: where nothing beats it, the start is what it returns.
//
// Values that the simulator refuses count as the worst there are and are
// reported. An error means that it could not run at the start, or that the
// problem makes no sense.
func Calibrate(ctx context.Context, p Problem, o Options) (*Fit, error) {
	if err := p.Check(); err != nil {
		return nil, fmt.Errorf("fit: %w", err)
	}
	s := &search{ctx: ctx, problem: p, budget: o.budget(len(p.Knobs)), rough: o.Rough, seen: map[string]*sample{}}
	start, err := s.at(s.startParams())
	if err != nil {
		return nil, err
	}
	if len(start.residuals) == 0 {
		return nil, errors.New("fit: no statistic is defined on the points to fit on; no request completed there")
	}
	s.start, s.best = start, start
	if err := s.run(o.Seed); err != nil {
		return nil, err
	}
	return s.fit()
}

// fit reads the outcome off a finished search.
func (s *search) fit() (*Fit, error) {
	f := &Fit{Start: s.start.params, StartLoss: s.start.loss, Before: s.start.residuals}
	if s.gains(s.best) {
		f.Improved = true
	} else {
		s.best = s.start
	}
	var r []float64
	var j *mat.Dense
	if !s.rough {
		var err error
		if r, j, f.reach, err = s.judge(); err != nil {
			return nil, err
		}
	}
	idle, err := s.restore()
	if err != nil {
		return nil, err
	}
	f.Values, f.Loss, f.Residuals = s.best.params, s.best.loss, s.best.residuals
	for i, k := range s.problem.Knobs {
		kf := KnobFit{Name: k.Name, Start: k.Start, Value: f.Values[i].Value, Idle: idle[i]}
		if !kf.Idle {
			kf.Bound = k.AtBound(kf.Value)
		}
		f.Knobs = append(f.Knobs, kf)
	}
	f.Withheld, f.Equifinal = s.withheld(), s.equifinal()
	if !s.rough {
		s.identify(f, j)
		if err := s.intervals(f, r, j); err != nil {
			return nil, err
		}
	}
	f.Evaluations, f.Exhausted = s.evaluations, s.exhausted
	f.Refused, f.Refusal = s.refused, s.refusal
	return f, nil
}

// gains says whether a sample is better than the start by enough to count.
func (s *search) gains(x *sample) bool {
	return s.start.loss-x.loss > smallestGain*s.start.loss && s.start.loss-x.loss > lossFloor
}

// distant is how far apart, in shares of its range, two ends of a search must
// put a knob to be two answers.
const distant = 0.1

// equifinal are ends of the search that cost about as little as the best and
// are far from it: that there are several says that the points do not decide.
func (s *search) equifinal() []Params {
	var out []Params
	best := s.where(s.best)
	for _, end := range s.ends {
		if !end.holds || end.cost > s.best.cost*(1+slack)+lossFloor {
			continue
		}
		far := false
		for i, u := range s.where(end) {
			far = far || math.Abs(u-best[i]) > distant
		}
		if far {
			out = append(out, end.params)
		}
	}
	return out
}

// A knob must bring needless of the gain, or keep the loss from growing by
// slack, to be turned at all.
const (
	needless = 0.005
	slack    = 0.1
)

// restore puts knobs back to their start, one after the other, where that
// costs next to nothing, and says which stand there: a fit must not report a
// value that the data do not ask for.
func (s *search) restore() (idle []bool, err error) {
	idle = make([]bool, len(s.problem.Knobs))
	if s.best == s.start {
		return idle, nil
	}
	allowed := s.best.loss + min(needless*(s.start.loss-s.best.loss), slack*s.best.loss+lossFloor)
	for i, k := range s.problem.Knobs {
		if s.best.params[i].Value == k.Start {
			idle[i] = true
			continue
		}
		back := slices.Clone(s.best.params)
		back[i].Value = k.Start
		x, err := s.beside(back)
		if err != nil {
			return nil, err
		}
		if x.loss <= allowed && x.holds {
			s.best, idle[i] = x, true
		}
	}
	return idle, nil
}

func (s *search) startParams() Params {
	p := make(Params, len(s.problem.Knobs))
	for i, k := range s.problem.Knobs {
		p[i] = Value{Name: k.Name, Value: k.Start}
	}
	return p
}

// finite guards against a simulator whose rows are nonsense.
func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }
