package fit

import (
	"math"
	"slices"

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

// jacobian is the change of a sample's rows with each knob's place in its
// range, by a one-sided difference that stays in the box.
func (s *search) jacobian(x *sample, turn float64) (*mat.Dense, error) {
	r := s.rows(x)
	j := mat.NewDense(len(r), len(x.params), nil)
	for i := range x.params {
		y, moved, err := s.turned(x, i, turn, s.at)
		if err != nil {
			return nil, err
		}
		to := s.rows(y)
		if moved == 0 || len(to) != len(r) {
			continue
		}
		for row, v := range to {
			j.Set(row, i, (v-r[row])/moved)
		}
	}
	return j, nil
}

// turned simulates a sample with one knob turned by about a share of its
// range, the other way where that leaves the box, and says how far it went.
func (s *search) turned(x *sample, i int, turn float64, at func(Params) (*sample, error)) (y *sample, moved float64, err error) {
	k := s.problem.Knobs[i]
	u := k.place(x.params[i].Value)
	h := math.Copysign(k.step(math.Abs(turn), u), turn)
	if u+h > 1 || u+h < 0 {
		h = -h
	}
	p := slices.Clone(x.params)
	p[i].Value = k.at(u + h)
	y, err = at(p)
	return y, k.place(p[i].Value) - u, err
}

// confused is the condition number above which two knobs do so nearly the
// same that their values are not to be believed one by one: at 30 a noise of
// 1 % in the data becomes up to 30 % in a difference of scaled knobs.
const confused = 30

// identify says how well the points determine the knobs that matter: each
// knob's lever, the condition number of the slopes with their columns scaled
// to unit length (so that units do not matter), and the pair that looks most
// alike.
func (s *search) identify(f *Fit, j *mat.Dense) {
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
		return
	}
	scaled := mat.NewDense(len(columns[0]), len(columns), nil)
	for i, c := range columns {
		scaled.SetCol(i, c)
	}
	var svd mat.SVD
	if !svd.Factorize(scaled, mat.SVDNone) {
		return
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
