package fit

import (
	"fmt"
	"slices"

	"gonum.org/v1/gonum/mat"
	"gonum.org/v1/gonum/optimize"
)

// marquardt descends from a sample by damped Gauss–Newton steps on the
// residuals, projected into the box (Levenberg 1944, Marquardt 1963), and
// yields where it ended.
func (s *search) marquardt(x *sample) (*sample, error) {
	const wide, narrow = 0.04, 0.01
	damping, turn := 1e-2, wide
	for range 15 {
		u := s.where(x)
		j, err := s.jacobian(x, turn)
		if err != nil {
			return x, err
		}
		better, err := s.damped(x, u, j, &damping)
		if err != nil {
			return x, err
		}
		switch {
		case better != nil && x.cost-better.cost > 1e-3*x.cost:
			x = better
			turn = max(turn/2, narrow)
		case turn > narrow:
			turn, damping = narrow, 1e-2
			if better != nil {
				x = better
			}
		default:
			return x, nil
		}
		if x.cost < lossFloor {
			return x, nil
		}
	}
	return x, nil
}

// damped tries steps from u with growing damping until one lowers the cost;
// nil if none does.
func (s *search) damped(x *sample, u []float64, j *mat.Dense, damping *float64) (*sample, error) {
	r := s.rows(x)
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
		if y.cost < x.cost {
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
			return x.cost * (1 + out)
		},
		Status: func() (optimize.Status, error) {
			if failed != nil {
				return optimize.Failure, failed
			}
			return optimize.NotTerminated, nil
		},
	}
	settings := &optimize.Settings{
		FuncEvaluations: 15 * len(s.problem.Knobs),
		Converger:       &optimize.FunctionConverge{Absolute: lossFloor / 10, Relative: 1e-4, Iterations: 8 * len(s.problem.Knobs)},
	}
	if s.best.cost < lossFloor {
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
				before := s.best.cost
				if _, err := s.at(p); err != nil {
					return err
				}
				moved = moved || s.best.cost < before
			}
		}
	}
	return nil
}
