package steps

import (
	"context"
	"math"
	"slices"

	"calrun/internal/fit"
	"calrun/internal/trace"
)

// twin answers for a simulator that takes seconds what the embedded one
// computes in milliseconds, with the other's scheduler and the same profile.
// Where the slow one was asked, the anchors, it answers as that one did, to
// the request; elsewhere the embedded one's times are corrected, request by
// request, by how the two differed at the anchors, the nearer the more
// (response correction, as in the space mapping of Bandler et al. 1994; weights
// by Shepard 1968). What the embedded simulator must get right is how times
// change with a knob, not the times.
type twin struct {
	start   Params // the knobs are laid on top of
	knobs   []fit.Knob
	near    whatIf
	anchors []anchor

	// How the two differ: by a ratio, as queues do, or by a difference, as
	// with a constant. Which of them foretold the last anchor better decides.
	by correction
}

// anchor is a place at which the slow simulator was asked.
type anchor struct {
	values fit.Params
	points []trace.Point
	apart  [2]map[runOf][]times // by correction and request
	failed bool                 // a point crashed, so that there is nothing to correct by
}

// runOf names a run.
type runOf struct {
	point string
	seed  int
}

// times are those of a request until its first token and from there to its
// last: in seconds, or what a correction makes of two such.
type times struct{ first, rest float64 }

func timesOf(r trace.Row) times {
	return times{(r.First - r.Due).Seconds(), (r.Last - r.First).Seconds()}
}

// correction is a way in which two simulators differ.
type correction int

const (
	ratio correction = iota
	difference
)

// between is how the slow simulator's time differs from the embedded one's.
func (c correction) between(slow, near float64) float64 {
	switch {
	case slow <= 0 || near <= 0:
		return 0
	case c == ratio:
		return math.Log(slow / near)
	}
	return slow - near
}

// apply corrects the embedded one's time. None becomes shorter than a tenth.
func (c correction) apply(near, by float64) float64 {
	if c == ratio {
		return near * math.Exp(by)
	}
	return max(near/10, near+by)
}

// learn adds what the slow simulator says at a place.
func (t *twin) learn(ctx context.Context, values fit.Params, said []trace.Point) error {
	a := anchor{values: slices.Clone(values), points: said}
	a.failed = slices.ContainsFunc(said, crashed)
	if a.failed {
		t.anchors = append(t.anchors, a)
		return nil
	}
	if err := t.choose(ctx, a); err != nil {
		return err
	}
	near, err := t.embedded(ctx, said, values)
	if err != nil {
		return err
	}
	for c := range a.apart {
		a.apart[c] = map[runOf][]times{}
		for i, p := range said {
			for j, r := range p.Runs {
				a.apart[c][runOf{p.Name, r.Seed}] = correction(c).all(r.Rows, near[i].Runs[j].Rows)
			}
		}
	}
	t.anchors = append(t.anchors, a)
	return nil
}

// crashed says that a run of the point could not be simulated.
func crashed(p trace.Point) bool {
	return slices.ContainsFunc(p.Runs, func(r trace.Run) bool { return r.State == trace.Crashed })
}

// all is how the rows of a run differ; not at all where either has none.
func (c correction) all(slow, near []trace.Row) []times {
	out := make([]times, len(near))
	for n := range min(len(slow), len(near)) {
		if slow[n].OK() && near[n].OK() {
			s, e := timesOf(slow[n]), timesOf(near[n])
			out[n] = times{c.between(s.first, e.first), c.between(s.rest, e.rest)}
		}
	}
	return out
}

// choose takes the correction that foretells a new anchor better.
func (t *twin) choose(ctx context.Context, a anchor) error {
	if len(t.anchors) == 0 {
		return nil
	}
	var off [2]float64
	for c := range off {
		t.by = correction(c)
		foretold, err := t.simulate(ctx, a.values)
		if err != nil {
			return err
		}
		for i, p := range a.points {
			for j, r := range p.Runs {
				for _, d := range ratio.all(r.Rows, foretold[i].Runs[j].Rows) {
					off[c] += d.first*d.first + d.rest*d.rest
				}
			}
		}
	}
	t.by = ratio
	if off[difference] < off[ratio] {
		t.by = difference
	}
	return nil
}

// embedded is what the embedded simulator says of the points.
func (t *twin) embedded(ctx context.Context, points []trace.Point, values fit.Params) ([]trace.Point, error) {
	p, err := over(t.start, values)
	if err != nil {
		return nil, err
	}
	return t.near(ctx, points, p)
}

// simulate is a [fit.Simulate] of the anchors' points.
func (t *twin) simulate(ctx context.Context, values fit.Params) ([]trace.Point, error) {
	nearest, weights := t.weigh(values)
	if a := t.anchors[nearest]; a.failed || t.distance(a.values, values) == 0 {
		return a.points, nil // where it crashed nearby, it would crash here too
	}
	points, err := t.embedded(ctx, t.anchors[nearest].points, values)
	if err != nil {
		return nil, err
	}
	return t.corrected(points, weights), nil
}

// weigh says which anchor is the nearest, and what each counts at a place.
func (t *twin) weigh(values fit.Params) (nearest int, weights []float64) {
	const least = 1e-9 // of the ranges: an anchor that is met counts alone
	weights = make([]float64, len(t.anchors))
	sum, closest := 0.0, math.Inf(1)
	for k, a := range t.anchors {
		d := t.distance(a.values, values)
		if d < closest {
			nearest, closest = k, d
		}
		if !a.failed {
			weights[k] = 1 / max(d*d, least*least)
			sum += weights[k]
		}
	}
	for k := range weights {
		weights[k] /= sum
	}
	return nearest, weights
}

// elsewhere answers for a point at which the slow simulator was not asked,
// corrected as it is at the point with the same requests.
func (t *twin) elsewhere(ctx context.Context, x proposal, values fit.Params) ([]trace.Point, error) {
	name := x.point.Name
	x.point.Name = x.like
	points, err := t.embedded(ctx, []trace.Point{x.point}, values)
	if err != nil {
		return nil, err
	}
	_, weights := t.weigh(values)
	points = t.corrected(points, weights)
	points[0].Name = name
	return points, nil
}

// whatIf answers for any requests and parameters, corrected by what the slow
// simulator said of the same run with others; the only anchor is its base.
func (t *twin) whatIf(ctx context.Context, points []trace.Point, p Params) ([]trace.Point, error) {
	out, err := t.near(ctx, points, p)
	if err != nil {
		return nil, err
	}
	return t.corrected(out, []float64{1}), nil
}

// corrected corrects what the embedded simulator said by the anchors, weighed.
func (t *twin) corrected(points []trace.Point, weights []float64) []trace.Point {
	for i, p := range points {
		for j, r := range p.Runs {
			apart := make([][]times, len(t.anchors))
			for k, a := range t.anchors {
				apart[k] = a.apart[t.by][runOf{p.Name, r.Seed}]
			}
			points[i].Runs[j].Rows = t.rows(r.Rows, apart, weights)
		}
	}
	return points
}

func (t *twin) rows(near []trace.Row, apart [][]times, weights []float64) []trace.Row {
	out := slices.Clone(near)
	for n, row := range near {
		if !row.OK() {
			continue
		}
		var by times
		for k, w := range weights {
			if w > 0 && n < len(apart[k]) {
				by.first += w * apart[k][n].first
				by.rest += w * apart[k][n].rest
			}
		}
		is := timesOf(row)
		out[n].First = row.Due + trace.FromSeconds(t.by.apply(is.first, by.first))
		out[n].Last = out[n].First + trace.FromSeconds(t.by.apply(is.rest, by.rest))
	}
	return out
}

// distance is between two places, in shares of the knobs' ranges.
func (t *twin) distance(a, b fit.Params) float64 {
	sum := 0.0
	for i, k := range t.knobs {
		d := (a[i].Value - b[i].Value) / (k.Hi - k.Lo)
		sum += d * d
	}
	return math.Sqrt(sum)
}
