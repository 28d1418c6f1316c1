package stats

import (
	"math"
	"math/rand/v2"
	"testing"
)

func TestQuantile(t *testing.T) {
	for _, c := range []struct {
		why    string
		sorted []float64
		q      float64
		want   float64
	}{
		{"the middle of an odd sample is an element", []float64{1, 2, 10}, 0.5, 2},
		{"the middle of an even sample lies between two", []float64{1, 2, 3, 10}, 0.5, 2.5},
		{"type 7, as R and NumPy: h = 9·0.9 = 8.1", []float64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, 0.9, 9.1},
		{"0 is the least", []float64{3, 4}, 0, 3},
		{"1 is the greatest", []float64{3, 4}, 1, 4},
		{"one element is every quantile", []float64{7}, 0.99, 7},
		{"equal neighbours give exactly their value", []float64{0.1, 0.1, 0.1}, 0.3, 0.1},
		{"nothing has no quantile", nil, 0.5, math.NaN()},
	} {
		if got := Quantile(c.sorted, c.q); math.Abs(got-c.want) > 1e-12 || math.IsNaN(got) != math.IsNaN(c.want) {
			t.Errorf("%s: %v, want %v", c.why, got, c.want)
		}
	}
}

func TestMinSample(t *testing.T) {
	for _, c := range []struct {
		why  string
		q    float64
		want int
	}{
		{"0.99²⁹⁹ < 0.05 ≤ 0.99²⁹⁸", 0.99, 299},
		{"P95", 0.95, 59},
		{"P90", 0.90, 29},
		{"a low quantile is a high one mirrored", 0.01, 299},
		{"a half: 0.5⁵ < 0.05", 0.5, 5},
	} {
		if got := MinSample(c.q, 0.95); got != c.want {
			t.Errorf("%s: %d, want %d", c.why, got, c.want)
		}
	}
}

func TestQuantileInterval(t *testing.T) {
	sample := func(n int) []float64 {
		x := make([]float64, n)
		for i := range x {
			x[i] = float64(i + 1)
		}
		return x
	}
	for _, c := range []struct {
		why       string
		n         int
		q         float64
		low, high float64 // 0: does not exist
	}{
		{"median of 10: ranks 2 and 9 (tables of the sign test)", 10, 0.5, 2, 9},
		{"median of 5: no interval at 95 %, 2·0.5⁵ = 0.0625", 5, 0.5, 0, 0},
		{"median of 6 is the first that has one", 6, 0.5, 1, 6},
		{"P99 of 300 has no upper end at 97.5 %", 300, 0.99, 293, 0},
		{"P99 of 368 is the first that has one", 368, 0.99, 360, 368},
		{"an empty sample bounds nothing", 0, 0.5, 0, 0},
	} {
		got := QuantileInterval(sample(c.n), c.q, 0.95)
		for _, end := range []struct {
			name string
			got  *float64
			want float64
		}{{"low", got.Low, c.low}, {"high", got.High, c.high}} {
			switch {
			case end.got == nil && end.want != 0, end.got != nil && *end.got != end.want:
				t.Errorf("%s: %s end %v, want %v", c.why, end.name, show(end.got), end.want)
			}
		}
	}
}

func show(x *float64) any {
	if x == nil {
		return "none"
	}
	return *x
}

// The interval covers the true quantile at least as often as it says,
// whatever the distribution.
func TestQuantileIntervalCovers(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for _, q := range []float64{0.5, 0.9} {
		truth := -math.Log(1 - q)
		hit, n := 0, 2000
		for range n {
			x := make([]float64, 100)
			for i := range x {
				x[i] = rng.ExpFloat64()
			}
			i := QuantileInterval(Sorted(x), q, 0.95)
			if *i.Low <= truth && (i.High == nil || truth <= *i.High) {
				hit++
			}
		}
		if share := float64(hit) / float64(n); share < 0.945 {
			t.Errorf("q = %v: covered in %.3f of samples, at least 0.95 is claimed", q, share)
		}
	}
}

// A weighted quantile is the quantile of the sample written out.
func TestRankedEqualsWrittenOut(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	qs := []float64{0, 0.25, 0.5, 0.9, 0.95, 0.99, 1}
	for range 500 {
		n := 1 + rng.IntN(30)
		x, weight := make([]float64, n), make([]int32, n)
		var out []float64
		for i := range x {
			x[i] = float64(rng.IntN(10)) // ties too
			if rng.IntN(8) == 0 {
				x[i] = math.NaN()
			}
			weight[i] = int32(rng.IntN(4))
			if !math.IsNaN(x[i]) {
				for range weight[i] {
					out = append(out, x[i])
				}
			}
		}
		got := make([]float64, len(qs))
		Rank(x).Quantiles(weight, qs, got)
		out = Sorted(out)
		for i, q := range qs {
			want := Quantile(out, q)
			if got[i] != want && !(math.IsNaN(got[i]) && math.IsNaN(want)) {
				t.Fatalf("x %v weight %v: quantile %v is %v, want %v", x, weight, q, got[i], want)
			}
		}
	}
}
