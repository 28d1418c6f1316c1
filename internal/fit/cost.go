package fit

import "math"

// The search lowers a cost, the sum of squares of [search.rows]:
//
//   - the weighted residuals, whose squares sum to the [Loss];
//   - for each statistic that was within the problem's tolerance at the start,
//     by how much it is outside now, at ten times its weight. What breaks one
//     is never the result, however small its loss: a calibration must not
//     spoil what was right;
//   - for each knob with a spread, how many spreads it is from its start, at
//     priorRow each.
const brokenRow = 10

// priorRow is what a knob's distance from its start by one spread weighs: as
// much as an error of 0.2 % in every statistic. It decides between values that
// the points cannot tell apart, and nothing else.
const priorRow = 0.002

// rows are what least squares sees of a sample.
func (s *search) rows(x *sample) []float64 {
	return append(append(weighted(x.residuals), s.broken(x)...), s.prior(x.params)...)
}

// price sets what a sample costs and whether it holds.
func (s *search) price(x *sample) {
	x.cost, x.holds = x.loss, true
	for _, v := range s.broken(x) {
		x.cost += v * v
		x.holds = x.holds && v == 0
	}
	for _, v := range s.prior(x.params) {
		x.cost += v * v
	}
}

// broken is by how much each statistic of the start that was within the
// tolerance has left it. Before there is a start, nothing can be broken.
func (s *search) broken(x *sample) []float64 {
	if s.start == nil || s.problem.Tolerance == 0 {
		return nil
	}
	total := 0.0
	for _, r := range s.start.residuals {
		total += r.Weight
	}
	out := make([]float64, len(s.start.residuals))
	for i, r := range s.start.residuals {
		if math.Abs(r.Log) > s.problem.Tolerance {
			continue
		}
		now, ok := find(x.residuals, i, r)
		if !ok {
			continue
		}
		if over := math.Abs(now.Log) - s.problem.Tolerance; over > 0 {
			out[i] = math.Sqrt(brokenRow*r.Weight/total) * over
		}
	}
	return out
}

// find is the residual of the same statistic as r, most likely at place i.
func find(rs []Residual, i int, r Residual) (Residual, bool) {
	same := func(x Residual) bool {
		return x.Point == r.Point && x.Metric == r.Metric && x.Statistic == r.Statistic
	}
	if i < len(rs) && same(rs[i]) {
		return rs[i], true
	}
	for _, x := range rs {
		if same(x) {
			return x, true
		}
	}
	return Residual{}, false
}

// prior is how far each knob is from its start, weighed.
func (s *search) prior(p Params) []float64 {
	out := make([]float64, len(p))
	for i, k := range s.problem.Knobs {
		if k.Spread > 0 {
			out[i] = priorRow * k.distance(p[i].Value) / k.Spread
		}
	}
	return out
}

// distance is how far a value is from the knob's start: the logarithm of their
// ratio for a factor, else their difference.
func (k Knob) distance(v float64) float64 {
	if k.Factor && v > 0 && k.Start > 0 {
		return math.Log(v / k.Start)
	}
	return v - k.Start
}

// withheld names the statistic for whose sake a better fit was not taken: of
// the smallest loss that breaks something, what it breaks most. It is empty
// where nothing better was given up.
func (s *search) withheld() string {
	t := s.tempting
	if t == nil || s.best.loss-t.loss <= max(slack*s.best.loss, lossFloor) {
		return ""
	}
	most, name := 0.0, ""
	for i, v := range s.broken(t) {
		if v > most {
			r := s.start.residuals[i]
			most, name = v, r.Metric+" "+r.Statistic+" of "+r.Point
		}
	}
	return name
}
