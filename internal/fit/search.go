package fit

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"gonum.org/v1/gonum/mat"
	"gonum.org/v1/gonum/optimize"
)

// search is the state of one calibration.
type search struct {
	ctx         context.Context
	problem     Problem
	budget      int
	evaluations int
	exhausted   bool
	refused     int    // simulations that the simulator would not run
	refusal     string // the first reason
	seen        map[string]*sample
	start, best *sample
}

// sample is one place that was simulated.
type sample struct {
	params    Params
	residuals []Residual
	loss      float64
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
	if s.best != nil && x.loss < s.best.loss {
		s.best = x
	}
	return x, nil
}

// simulate runs the simulator. Values that it refuses are as wrong as can be,
// and remembered; only the start, where it has just worked, must work.
func (s *search) simulate(p Params) (*sample, error) {
	x := &sample{params: slices.Clone(p)}
	points, err := s.problem.Simulate(s.ctx, slices.Clone(p))
	if err == nil {
		x.residuals, err = Compare(s.problem.Measured, points)
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
		if err := s.marquardt(x); err != nil {
			return err
		}
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
	slices.SortStableFunc(others, func(a, b *sample) int { return compare(a.loss, b.loss) })
	from := []*sample{first}
	for _, x := range others {
		if len(from) < starts && x != first {
			from = append(from, x)
		}
	}
	// Best first, so that a short budget is spent where it helps most.
	slices.SortStableFunc(from, func(a, b *sample) int { return compare(a.loss, b.loss) })
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

func compare(a, b float64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// marquardt descends from a sample by damped Gauss–Newton steps on the
// residuals, projected into the box (Levenberg 1944, Marquardt 1963).
func (s *search) marquardt(x *sample) error {
	damping, turn := 1e-2, 0.02
	for range 15 {
		u := s.where(x)
		j, err := s.jacobian(x, turn, s.at)
		if err != nil {
			return err
		}
		better, err := s.damped(x, u, j, &damping)
		if err != nil {
			return err
		}
		switch {
		case better != nil && x.loss-better.loss > 1e-3*x.loss:
			x = better
			turn = max(turn/2, 0.002)
		case turn > 0.002:
			turn, damping = 0.002, 1e-2
			if better != nil {
				x = better
			}
		default:
			return nil
		}
		if x.loss < lossFloor {
			return nil
		}
	}
	return nil
}

// damped tries steps from u with growing damping until one lowers the loss;
// nil if none does.
func (s *search) damped(x *sample, u []float64, j *mat.Dense, damping *float64) (*sample, error) {
	r := weighted(x.residuals)
	var jt, jtj mat.Dense
	jt.CloneFrom(j.T())
	jtj.Mul(&jt, j)
	var g mat.VecDense
	g.MulVec(&jt, mat.NewVecDense(len(r), r))
	for range 6 {
		step := solve(&jtj, &g, u, *damping)
		if step == nil {
			return nil, nil
		}
		to := make([]float64, len(u))
		for i := range to {
			to[i] = min(max(u[i]-step[i], 0), 1)
		}
		y, err := s.place(to)
		if err != nil {
			return nil, err
		}
		if y.loss < x.loss {
			*damping = max(*damping/5, 1e-7)
			return y, nil
		}
		*damping *= 8
	}
	return nil, nil
}

// solve is the damped normal equations over the knobs that are free to move:
// one that stands at an end and would be pushed out of the box is held.
func solve(jtj *mat.Dense, g *mat.VecDense, u []float64, damping float64) []float64 {
	var free []int
	for i := range u {
		out := (u[i] <= 0 && g.AtVec(i) > 0) || (u[i] >= 1 && g.AtVec(i) < 0)
		if jtj.At(i, i) > 0 && !out {
			free = append(free, i)
		}
	}
	if len(free) == 0 {
		return nil
	}
	a := mat.NewDense(len(free), len(free), nil)
	b := mat.NewVecDense(len(free), nil)
	for i, k := range free {
		for l, m := range free {
			a.Set(i, l, jtj.At(k, m))
		}
		a.Set(i, i, jtj.At(k, k)*(1+damping))
		b.SetVec(i, g.AtVec(k))
	}
	var x mat.VecDense
	if err := x.SolveVec(a, b); err != nil && x.Len() == 0 {
		return nil
	}
	step := make([]float64, len(u))
	for i, k := range free {
		if v := x.AtVec(i); finite(v) {
			step[k] = v
		}
	}
	return step
}

// simplex polishes the best sample by Nelder and Mead's method (1965) from
// gonum: it needs no derivatives, and the medians of a discrete-event
// simulator have none worth the name near the optimum.
func (s *search) simplex() error {
	var failed error
	problem := optimize.Problem{
		Func: func(u []float64) float64 {
			if failed != nil {
				return worst * worst
			}
			x, err := s.place(u)
			if err != nil {
				failed = err
				return worst * worst
			}
			// A wall outside the box, so that the simplex turns back.
			out := 0.0
			for _, v := range u {
				out += max(0, -v, v-1)
			}
			return x.loss * (1 + out)
		},
		Status: func() (optimize.Status, error) {
			if failed != nil {
				return optimize.Failure, failed
			}
			return optimize.NotTerminated, nil
		},
	}
	settings := &optimize.Settings{
		FuncEvaluations: 30 * len(s.problem.Knobs),
		Converger:       &optimize.FunctionConverge{Absolute: lossFloor / 10, Relative: 1e-4, Iterations: 8 * len(s.problem.Knobs)},
	}
	if s.best.loss < lossFloor {
		return nil
	}
	_, err := optimize.Minimize(problem, s.where(s.best), settings, &optimize.NelderMead{SimplexSize: 0.03})
	if failed != nil {
		return failed
	}
	if err != nil {
		return fmt.Errorf("fit: %w", err)
	}
	return nil
}

// neighbours walks the counts among the knobs by single units while that
// helps.
func (s *search) neighbours() error {
	for i, k := range s.problem.Knobs {
		if !k.Integer {
			continue
		}
		for moved := true; moved; {
			moved = false
			for _, by := range []float64{-1, 1} {
				p := slices.Clone(s.best.params)
				p[i].Value += by
				if p[i].Value < k.Lo || p[i].Value > k.Hi {
					continue
				}
				before := s.best.loss
				if _, err := s.at(p); err != nil {
					return err
				}
				moved = moved || s.best.loss < before
			}
		}
	}
	return nil
}
