package fit

import (
	"math"

	"gonum.org/v1/gonum/mat"
)

// weighted are the residuals as least squares sees them: root of the share of
// weight times the log ratio, so that their sum of squares is the [Loss].
func weighted(rs []Residual) []float64 {
	total := 0.0
	for _, r := range rs {
		total += r.Weight
	}
	w := make([]float64, len(rs))
	for i, r := range rs {
		w[i] = math.Sqrt(r.Weight/total) * r.Log
	}
	return w
}

// jacobian is the change of the weighted residuals with each knob's place in
// its range, by a one-sided difference that stays in the box.
func (s *search) jacobian(x *sample, turn float64, at func(Params) (*sample, error)) (*mat.Dense, error) {
	r := weighted(x.residuals)
	u := s.where(x)
	j := mat.NewDense(len(r), len(u), nil)
	for i, k := range s.problem.Knobs {
		h := k.step(turn, u[i])
		if u[i]+h > 1 {
			h = -h
		}
		p := append(Params(nil), x.params...)
		p[i].Value = k.at(u[i] + h)
		y, err := at(p)
		if err != nil {
			return nil, err
		}
		moved := k.place(p[i].Value) - u[i]
		if moved == 0 || len(y.residuals) != len(r) {
			continue
		}
		for row, v := range weighted(y.residuals) {
			j.Set(row, i, (v-r[row])/moved)
		}
	}
	return j, nil
}

// confused is the condition number above which two knobs do so nearly the
// same that their values are not to be believed one by one: at 30 a noise of
// 1 % in the data becomes up to 30 % in a difference of scaled knobs.
const confused = 30

// identify says how well the points determine the knobs that matter: each
// knob's lever, the condition number of the Jacobian with its columns scaled
// to unit length (so that units do not matter), and the pair that looks most
// alike. It needs one simulation a knob, beyond the budget.
func (s *search) identify(f *Fit) error {
	if len(s.best.residuals) == 0 {
		return nil
	}
	j, err := s.jacobian(s.best, 0.01, s.beyond)
	if err != nil {
		return err
	}
	var columns [][]float64
	var names []string
	for i := range f.Knobs {
		column := mat.Col(nil, i, j)
		f.Knobs[i].Moves = norm(column)
		if f.Knobs[i].Moves < math.Sqrt(lossFloor) {
			// A turn through the whole range moves nothing.
			f.Knobs[i].Idle = f.Knobs[i].Value == f.Knobs[i].Start
			continue
		}
		if f.Knobs[i].Idle {
			continue
		}
		for n := range column {
			column[n] /= f.Knobs[i].Moves
		}
		columns, names = append(columns, column), append(names, f.Knobs[i].Name)
	}
	if len(columns) < 2 {
		return nil
	}
	scaled := mat.NewDense(len(columns[0]), len(columns), nil)
	for i, c := range columns {
		scaled.SetCol(i, c)
	}
	var svd mat.SVD
	if !svd.Factorize(scaled, mat.SVDNone) {
		return nil
	}
	values := svd.Values(nil)
	smallest := values[len(values)-1]
	f.Condition = 1e9 // as good as singular; a number, since reports carry it
	if smallest > values[0]/1e9 {
		f.Condition = values[0] / smallest
	}
	if f.Condition > confused {
		f.Confounded = alike(columns, names)
	}
	return nil
}

// alike are the two columns of unit length with the smallest angle.
func alike(columns [][]float64, names []string) (pair [2]string) {
	most := -1.0
	for a := range columns {
		for b := range a {
			dot := 0.0
			for n := range columns[a] {
				dot += columns[a][n] * columns[b][n]
			}
			if math.Abs(dot) > most {
				most, pair = math.Abs(dot), [2]string{names[b], names[a]}
			}
		}
	}
	return pair
}

func norm(x []float64) float64 {
	sum := 0.0
	for _, v := range x {
		sum += v * v
	}
	return math.Sqrt(sum)
}
