package fit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
)

// search is the state of one calibration.
type search struct {
	ctx         context.Context
	problem     Problem
	budget      int
	rough       bool
	evaluations int
	exhausted   bool
	refused     int    // simulations that the simulator would not run
	refusal     string // the first reason
	seen        map[string]*sample
	start, best *sample
	tempting    *sample   // the smallest loss among those that break what held; nil if none
	ends        []*sample // where the descents ended, one a start
}

// sample is one place that was simulated.
type sample struct {
	params    Params
	residuals []Residual
	loss      float64 // [Loss] of the residuals
	cost      float64 // what the search lowers: loss, prior, and what is broken
	holds     bool    // no statistic has left the tolerance that it kept at the start
}

// errBudget ends a search; what was found so far stands.
var errBudget = errors.New("the budget of simulations is spent")

// at simulates one set of values, once, within the budget.
func (s *search) at(p Params) (*sample, error) {
	if x, ok := s.seen[p.String()]; ok {
		return x, nil
	}
	if s.evaluations >= s.budget {
		s.exhausted = true
		return nil, errBudget
	}
	return s.beyond(p)
}

// beyond is at without the budget: for the few simulations that say what a
// fit is worth.
func (s *search) beyond(p Params) (*sample, error) {
	if x, ok := s.seen[p.String()]; ok {
		return x, nil
	}
	if err := s.ctx.Err(); err != nil {
		return nil, fmt.Errorf("fit: %w", err)
	}
	s.evaluations++
	x, err := s.simulate(p)
	if err != nil {
		return nil, err
	}
	s.seen[p.String()] = x
	switch {
	case s.best == nil: // the start itself
	case x.holds && x.cost < s.best.cost:
		s.best = x
	case !x.holds && (s.tempting == nil || x.loss < s.tempting.loss):
		s.tempting = x
	}
	return x, nil
}

// beside is beyond without a say in what is best: the fit is decided.
func (s *search) beside(p Params) (*sample, error) {
	best, tempting := s.best, s.tempting
	x, err := s.beyond(p)
	s.best, s.tempting = best, tempting
	return x, err
}

// simulate runs the simulator. Values that it refuses are as wrong as can be,
// and remembered; only the start, where it has just worked, must work.
func (s *search) simulate(p Params) (*sample, error) {
	x := &sample{params: slices.Clone(p)}
	points, err := s.problem.Simulate(s.ctx, slices.Clone(p))
	if err == nil {
		x.residuals, err = Compare(s.problem.Measured, points, s.problem.ProbeWeight)
	}
	if err != nil {
		err = fmt.Errorf("fit: simulate with %s: %w", p, err)
		if s.start == nil || s.ctx.Err() != nil {
			return nil, err
		}
		s.refused++
		if s.refusal == "" {
			s.refusal = err.Error()
		}
		x.residuals = slices.Clone(s.start.residuals)
		for i := range x.residuals {
			x.residuals[i].Simulated, x.residuals[i].Log = 0, worst
		}
	}
	if x.loss = Loss(x.residuals); !finite(x.loss) {
		x.loss = worst * worst
	}
	s.price(x)
	return x, nil
}

// place simulates a place of the unit box.
func (s *search) place(u []float64) (*sample, error) {
	p := make(Params, len(u))
	for i, k := range s.problem.Knobs {
		p[i] = Value{Name: k.Name, Value: k.at(u[i])}
	}
	return s.at(p)
}

// where is a sample's place in the unit box.
func (s *search) where(x *sample) []float64 {
	u := make([]float64, len(x.params))
	for i, k := range s.problem.Knobs {
		u[i] = k.place(x.params[i].Value)
	}
	return u
}

// run spends the budget. Running out of it is no error.
func (s *search) run(seed uint64) error {
	err := s.descend(seed)
	if errors.Is(err, errBudget) {
		return nil
	}
	return err
}

// starts is from how many places of the grid a descent begins.
const starts = 3

func (s *search) descend(seed uint64) error {
	if s.start.loss < lossFloor {
		return nil
	}
	from, err := s.grid(seed)
	if err != nil {
		return err
	}
	for _, x := range from {
		end, err := s.marquardt(x)
		if err != nil {
			return err
		}
		s.ends = append(s.ends, end)
	}
	if err := s.simplex(); err != nil {
		return err
	}
	return s.neighbours()
}

// grid simulates the start's place in the box, the middle, and a quarter of
// the budget's worth of a Halton sequence, and yields the best of them, the
// start first: what is nearly right must stay findable.
func (s *search) grid(seed uint64) ([]*sample, error) {
	rng := rand.New(rand.NewPCG(seed, 0x6669742f67726964)) // a stream of its own
	d := len(s.problem.Knobs)
	shift := make([]float64, d)
	for i := range shift {
		shift[i] = rng.Float64()
	}
	first, err := s.place(s.where(s.start))
	if err != nil {
		return nil, err
	}
	var others []*sample
	for n := range max(2, min(s.budget/4, 8*d)) {
		u := make([]float64, d)
		for i := range u {
			_, u[i] = math.Modf(halton(n, i) + shift[i])
			if n == 0 {
				u[i] = 0.5
			}
		}
		x, err := s.place(u)
		if err != nil {
			return nil, err
		}
		others = append(others, x)
	}
	slices.SortStableFunc(others, func(a, b *sample) int { return cmp.Compare(a.cost, b.cost) })
	from := []*sample{first}
	for _, x := range others {
		if len(from) < starts && x != first {
			from = append(from, x)
		}
	}
	// Best first, so that a short budget is spent where it helps most.
	slices.SortStableFunc(from, func(a, b *sample) int { return cmp.Compare(a.cost, b.cost) })
	return from, nil
}

// halton is the n-th number of the van der Corput sequence in the i-th prime.
func halton(n, i int) float64 {
	primes := [...]int{2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37}
	base := primes[i%len(primes)]
	x, f := 0.0, 1.0
	for ; n > 0; n /= base {
		f /= float64(base)
		x += f * float64(n%base)
	}
	return x
}
