package steps

import (
	"context"
	"math"
	"testing"
	"time"

	"calrun/internal/engine"
	"calrun/internal/fit"
	"calrun/internal/trace"
)

// What is said of a knob is said of the place that is taken, which need not be
// the one where the search on the twin ended.
func TestSlowlySpeaksOfThePlaceThatItTakes(t *testing.T) {
	said := func(front time.Duration) []trace.Point {
		p := []trace.Point{{Name: "rps-1", Group: trace.Sweep, Rate: 1, Runs: []trace.Run{{Seed: 1, Requests: evenly(60, time.Second)}}}}
		standInAnswers(p, front, 10*time.Millisecond)
		return p
	}
	place := func(a, b float64) fit.Params { return fit.Params{{Name: "a", Value: a}, {Name: "b", Value: b}} }
	knobs := []fit.Knob{{Name: "a", Hi: 1}, {Name: "b", Hi: 1}}
	const measured = 100 * time.Millisecond
	for _, c := range []struct {
		why     string
		fronts  [3]time.Duration // at the start, at (0.5, 0.5) and at (1, 0)
		ended   fit.Params       // where the search on the twin did
		taken   int
		bound   string // of a
		idle    bool   // b
		settled int
	}{
		{"the end of the search", [3]time.Duration{300, 200, 101}, place(1, 0), 2, "high", true, 2},
		{"a better place than its end", [3]time.Duration{300, 101, 200}, place(1, 0), 1, "", false, 2},
		{"none of those that are not better by more than luck", [3]time.Duration{300, 199, 200}, place(1, 0), 2, "high", true, 2},
		{"the start, where the search ended at it", [3]time.Duration{200, 199, 300}, place(0, 0), 0, "", false, 0},
		{"the best, where it ended nowhere", [3]time.Duration{300, 101, 200}, place(0.2, 0.9), 1, "", false, -1},
		{"the nearest of two that are near", [3]time.Duration{300, 200, 101}, place(0.995, 0), 2, "high", true, 2},
	} {
		f := &fit.Fit{Values: c.ended}
		for i, k := range knobs {
			v := c.ended[i].Value
			f.Knobs = append(f.Knobs, fit.KnobFit{Name: k.Name, Value: v, Bound: k.AtBound(v), Idle: v == 0, Interval: &fit.Interval{Low: v - 0.05, High: v + 0.05}})
		}
		s := &slowly{problem: fit.Problem{Measured: said(measured), Knobs: knobs}, twin: &twin{knobs: knobs}}
		for i, v := range []fit.Params{place(0, 0), place(0.5, 0.5), place(1, 0)} {
			s.twin.anchors = append(s.twin.anchors, anchor{values: v, points: said(c.fronts[i] * time.Millisecond)})
		}
		at := s.settled(f)
		if at != c.settled {
			t.Errorf("%s: settled at %d, want %d", c.why, at, c.settled)
		}
		if err := s.conclude(f, at); err != nil {
			t.Fatal(err)
		}
		want := s.twin.anchors[c.taken].values
		for i, k := range f.Knobs {
			if f.Values[i] != want[i] || k.Value != want[i].Value || k.Interval.Low > k.Value || k.Interval.High < k.Value {
				t.Errorf("%s: %+v and %v, want %v", c.why, k, f.Values, want)
			}
		}
		if f.Improved != (c.taken > 0) || f.Knobs[0].Bound != c.bound || f.Knobs[1].Idle != c.idle {
			t.Errorf("%s: improved %v, a at its %q bound, b idle: %v; want %q and %v", c.why, f.Improved, f.Knobs[0].Bound, f.Knobs[1].Idle, c.bound, c.idle)
		}
	}
}

// At a rate where the slow simulator was not asked, its twin is closer to it
// than the embedded simulator alone.
func TestTwinElsewhere(t *testing.T) {
	ctx := context.Background()
	slow := &foreign{}
	near, err := openWhatIf(embedded, stepProfile(t, "5ms").Path, Deployment{}, engine.Facts{})
	if err != nil {
		t.Fatal(err)
	}
	on := quick(4).measure(t, 20, 30)
	tw := &twin{near: near, knobs: []fit.Knob{{Name: "cpu_overhead_s", Hi: 0.02}}}
	at := func(v float64) (fit.Params, Params) {
		return fit.Params{{Name: "cpu_overhead_s", Value: v}}, Params{CPUOverhead: new(v)}
	}
	for _, v := range []float64{0, 2e-3} {
		values, params := at(v)
		said, err := slow.simulate(ctx, on, params)
		if err != nil {
			t.Fatal(err)
		}
		if err := tw.learn(ctx, values, said); err != nil {
			t.Fatal(err)
		}
	}
	values, params := at(2.5e-3)
	for _, x := range proposals(on) {
		truth, err := slow.simulate(ctx, []trace.Point{x.point}, params)
		if err != nil {
			t.Fatal(err)
		}
		far := func(points []trace.Point) float64 {
			rs, err := fit.Compare(truth, points, 0)
			if err != nil || len(rs) == 0 {
				t.Fatalf("%s: %d residuals, %v", x.point.Name, len(rs), err)
			}
			return math.Sqrt(fit.Loss(rs))
		}
		got, err := tw.elsewhere(ctx, x, values)
		if err != nil {
			t.Fatal(err)
		}
		alone, err := near(ctx, []trace.Point{x.point}, params)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: off by %.4f, the embedded simulator alone by %.4f", got[0].Name, far(got), far(alone))
		if got[0].Name != x.point.Name || far(got) >= far(alone) {
			t.Errorf("%s (%s): off by %g, the embedded simulator alone by %g", got[0].Name, x.point.Name, far(got), far(alone))
		}
	}
}
