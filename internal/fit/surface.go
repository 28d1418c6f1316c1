package fit

import (
	"maps"
	"math"
	"slices"

	"gonum.org/v1/gonum/mat"
)

// surface is a response surface (Box and Wilson 1951): each row as a quadratic
// function of the knobs' places near the best sample, fitted to a few dozen
// simulations. A discrete-event simulator is rough: a microsecond in a step's
// time puts a request into another batch, and means move by half a percent.
// Differences between two simulations drown in it, and the lowest of many
// costs is the luckiest; the surface averages it out.
type surface struct {
	centre []float64  // place
	reach  []float64  // how far from the centre, by knob, it was sampled
	terms  *mat.Dense // term × row, in the order of terms
	rough  float64    // sum of squares that a simulation differs by from it
}

const (
	// visible is the change of the residuals, root mean square, to which each
	// knob is turned alone: far above the roughness, below where a quadratic
	// function ends.
	visible = 0.1
	// widest is the largest share of a range that a surface reaches.
	widest = 0.25
	// recentred is how often a surface is moved to where it says that the
	// optimum is, if that is at its edge.
	recentred = 3
)

// judge fits the surface round the best sample and takes its lowest place for
// the best, where simulating that place does not contradict it by more than
// the roughness. It yields the weighted residuals and their slopes there, and
// how far each knob was turned. It costs 6 + 8 simulations a knob each time
// that it is centred, beyond the budget.
func (s *search) judge() (r []float64, j *mat.Dense, reach []float64, err error) {
	for n := range recentred {
		f, err := s.surface()
		if err != nil {
			return nil, nil, nil, err
		}
		u, edge := f.lowest(s)
		if x, err := s.nearby(u); err != nil {
			return nil, nil, nil, err
		} else if x.holds && s.settles(x) && x.cost <= s.best.cost+2*f.rough {
			s.best = x
		}
		r, j = f.at(s.where(s.best), len(s.best.residuals))
		reach = f.reach
		if !edge || n == recentred-1 {
			break
		}
	}
	return r, j, reach, nil
}

// settles says that a sample may stand for the fit: the start was beaten, and
// is beaten still.
func (s *search) settles(x *sample) bool { return s.best != s.start && s.gains(x) }

// nearby simulates a place beside the search.
func (s *search) nearby(u []float64) (*sample, error) {
	p := make(Params, len(u))
	for i, k := range s.problem.Knobs {
		p[i] = Value{Name: k.Name, Value: k.at(u[i])}
	}
	return s.beside(p)
}

// surface simulates a design round the best sample and fits to it.
func (s *search) surface() (*surface, error) {
	d := len(s.best.params)
	f := &surface{centre: s.where(s.best), reach: make([]float64, d)}
	for i := range d {
		var err error
		if f.reach[i], err = s.reach(i); err != nil {
			return nil, err
		}
	}
	for n := range 6 + 6*d {
		u := make([]float64, d)
		for i := range u {
			u[i] = min(max(f.centre[i]+f.reach[i]*(2*halton(n+1, i)-1), 0), 1)
		}
		if _, err := s.nearby(u); err != nil {
			return nil, err
		}
	}
	var places, rows [][]float64
	// Whatever the search left there tells as much.
	for _, key := range slices.Sorted(maps.Keys(s.seen)) {
		x := s.seen[key]
		u, r := s.where(x), s.rows(x)
		if f.reaches(u) && len(r) == len(s.rows(s.best)) && x.loss < worst {
			places, rows = append(places, u), append(rows, r)
		}
	}
	f.fit(places, rows)
	return f, nil
}

// reaches says whether a place is within the surface.
func (f *surface) reaches(u []float64) bool {
	for i, v := range u {
		if math.Abs(v-f.centre[i]) > f.reach[i]*(1+1e-9) {
			return false
		}
	}
	return true
}

// reach is how far the knob is turned so that the change is visible.
func (s *search) reach(i int) (float64, error) {
	r, h := weighted(s.best.residuals), 0.02
	for range 2 {
		y, moved, err := s.turned(s.best, i, h, s.beside)
		if err != nil {
			return 0, err
		}
		to := weighted(y.residuals)
		if moved == 0 || len(to) != len(r) {
			return h, nil
		}
		change := make([]float64, len(r))
		for n := range r {
			change[n] = to[n] - r[n]
		}
		if lever := norm(change) / math.Abs(moved); lever > 0 {
			h = min(max(visible/lever, 1e-4), widest)
		} else {
			h = widest
		}
	}
	return h, nil
}

// terms are 1, the knobs, and their products, in units of the reach; without
// products where the design is too small for them.
func (f *surface) termsAt(u []float64, products bool) []float64 {
	t := []float64{1}
	for i := range u {
		t = append(t, (u[i]-f.centre[i])/f.reach[i])
	}
	for i := range u {
		for k := i; products && k < len(u); k++ {
			t = append(t, t[1+i]*t[1+k])
		}
	}
	return t
}

func (f *surface) fit(places, rows [][]float64) {
	d := len(f.centre)
	products := len(places) >= 2*(1+d+d*(d+1)/2)
	var a, y *mat.Dense
	for n, u := range places {
		t := f.termsAt(u, products)
		if a == nil {
			a, y = mat.NewDense(len(places), len(t), nil), mat.NewDense(len(places), len(rows[n]), nil)
		}
		a.SetRow(n, t)
		y.SetRow(n, rows[n])
	}
	_, terms := a.Dims()
	// A ridge keeps a knob that an end of its range holds still from upsetting
	// the others.
	var ata, aty mat.Dense
	ata.Mul(a.T(), a)
	for n := range terms {
		ata.Set(n, n, ata.At(n, n)+1e-9)
	}
	aty.Mul(a.T(), y)
	f.terms = new(mat.Dense)
	if err := f.terms.Solve(&ata, &aty); err != nil && f.terms.IsEmpty() {
		f.terms.CloneFrom(&aty)
	}
	var left mat.Dense
	left.Mul(a, f.terms)
	left.Sub(y, &left)
	if free := len(places) - terms; free > 0 {
		f.rough = math.Pow(mat.Norm(&left, 2), 2) / float64(free)
	}
}

// at are the first so many rows at a place, and their slopes.
func (f *surface) at(u []float64, rows int) (r []float64, j *mat.Dense) {
	d := len(u)
	terms, all := f.terms.Dims()
	t := f.termsAt(u, terms > 1+d)
	r, j = make([]float64, rows), mat.NewDense(rows, d, nil)
	for row := range min(rows, all) {
		for n, v := range t {
			r[row] += v * f.terms.At(n, row)
		}
		for i := range d {
			slope := f.terms.At(1+i, row)
			n := 1 + d
			for a := 0; a < d && terms > 1+d; a++ {
				for b := a; b < d; b++ {
					if a == i {
						slope += t[1+b] * f.terms.At(n, row)
					}
					if b == i {
						slope += t[1+a] * f.terms.At(n, row)
					}
					n++
				}
			}
			j.Set(row, i, slope/f.reach[i])
		}
	}
	return r, j
}

// lowest is the place of the smallest cost on the surface, by damped
// Gauss–Newton steps that stay on it; edge says that it would go on.
func (f *surface) lowest(s *search) (u []float64, edge bool) {
	u = slices.Clone(f.centre)
	_, rows := f.terms.Dims()
	cost := func(u []float64) float64 {
		r, _ := f.at(u, rows)
		c := norm(r)
		return c * c
	}
	damping := 1e-3
	for range 30 {
		r, j := f.at(u, rows)
		var jtj mat.Dense
		jtj.Mul(j.T(), j)
		var g mat.VecDense
		g.MulVec(j.T(), mat.NewVecDense(len(r), r))
		step := solve(&jtj, &g, u, damping)
		if step == nil {
			break
		}
		to := make([]float64, len(u))
		edge = false
		for i := range u {
			low, high := max(f.centre[i]-f.reach[i], 0), min(f.centre[i]+f.reach[i], 1)
			to[i] = min(max(u[i]-step[i], low), high)
			edge = edge || to[i] != u[i]-step[i] && to[i] > 0 && to[i] < 1
		}
		if cost(to) >= cost(u) {
			if damping *= 8; damping > 1e6 {
				break
			}
			continue
		}
		u, damping = to, max(damping/4, 1e-9)
	}
	return u, edge
}
