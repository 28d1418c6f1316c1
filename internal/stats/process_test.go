package stats

import (
	"math"
	"math/rand/v2"
	"testing"
)

// ar1 is a series with autocorrelation phi^k, so with time (1+phi)/(1−phi).
func ar1(rng *rand.Rand, n int, phi float64) []float64 {
	x := make([]float64, n)
	v := rng.NormFloat64()
	for i := range x {
		x[i] = v
		v = phi*v + math.Sqrt(1-phi*phi)*rng.NormFloat64()
	}
	return x
}

func TestMemoryOf(t *testing.T) {
	for _, phi := range []float64{0, 0.5, 0.8, 0.9} {
		rng := rand.New(rand.NewPCG(3, 3))
		want := (1 + phi) / (1 - phi)
		var times []float64
		for range 200 {
			times = append(times, MemoryOf([][]float64{ar1(rng, 600, phi), ar1(rng, 600, phi)}).Time)
		}
		if got := Mean(times); got < 0.85*want || got > 1.25*want {
			t.Errorf("phi %v: time %.2f on average, want %.2f", phi, got, want)
		}
	}
	for _, c := range []struct {
		why  string
		runs [][]float64
	}{
		{"no run", nil},
		{"an empty run", [][]float64{{}}},
		{"a constant has nothing to remember", [][]float64{{2, 2, 2, 2}}},
		{"swinging to and fro forgets faster than chance, and counts as chance", [][]float64{{1, -1, 1, -1, 1, -1, 1, -1}}},
		{"levels of runs are no memory inside them", [][]float64{{5, 5, 5}, {1, 1, 1}}},
	} {
		if got := MemoryOf(c.runs); got.Time != 1 || got.Block() != 1 {
			t.Errorf("%s: time %v, want 1", c.why, got.Time)
		}
	}
}

func TestBlockShare(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 4))
	m := MemoryOf([][]float64{ar1(rng, 50000, 0.8)})
	// For phi = 0.8, L = 9: 9 − 2·0.8(1−0.8⁹)/(9·0.04) = 5.15 of 9.
	if got := m.BlockShare(9); math.Abs(got-5.15/9) > 0.06 {
		t.Errorf("blocks of one time show %.2f of the variance, want %.2f", got, 5.15/9)
	}
	if m.BlockShare(1000) < m.BlockShare(9) {
		t.Error("longer blocks must show more of the variance")
	}
}

func TestTrendOf(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	make2 := func(n int, f func(i int) float64) [][]float64 {
		x := make([]float64, n)
		for i := range x {
			x[i] = f(i)
		}
		return [][]float64{x}
	}
	for _, c := range []struct {
		why    string
		runs   [][]float64
		rising bool
	}{
		{"a ramp rises", make2(300, func(i int) float64 { return float64(i) }), true},
		{"a noisy ramp rises", make2(300, func(i int) float64 { return 50 + float64(i) + 20*rng.NormFloat64() }), true},
		{"a fall does not", make2(300, func(i int) float64 { return float64(300 - i) }), false},
		{"a rise of a tenth is within what is tolerated", make2(300, func(i int) float64 { return 100 + float64(i)/15 }), false},
		{"a constant does not", make2(300, func(int) float64 { return 4 }), false},
		{"nothing does not", nil, false},
		{"too short to say", make2(3, func(i int) float64 { return float64(i) }), false},
	} {
		if got := TrendOf(c.runs); got.Rising != c.rising {
			t.Errorf("%s: %+v", c.why, got)
		}
	}
}

// A long memory is not taken for a trend: the slope of a plain regression
// would be significant in most of these series.
func TestTrendSparesMemory(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 6))
	flagged, n := 0, 1000
	for range n {
		x := ar1(rng, 480, 0.95)
		for i := range x {
			x[i] = 3 + 2*x[i]
		}
		if TrendOf([][]float64{x}).Rising {
			flagged++
		}
	}
	if share := float64(flagged) / float64(n); share > 0.05 {
		t.Errorf("%.3f of steady series called rising, at most 0.05 may be", share)
	}
}

func TestSmallSample(t *testing.T) {
	for _, c := range []struct {
		why  string
		k    int
		tail float64
		want float64
	}{
		{"five seeds at 2.5 %: √1.25 · 2.776/1.960", 5, 0.025, 1.5838},
		{"three repeats: √1.5 · 4.303/1.960", 3, 0.025, 2.6887},
		{"one unit says nothing of spread", 1, 0.025, math.Inf(1)},
	} {
		if got := SmallSample(c.k, c.tail); math.Abs(got-c.want) > 1e-3 && got != c.want {
			t.Errorf("%s: %v, want %v", c.why, got, c.want)
		}
	}
	if got := SmallSample(10000, 0.025); math.Abs(got-1) > 1e-3 {
		t.Errorf("with many units nothing is left to pay for: %v", got)
	}
}

func TestDistances(t *testing.T) {
	for _, c := range []struct {
		why    string
		a, b   []float64
		ks, w1 float64
	}{
		{"equal samples", []float64{1, 2, 3}, []float64{1, 2, 3}, 0, 0},
		{"a shift moves every quantile by itself", []float64{1, 2, 3}, []float64{11, 12, 13}, 1, 10},
		{"one of two moved", []float64{0, 1}, []float64{0, 3}, 0.5, 1},
		{"sizes may differ", []float64{0, 0, 1, 1}, []float64{0, 1}, 0, 0},
		{"ties across samples count once", []float64{1, 1, 2}, []float64{1, 2, 2}, 1.0 / 3, 1.0 / 3},
	} {
		if got := KS(c.a, c.b); math.Abs(got-c.ks) > 1e-12 {
			t.Errorf("%s: KS %v, want %v", c.why, got, c.ks)
		}
		if got := W1(c.a, c.b); math.Abs(got-c.w1) > 1e-12 {
			t.Errorf("%s: W1 %v, want %v", c.why, got, c.w1)
		}
	}
	if !math.IsNaN(KS(nil, []float64{1})) || !math.IsNaN(W1([]float64{1}, nil)) {
		t.Error("an empty sample has no distance")
	}
}

// Distances of a resampling equal those of the samples written out.
func TestMergedEqualsWrittenOut(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	for range 300 {
		n := 1 + rng.IntN(20)
		a, b, weight := make([]float64, n), make([]float64, n), make([]int32, n)
		var outA, outB []float64
		for i := range a {
			a[i], b[i], weight[i] = float64(rng.IntN(8)), float64(rng.IntN(8)), int32(rng.IntN(3))
			for range weight[i] {
				outA, outB = append(outA, a[i]), append(outB, b[i])
			}
		}
		got := Merge(a, b).Distances(weight)
		wantKS, wantW1 := KS(Sorted(outA), Sorted(outB)), W1(Sorted(outA), Sorted(outB))
		if math.IsNaN(wantKS) != math.IsNaN(got.KS) || math.Abs(got.KS-wantKS) > 1e-9 || math.Abs(got.W1-wantW1) > 1e-9 {
			t.Fatalf("a %v b %v weight %v: %+v, want KS %v W1 %v", a, b, weight, got, wantKS, wantW1)
		}
		one := make([]int32, n)
		for i := range one {
			one[i] = 1
		}
		if d := Merge(a, b).Distances(one); d.NullKS > 1e-9 || d.NullW1 > 1e-9 {
			t.Fatalf("the samples as given must lie at no distance from themselves: %+v", d)
		}
	}
}

func TestPlanDraw(t *testing.T) {
	p := Plan{Runs: []int{7, 12, 3}, Block: 4, Units: true, Seed: 9}
	var r, again Resampling
	for i := range 200 {
		p.Draw(i, &r)
		for slot, run := range r.Slots {
			total := int32(0)
			for _, w := range r.Weights[slot] {
				if w < 0 {
					t.Fatalf("draw %d: a count below 0: %v", i, r.Weights[slot])
				}
				total += w
			}
			if len(r.Weights[slot]) != p.Runs[run] || int(total) != p.Runs[run] {
				t.Fatalf("draw %d: a run of %d became %v", i, p.Runs[run], r.Weights[slot])
			}
		}
	}
	p.Draw(5, &r)
	p.Draw(5, &again)
	for slot := range r.Slots {
		if r.Slots[slot] != again.Slots[slot] {
			t.Fatal("the same draw picked other runs")
		}
		for k := range r.Weights[slot] {
			if r.Weights[slot][k] != again.Weights[slot][k] {
				t.Fatal("the same draw picked other blocks")
			}
		}
	}
	other := p
	other.Block = 2
	other.Draw(5, &again)
	for slot := range r.Slots {
		if r.Slots[slot] != again.Slots[slot] {
			t.Error("another block length must not change which runs are drawn")
		}
	}
}

// Every element is drawn equally often, ends of a run included.
func TestPlanDrawIsFair(t *testing.T) {
	p := Plan{Runs: []int{10}, Block: 4, Seed: 1}
	var r Resampling
	counts := make([]float64, 10)
	const draws = 20000
	for i := range draws {
		p.Draw(i, &r)
		for k, w := range r.Weights[0] {
			counts[k] += float64(w) / draws
		}
	}
	for k, c := range counts {
		if math.Abs(c-1) > 0.05 {
			t.Errorf("element %d occurs %.3f times a draw, want 1", k, c)
		}
	}
}

func TestCorrelation(t *testing.T) {
	if got := Correlation([]float64{1, 2, 3}, []float64{2, 4, 6}); math.Abs(got-1) > 1e-12 {
		t.Errorf("proportional samples correlate by %v, want 1", got)
	}
	if !math.IsNaN(Correlation([]float64{1, 1}, []float64{1, 2})) {
		t.Error("a constant correlates with nothing")
	}
}
