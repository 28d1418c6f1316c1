package stats

import (
	"math"

	"gonum.org/v1/gonum/stat/distuv"
)

// Z is the quantile of the standard normal distribution.
func Z(p float64) float64 { return distuv.UnitNormal.Quantile(p) }

// T is the quantile of Student's t with so many degrees of freedom, +Inf
// where there are none.
func T(p, freedom float64) float64 {
	if freedom < 1 {
		return math.Inf(1)
	}
	return distuv.StudentsT{Mu: 0, Sigma: 1, Nu: freedom}.Quantile(p)
}

// SmallSample is the factor by which deviations of a bootstrap over k
// independent units are too small at one tail: √(k/(k−1)) · t₍k−1₎/z. The
// root makes the plug-in variance unbiased, t/z pays for having estimated it
// (Davison and Hinkley 1997, section 2.3; Hesterberg 2015, "What teachers
// should know about the bootstrap", section 3.2). It is +Inf for k < 2.
func SmallSample(k int, tail float64) float64 {
	if k < 2 {
		return math.Inf(1)
	}
	return math.Sqrt(float64(k)/float64(k-1)) * T(1-tail, float64(k-1)) / Z(1-tail)
}
