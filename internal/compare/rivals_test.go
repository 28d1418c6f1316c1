package compare

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"calrun/internal/trace"
)

// rivals compares two simulators of one world: a as the world has it, b with
// another factor and other chances.
func rivals(t *testing.T, w world, factor float64, opt Options) *Rivalry {
	t.Helper()
	measured, a := w.sides()
	w.factor, w.chance = factor, w.chance+1
	_, b := w.sides()
	r, err := Rivals(measured, Simulation{Points: a}, Simulation{Points: b}, opt)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// meanOf finds a mean over points.
func meanOf(t *testing.T, r *Rivalry, group, metric, stat string) RivalCell {
	t.Helper()
	for _, c := range r.Means {
		if c.Group == group && c.Metric == metric && c.Stat == stat {
			return c
		}
	}
	t.Fatalf("no mean of %s %s %s", group, metric, stat)
	return RivalCell{}
}

// A simulator that is off is told from one that is not, and never taken for
// the closer one; of two that err by chance alone, and as far, neither is
// called closer but in one world of twenty.
func TestAcceptanceRivals(t *testing.T) {
	if raced {
		t.Skip("nothing here runs in parallel that TestDeterminism does not")
	}
	worlds := worldsOf(12, 400)
	for _, c := range []struct {
		why         string
		own, factor float64 // of a and of b
		seeds, n    int
		rates       []float64
		a, b, never float64 // shares of worlds: at least a, at most b for the other, at most never for either
	}{
		{"8 % off, five seeds", 1, 1.08, 5, 120, []float64{2, 4}, 0.95, 0, 1},
		{"8 % off, one seed", 1, 1.08, 1, 400, []float64{2, 3}, 0.95, 0, 1},
		{"equal, five seeds", 1, 1, 5, 120, []float64{2, 4}, 0, 1, 0.07},
		{"equal, one seed", 1, 1, 1, 400, []float64{2, 3}, 0, 1, 0.07},
		{"as far off, five seeds", 1.08, 1.08, 5, 120, []float64{2, 4}, 0, 1, 0.07},
		{"as far off, one seed", 1.08, 1.08, 1, 400, []float64{2, 3}, 0, 1, 0.07},
	} {
		got := map[string]int{}
		for from := range worlds {
			w := world{rates: c.rates, seeds: c.seeds, n: c.n, factor: c.own, jitter: 0.1, noise: 0.1, from: uint64(from + 1)}
			r := rivals(t, w, c.factor, Options{Draws: 300, Seed: uint64(from)})
			got[r.Overall.Closer]++
			if r.Overall.Low == nil {
				t.Fatalf("%s: not judged: %s", c.why, r.Overall.Why)
			}
		}
		share := func(side string) float64 { return float64(got[side]) / float64(worlds) }
		slack := 3 * math.Sqrt(0.05*0.95/float64(worlds)) // of so few worlds
		either := share(CloserA) + share(CloserB)
		if share(CloserA) < c.a-slack || share(CloserB) > c.b || c.never < 1 && either > c.never+slack {
			t.Errorf("%s: %v of %d worlds", c.why, got, worlds)
		}
		t.Logf("%s: %v", c.why, got)
	}
}

// Intervals of a difference cover the truth, which 200 seeds of the same queue
// tell: also where the two err to different sides, so that nothing cancels.
func TestAcceptanceRivalsCoverage(t *testing.T) {
	if raced {
		t.Skip("nothing here runs in parallel that TestDeterminism does not")
	}
	worlds := worldsOf(8, 400)
	for _, c := range []struct{ a, b float64 }{{1.05, 1.12}, {1.05, 0.95}} {
		w := world{rates: []float64{4, 6}, seeds: 5, n: 200, factor: c.a, jitter: 0.2, noise: 0.1}
		many := w
		many.seeds, many.from = 200, 100000
		truth := map[string]float64{}
		for _, cell := range rivals(t, many, c.b, Options{Draws: 1, Scope: ScopeAll}).Cells {
			truth[cell.Point+" "+cell.Metric+" "+cell.Stat] = *cell.Difference
		}
		hits, all := 0, 0
		for from := range worlds {
			w.from = uint64(from + 1)
			for _, cell := range rivals(t, w, c.b, Options{Draws: 300, Scope: ScopeAll, Seed: uint64(from)}).Cells {
				if cell.Low == nil {
					continue
				}
				all++
				if at := truth[cell.Point+" "+cell.Metric+" "+cell.Stat]; *cell.Low <= at && at <= *cell.High {
					hits++
				}
			}
		}
		share := float64(hits) / float64(all)
		t.Logf("%g against %g: covered in %.3f of %d cells", c.a, c.b, share, all)
		if all == 0 || share < 0.92 {
			t.Errorf("%g against %g: covered in %.3f of %d cells, 0.92 is the least", c.a, c.b, share, all)
		}
	}
}

// Which simulation is named first changes nothing but the sign.
func TestRivalsSwap(t *testing.T) {
	w := world{rates: []float64{2, 4}, seeds: 2, n: 120, jitter: 0.1, noise: 0.1, probes: true, repeats: 3}
	measured, a := w.sides()
	w.factor, w.chance = 1.1, 1
	_, b := w.sides()
	opt := Options{Draws: 200, Seed: 3}
	one, err := Rivals(measured, Simulation{Points: a}, Simulation{Points: b}, opt)
	if err != nil {
		t.Fatal(err)
	}
	two, err := Rivals(measured, Simulation{Points: b}, Simulation{Points: a}, opt)
	if err != nil {
		t.Fatal(err)
	}
	mirror := map[string]string{CloserA: CloserB, CloserB: CloserA, CloserNone: CloserNone}
	judged := 0
	for i, c := range append(one.Cells, one.Means...) {
		d := append(two.Cells, two.Means...)[i]
		if c.Difference == nil || c.Low == nil {
			continue
		}
		judged++
		if *c.Difference != -*d.Difference || math.Abs(*c.Low+*d.High) > 1e-12 || math.Abs(*c.High+*d.Low) > 1e-12 || c.Closer != mirror[d.Closer] {
			t.Errorf("%+v, and the other way round %+v", c, d)
		}
		if *c.Difference != *c.APEA-*c.APEB {
			t.Errorf("%s %s: the difference %g is not that of %g and %g", c.Metric, c.Stat, *c.Difference, *c.APEA, *c.APEB)
		}
	}
	if judged < 30 {
		t.Errorf("only %d cells judged", judged)
	}
	for _, group := range []string{"sweep", "replay", "probe"} {
		if c := meanOf(t, one, group, "tpot", "mean"); c.Closer != CloserA {
			t.Errorf("%s: the simulator that is 10 %% slow is not found out: %+v", group, c)
		}
	}
}

// A difference's numbers are those of two comparisons with the engine.
func TestRivalsAgreeWithCompare(t *testing.T) {
	w := world{rates: []float64{2, 4}, seeds: 3, n: 120, jitter: 0.1, noise: 0.1, probes: true}
	byName := map[string]RivalCell{}
	for _, c := range rivals(t, w, 1.1, Options{Draws: 50}).Cells {
		byName[c.Point+c.Metric+c.Stat] = c
	}
	for _, c := range compared(t, w, Options{Draws: 50}).Detail.Cells {
		got, known := byName[c.Point+c.Metric+c.Stat]
		if !known && c.Metric == "throughput" {
			continue // probes have none
		}
		if (got.BiasA == nil) != (c.Bias == nil) || c.Bias != nil && (*got.BiasA != *c.Bias || *got.APEA != *c.APE) {
			t.Errorf("%s %s %s: %+v, compared alone %+v", c.Point, c.Metric, c.Stat, got, c)
		}
	}
}

// What speaks against a judgement is said, and no simulation gains by what it
// left out.
func TestRivalsDoubts(t *testing.T) {
	w := world{rates: []float64{2, 4}, seeds: 5, n: 120, jitter: 0.1}
	for _, c := range []struct {
		why    string
		change func(measured []trace.Point, a, b *Simulation)
		cell   string // reason of a cell of rps-2
		all    string // reason of the mean
	}{
		{"the same", func(_ []trace.Point, a, b *Simulation) { *b = *a }, "both say the same", "both say the same"},
		{"fitted", func(_ []trace.Point, _, b *Simulation) { b.FittedOn = []string{"rps-2"} }, "simulation b was fitted on it", ""},
		{"all fitted", func(_ []trace.Point, a, b *Simulation) {
			a.FittedOn, b.FittedOn = []string{"rps-4"}, []string{"rps-2"}
		}, "simulation b was fitted on it", "no cell can be judged"},
		{"crashed", func(_ []trace.Point, a, _ *Simulation) {
			a.Points[0].Runs[2].Rows, a.Points[0].Runs[2].State, a.Points[0].Runs[2].Reason = nil, trace.Crashed, "out of blocks"
		}, "simulation a: the simulator's run is crashed at rps-2: out of blocks", "simulation a: the simulator's run is crashed at rps-2: out of blocks"},
		{"other requests", func(_ []trace.Point, _, b *Simulation) {
			b.Points[0].Runs[0].Rows[3].Tokens++
		}, "simulation b: 1 of 600 requests differ", "simulation b: 1 of 600 requests differ"},
	} {
		measured, a := w.sides()
		v := w
		v.factor = 1.1
		_, b := v.sides()
		x, y := Simulation{Points: a}, Simulation{Points: b}
		c.change(measured, &x, &y)
		r, err := Rivals(measured, x, y, Options{Draws: 100})
		if err != nil {
			t.Fatalf("%s: %v", c.why, err)
		}
		for _, cell := range r.Cells {
			if cell.Point == "rps-2" && cell.Metric == "tpot" && cell.Stat == "p50" && (!strings.HasPrefix(cell.Why, c.cell) || cell.Closer != CloserNone) {
				t.Errorf("%s: cell %+v", c.why, cell)
			}
		}
		if !strings.HasPrefix(r.Overall.Why, c.all) || (r.Overall.Closer == CloserNone) != (c.all != "") {
			t.Errorf("%s: overall %+v", c.why, r.Overall)
		}
	}
	measured, a := w.sides()
	if _, err := Rivals(measured, Simulation{Points: a}, Simulation{Points: a[:1]}, Options{}); err == nil || !strings.Contains(err.Error(), "simulation b: compare: the measurement has the point rps-4") {
		t.Errorf("a point is missing: %v", err)
	}
}

// One seed leaves tails open, in the same words as a comparison does.
func TestRivalsOneSeed(t *testing.T) {
	r := rivals(t, world{rates: []float64{2, 3}, seeds: 1, n: 400, jitter: 0.1}, 1.1, Options{Draws: 100})
	for _, c := range r.Cells {
		tail := c.Stat == "p90" || c.Stat == "p95" || c.Stat == "p99"
		if tail != (c.Why == "one seed: tails not judged") {
			t.Errorf("%s %s %s: %q", c.Point, c.Metric, c.Stat, c.Why)
		}
	}
	if c := meanOf(t, r, "sweep", "e2e", "p99"); c.Closer != CloserNone || c.Why != "one seed: tails not judged" {
		t.Errorf("%+v", c)
	}
	if want := fmt.Sprintf("%d", 2*(3*2+1)); fmt.Sprint(r.Overall.Cells) != want {
		t.Errorf("the mean is over %d cells, want %s", r.Overall.Cells, want)
	}
}
