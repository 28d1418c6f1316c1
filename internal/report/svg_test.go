package report

import (
	"math"
	"os"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// Ticks lie inside their axis, in order, and are few.
func TestTicks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		lo := rapid.Float64Range(1e-6, 1e6).Draw(t, "lo")
		a := axis{lo: lo, hi: lo * rapid.Float64Range(1.001, 1e6).Draw(t, "ratio"), from: 0, to: 100, log: rapid.Bool().Draw(t, "log")}
		n := rapid.IntRange(2, 8).Draw(t, "n")
		ticks := a.ticks(n)
		if len(ticks) == 0 || len(ticks) > n+2 {
			t.Fatalf("%d ticks on %+v, want 1 to %d", len(ticks), a, n+2)
		}
		if !slices.IsSorted(ticks) {
			t.Fatalf("ticks %v are not in order", ticks)
		}
		for _, v := range ticks {
			if v < a.lo*(1-1e-6) || v > a.hi*(1+1e-6) {
				t.Fatalf("tick %v lies outside %v to %v", v, a.lo, a.hi)
			}
			if p := a.at(v); p < 0 || p > 100 || math.IsNaN(p) {
				t.Fatalf("tick %v is drawn at %v", v, p)
			}
		}
	})
}

// A bar never leaves its cell, however wrong the simulator is.
func TestWhiskerStaysInside(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		bias := rapid.Float64Range(-1, 100).Draw(t, "bias")
		c := Cell{Metric: "ttft", Quantile: "p50", Bias: bias, Lo: new(bias - 1), Hi: new(bias + 1)}
		r := reach([]Point{{Cells: []Cell{c}}})
		if r < 2*usualLimit || r > 0.5 {
			t.Fatalf("the axis reaches to %v, want between twice the tolerance and 50 %%", r)
		}
		x := axis{lo: -r, hi: r, from: 0, to: 1}
		for _, v := range []float64{bias, *c.Lo, *c.Hi} {
			if p := x.at(v); p < 0 || p > 1 {
				t.Fatalf("%v is drawn at %v", v, p)
			}
		}
	})
}

func ExampleTable() {
	_ = Table(os.Stdout, Page{
		Verdict: "pass", Headline: "Passed in round 1.",
		Comparison: &Comparison{Points: []Point{{
			Name: "rps-2", Load: 0.32, State: "stable",
			Cells: []Cell{
				{Metric: "ttft", Quantile: "p50", Measured: 0.12, Simulated: 0.124, Bias: 0.033, Lo: new(0.02), Hi: new(0.046)},
				{Metric: "ttft", Quantile: "p99", Measured: 0.40, Simulated: 0.30, Bias: -0.25, Doubt: "one seed: tails not judged"},
			},
		}}},
	}, 60, false)
	// Output:
	// simulated against measured, signed error
	// ~ interval crosses the tolerance  ! outside  ? not judged
	// tolerance: the gate's, else 5 %, 15 % for tails
	// point  load TTFT P50  TTFT P99
	// rps-2  0.32   +3.3 %   −25.0 %?
	//
	// DONE  Passed in round 1.
}
