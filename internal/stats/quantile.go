package stats

import (
	"math"
	"slices"
	"sort"

	"gonum.org/v1/gonum/stat/distuv"
)

// Quantile is the q-quantile, q in [0,1], of a sorted sample by linear
// interpolation between order statistics, h = (n−1)q: type 7 of Hyndman and
// Fan (1996), "Sample quantiles in statistical packages". It is NaN for an
// empty sample. Both sides of a comparison use this one definition.
func Quantile(sorted []float64, q float64) float64 {
	n := len(sorted)
	if n == 0 {
		return math.NaN()
	}
	h := float64(n-1) * min(max(q, 0), 1)
	lo := int(h)
	if lo >= n-1 {
		return sorted[n-1]
	}
	return lerp(sorted[lo], sorted[lo+1], h-float64(lo))
}

// lerp keeps equal ends exactly equal.
func lerp(a, b, t float64) float64 { return a + t*(b-a) }

// Mean is the arithmetic mean, NaN for an empty sample.
func Mean(x []float64) float64 {
	if len(x) == 0 {
		return math.NaN()
	}
	sum := 0.0
	for _, v := range x {
		sum += v
	}
	return sum / float64(len(x))
}

// Sorted is a sorted copy.
func Sorted(x []float64) []float64 {
	y := slices.Clone(x)
	sort.Float64s(y)
	return y
}

// Interval is a confidence interval. An end that the sample cannot bound is
// not there (nil).
type Interval struct {
	Low, High *float64
}

// QuantileInterval is a distribution-free interval for the q-quantile from
// order statistics of an independent sample (David and Nagaraja, "Order
// Statistics", section 7.1): P(X₍ᵣ₎ ≤ ξ) ≥ P(B ≥ r) with B ~ Binomial(n, q).
// Each end holds with confidence 1 − (1−level)/2 on its own; an end is nil
// where n is too small for it to exist.
func QuantileInterval(sorted []float64, q, level float64) Interval {
	var i Interval
	tail := (1 - level) / 2
	if r := lowerRank(len(sorted), q, tail); r > 0 {
		i.Low = &sorted[r-1]
	}
	// The upper end is the lower one of the mirrored sample.
	if r := lowerRank(len(sorted), 1-q, tail); r > 0 {
		i.High = &sorted[len(sorted)-r]
	}
	return i
}

// lowerRank is the largest r (from 1) with P(B < r) ≤ tail, 0 if none.
func lowerRank(n int, q, tail float64) int {
	if n == 0 || q <= 0 || q >= 1 {
		return 0
	}
	b := distuv.Binomial{N: float64(n), P: q}
	// CDF grows with r: the first r at which it is over the tail is too far.
	return sort.Search(n, func(k int) bool { return b.CDF(float64(k)) > tail*(1+1e-12) })
}

// MinSample is the smallest n at which the q-quantile has a one-sided bound
// on its thin side at the given confidence: 1 − max(q,1−q)ⁿ ≥ level. It is
// 299 for P99 at 95 %.
func MinSample(q, level float64) int {
	p := max(q, 1-q)
	if p <= 0 || p >= 1 {
		return math.MaxInt
	}
	return int(math.Ceil(math.Log(1-level) / math.Log(p)))
}
