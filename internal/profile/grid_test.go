package profile

import (
	"testing"

	"pgregory.net/rapid"
)

// Two paths, one result: the short way through two axes gives what the long
// one gives, to the bit, between knots, on them and beyond them.
func TestPlane(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		knots := func(name string) []float64 {
			var all []float64
			for _, v := range rapid.SliceOfNDistinct(rapid.IntRange(0, 60), 1, 5, rapid.ID[int]).Draw(t, name) {
				all = append(all, float64(v))
			}
			return union(all, nil)
		}
		a := rapid.IntRange(0, 2).Draw(t, "a")
		b := rapid.IntRange(a+1, 3).Draw(t, "b")
		axes := [4][]float64{{0}, {0}, {0}, {0}}
		axes[a], axes[b] = knots("first"), knots("second")
		g := newGrid(axes)
		for i := range g.val {
			g.val[i] = rapid.Float64Range(0, 10).Draw(t, "value")
		}
		var p [4]float64
		p[a], p[b] = rapid.Float64Range(0, 90).Draw(t, "x"), rapid.Float64Range(0, 90).Draw(t, "y")
		if rapid.Bool().Draw(t, "on a knot") {
			p[a] = rapid.SampledFrom(axes[a]).Draw(t, "knot")
		}
		want, outside := g.at(p)
		if got, out := g.plane(a, b, p[a], p[b]); got != want || out != outside {
			t.Fatalf("at %v: %v (outside %v), the long way %v (%v)", p, got, out, want, outside)
		}
	})
}
