package stats

import "math"

// KS is the largest distance of two empirical distribution functions
// (Kolmogorov–Smirnov), NaN if a sample is empty. Both must be sorted.
func KS(a, b []float64) float64 {
	if len(a) == 0 || len(b) == 0 {
		return math.NaN()
	}
	far := 0.0
	walk(a, b, func(diff, _ float64) { far = max(far, math.Abs(diff)) })
	return far
}

// W1 is the Wasserstein distance of order 1 of two samples, the mean distance
// of their quantiles: ∫|F−G|dx (Vallender 1974). NaN if a sample is empty.
// Both must be sorted. Divide by a mean for a relative error.
func W1(a, b []float64) float64 {
	if len(a) == 0 || len(b) == 0 {
		return math.NaN()
	}
	sum := 0.0
	walk(a, b, func(diff, width float64) {
		if diff != 0 {
			sum += math.Abs(diff) * width
		}
	})
	return sum
}

// walk calls step for every stretch between neighbouring values of two sorted
// samples with F_a − F_b on it and its width (0 after the last value).
func walk(a, b []float64, step func(diff, width float64)) {
	i, j := 0, 0
	for i < len(a) || j < len(b) {
		x := math.Inf(1)
		if i < len(a) {
			x = a[i]
		}
		if j < len(b) && b[j] < x {
			x = b[j]
		}
		for i < len(a) && a[i] == x {
			i++
		}
		for j < len(b) && b[j] == x {
			j++
		}
		next := math.Inf(1)
		if i < len(a) {
			next = a[i]
		}
		if j < len(b) {
			next = min(next, b[j])
		}
		width := 0.0
		if !math.IsInf(next, 1) {
			width = next - x
		}
		step(float64(i)/float64(len(a))-float64(j)/float64(len(b)), width)
	}
}

// Correlation is Pearson's, NaN where a side does not vary or the lengths
// differ.
func Correlation(a, b []float64) float64 {
	if len(a) != len(b) {
		return math.NaN()
	}
	ma, mb := Mean(a), Mean(b)
	var ab, aa, bb float64
	for i := range a {
		ab += (a[i] - ma) * (b[i] - mb)
		aa += (a[i] - ma) * (a[i] - ma)
		bb += (b[i] - mb) * (b[i] - mb)
	}
	if aa == 0 || bb == 0 {
		return math.NaN()
	}
	return ab / math.Sqrt(aa*bb)
}
