package compare

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"calrun/internal/stats"
	"calrun/internal/trace"
)

// Simulation is one of two simulations of a measurement.
type Simulation struct {
	Points   []trace.Point
	FittedOn []string // points that its parameters were fitted on; "probes" is all of them
}

// Rivalry says which of two simulations of one measurement is closer to it.
type Rivalry struct {
	Overall RivalCell   `json:"overall" doc:"the mean over the judged cells of the sweep; where there is no sweep of the replay, else of the probes"`
	Means   []RivalCell `json:"means" doc:"over the points of a group that neither was fitted on: of all its judged cells, then by metric and statistic"`
	Cells   []RivalCell `json:"cells" doc:"every cell of every point"`
}

// RivalCell is the error of both simulations in one number of one point, or in
// a mean of such. Errors are relative, (S−R)/R.
type RivalCell struct {
	Group      string   `json:"group" doc:"probe, sweep or replay"`
	Point      string   `json:"point" doc:"name of the point; empty in a mean"`
	Metric     string   `json:"metric" doc:"ttft, tpot, e2e or throughput; all in the mean of a group's judged cells"`
	Stat       string   `json:"stat" doc:"p50, p90, p95, p99, mean or rate; empty where metric is all"`
	Cells      int      `json:"cells" doc:"how many cells the numbers are a mean of"`
	BiasA      *float64 `json:"bias_a" doc:"signed error of the first simulation, (S−R)/R"`
	BiasB      *float64 `json:"bias_b" doc:"signed error of the second"`
	APEA       *float64 `json:"ape_a" doc:"|bias| of the first, or its mean over cells"`
	APEB       *float64 `json:"ape_b" doc:"|bias| of the second, or its mean over cells"`
	Difference *float64 `json:"difference" doc:"ape_a − ape_b: below 0 the first is closer"`
	Low        *float64 `json:"low" doc:"lower end of the 95 % interval of difference"`
	High       *float64 `json:"high" doc:"upper end of it"`
	Closer     string   `json:"closer" doc:"a, b or undecided"`
	Why        string   `json:"why" doc:"why it is undecided"`
}

// The findings of a [RivalCell].
const (
	CloserA    = "a"
	CloserB    = "b"
	CloserNone = "undecided"
)

// Rivals sets two simulations of one measurement against each other. Every
// draw resamples the measurement and both simulations alike (the same seeds,
// the same blocks of requests), so that what the engine's noise does to both
// errors cancels in their difference; its interval is a percentile interval of
// those draws. Doubts are those of [Compare], and blocks are as long as the
// longest memory of the three series: each simulation against the engine, and
// the two against each other.
func Rivals(measured []trace.Point, a, b Simulation, opt Options) (*Rivalry, error) {
	opt, err := opt.checked()
	if err != nil {
		return nil, err
	}
	r := &rivalry{}
	for k, s := range [...]Simulation{a, b} {
		if r.sides[k], err = pairUp(measured, s.Points); err != nil {
			return nil, fmt.Errorf("simulation %s: %w", rivalNames[k], err)
		}
		inOrder(r.sides[k])
		r.fittedOn[k] = s.FittedOn
	}
	r.builder = newBuilder(slices.Concat(r.sides[0], r.sides[1]), opt)
	r.judge()
	r.prepare()
	r.loads()
	for i := range r.sides[0] {
		r.remember(i)
	}
	r.resample()
	r.contrast()
	return &r.out, nil
}

// rivalNames are the two simulations in messages.
var rivalNames = [...]string{CloserA, CloserB}

// rivalry builds a [Rivalry]. Its builder holds the pairs of both simulations,
// so that points of the same shape are one family and share their draws.
type rivalry struct {
	*builder
	sides    [2][]*pair // the same points in the same order
	fittedOn [2][]string
	out      Rivalry
}

// rivalEntry is a cell with the draws of its difference.
type rivalEntry struct {
	RivalCell
	draws []float64
	fault string // why one of the simulations has no number here, and so none in a mean
}

// remember gives the samples of a point the longest memory of the three
// series.
func (r *rivalry) remember(i int) {
	a, b := r.sides[0][i], r.sides[1][i]
	if a.missing != "" || b.missing != "" {
		return
	}
	between := a.between(b)
	for metric := range r.samples[a] {
		both := [...]*sample{r.samples[a][metric], r.samples[b][metric]}
		if both[0].n == 0 || both[1].n == 0 {
			continue
		}
		memories := [...]stats.Memory{both[0].memory, both[1].memory, newSample(between, metric).memory}
		for _, s := range both {
			for _, m := range memories {
				s.remember(m)
			}
		}
	}
}

// between is the pair of both simulations, over the requests that have a value
// on all sides.
func (p *pair) between(other *pair) *pair {
	out := &pair{measured: p.measured, runs: p.runs, seeds: p.seeds}
	for metric, values := range p.values {
		for i, v := range values[sim] {
			w := other.values[metric][sim][i]
			if math.IsNaN(v) || math.IsNaN(w) {
				v, w = math.NaN(), math.NaN()
			}
			out.values[metric][eng] = append(out.values[metric][eng], v)
			out.values[metric][sim] = append(out.values[metric][sim], w)
		}
	}
	out.tokens = [2][]float64{p.tokens[sim], other.tokens[sim]}
	return out
}

// contrast makes the cells and their means.
func (r *rivalry) contrast() {
	for _, group := range []trace.Group{trace.Sweep, trace.Replay, trace.Probe} {
		var held []rivalEntry
		points := 0
		for i, p := range r.sides[0] {
			if p.measured.Group != group {
				continue
			}
			points++
			for metric := range throughput + 1 {
				for stat := range statNames {
					if metric == throughput && (stat != mean || p.measured.Alone()) {
						continue
					}
					e := r.rival(i, metric, stat)
					r.out.Cells = append(r.out.Cells, e.RivalCell)
					if r.fittedBy(i) == "" && (metric == throughput || r.compared(p)) {
						held = append(held, e)
					}
				}
			}
		}
		if points > 0 {
			r.means(group, held)
		}
	}
	if len(r.out.Means) > 0 {
		r.out.Overall = r.out.Means[0]
	}
}

// fittedBy names the simulation that was fitted on a point, "" if neither was.
func (r *rivalry) fittedBy(i int) string {
	for k, name := range rivalNames {
		if r.sides[k][i].among(r.fittedOn[k]) {
			return name
		}
	}
	return ""
}

// rival compares the errors in a statistic of point i.
func (r *rivalry) rival(i, metric, stat int) rivalEntry {
	p := r.sides[0][i]
	e := rivalEntry{RivalCell: RivalCell{Group: string(p.measured.Group), Point: p.measured.Name, Cells: 1, Closer: CloserNone}}
	e.Metric, e.Stat = cellName(metric, stat)
	for k, name := range rivalNames {
		if q := r.sides[k][i]; e.fault == "" && cmp.Or(q.missing, q.unlike) != "" {
			e.fault = "simulation " + name + ": " + cmp.Or(q.missing, q.unlike)
		}
	}
	a, b := r.sample(r.sides[0][i], metric), r.sample(r.sides[1][i], metric)
	if e.Why = e.fault; a == nil || b == nil {
		return e
	}
	e.Why = cmp.Or(e.Why, r.doubt(a, stat), r.doubt(b, stat))
	if a.n == 0 || b.n == 0 || !(a.at.log[eng][stat] > logOf(0)) || metric != throughput && !r.compared(p) {
		return e
	}
	e.errors(a.bias(stat), b.bias(stat))
	e.draws = make([]float64, len(a.draws.value[stat]))
	for d := range e.draws {
		e.draws[d] = math.Abs(a.draws.value[stat][d]) - math.Abs(b.draws.value[stat][d])
	}
	if by := r.fittedBy(i); by != "" {
		e.Why = cmp.Or(e.Why, "simulation "+by+" was fitted on it")
	}
	e.judge()
	return e
}

func (e *rivalEntry) errors(a, b float64) {
	e.BiasA, e.BiasB = number(a), number(b)
	e.APEA, e.APEB = number(math.Abs(a)), number(math.Abs(b))
	e.Difference = number(math.Abs(a) - math.Abs(b))
}

// judge reads the interval off the draws and says which simulation is closer,
// unless something speaks against it.
func (e *rivalEntry) judge() {
	if e.Why != "" {
		return
	}
	draws := stats.Sorted(slices.DeleteFunc(slices.Clone(e.draws), math.IsNaN))
	low, high := stats.Quantile(draws, 0.025), stats.Quantile(draws, 0.975)
	e.Low, e.High = number(low), number(high)
	switch {
	case high < 0:
		e.Closer = CloserA
	case low > 0:
		e.Closer = CloserB
	case low == 0 && high == 0:
		e.Why = "both say the same"
	default:
		e.Why = "the interval holds 0: the data do not tell"
	}
}

// means enters the means over a group's cells: of all that can be judged, and
// by metric and statistic over all points.
func (r *rivalry) means(group trace.Group, cells []rivalEntry) {
	byName := map[[2]string][]rivalEntry{}
	var names [][2]string
	var judged []rivalEntry
	fault := ""
	for _, e := range cells {
		name := [2]string{e.Metric, e.Stat}
		if byName[name] == nil {
			names = append(names, name)
		}
		byName[name] = append(byName[name], e)
		fault = cmp.Or(fault, e.fault)
		if e.Low != nil {
			judged = append(judged, e)
		}
	}
	all := r.meanOf(group, [2]string{"all", ""}, judged, fault)
	r.out.Means = append(r.out.Means, all)
	for _, name := range names {
		var whys []string
		for _, e := range byName[name] {
			if e.Low == nil {
				whys = append(whys, e.Point+": "+e.Why)
			}
		}
		r.out.Means = append(r.out.Means, r.meanOf(group, name, byName[name], summary(whys, len(byName[name]))))
	}
}

// meanOf is the mean of cells, undecided if there is a reason for it.
func (r *rivalry) meanOf(group trace.Group, name [2]string, cells []rivalEntry, why string) RivalCell {
	e := rivalEntry{RivalCell: RivalCell{Group: string(group), Metric: name[0], Stat: name[1], Cells: len(cells), Closer: CloserNone, Why: why}}
	if len(cells) == 0 {
		e.Why = cmp.Or(why, "no cell can be judged")
		return e.RivalCell
	}
	var sums [4]float64
	e.draws = make([]float64, r.opt.Draws)
	for _, c := range cells {
		if c.Difference == nil {
			return e.RivalCell
		}
		for k, v := range [...]*float64{c.BiasA, c.BiasB, c.APEA, c.APEB} {
			sums[k] += *v / float64(len(cells))
		}
		for d, v := range c.draws {
			e.draws[d] += v / float64(len(cells))
		}
	}
	e.BiasA, e.BiasB, e.APEA, e.APEB = number(sums[0]), number(sums[1]), number(sums[2]), number(sums[3])
	e.Difference = number(sums[2] - sums[3])
	e.judge()
	return e.RivalCell
}
