package compare

import (
	"testing"

	"calrun/internal/stats"
)

// Two samples of one distribution lie apart at any n: the draws of a perfect
// simulator must, or its distance would fail a gate below the noise.
func TestPerfectSimulatorHasDistance(t *testing.T) {
	for _, c := range []struct {
		why, pointer string
		w            world
	}{
		{"one seed", "/points/rps-1/ttft/", world{rates: []float64{1, 2}, seeds: 1, n: 200, jitter: 0.2}},
		{"several seeds", "/points/rps-1/ttft/", world{rates: []float64{1, 2}, seeds: 4, n: 200, jitter: 0.2}},
		{"a replay of three repeats", "/points/replay/ttft/", world{rates: []float64{1, 2}, seeds: 1, n: 200, jitter: 0.2, repeats: 3}},
	} {
		got := compared(t, c.w, Options{Draws: 200})
		for _, name := range []string{"ks", "w1"} {
			leaf := got.Draws.Leaves[c.pointer+name]
			if len(leaf.Cols) != 1 {
				t.Fatalf("%s: %s%s has no draws", c.why, c.pointer, name)
			}
			set := func(name string) float64 {
				m := got.Draws.Sets[name]
				var x []float64
				for d := 0; d < len(m.Values); d += m.Cols {
					x = append(x, m.Values[d+leaf.Cols[0]])
				}
				return stats.Mean(x)
			}
			if null, value := set("null"), set("replicates"); !(null > value/10) {
				t.Errorf("%s: %s of a perfect simulator is %.4g in the mean draw, that of this one %.4g", c.why, name, null, value)
			}
		}
	}
}
