package stats

import "math"

// Memory is how long a series remembers: its autocorrelations and what
// follows from them.
type Memory struct {
	Time float64   // integrated autocorrelation time τ = 1 + 2 Σ ρ(k), in samples; at least 1
	Rho  []float64 // ρ(0), ρ(1), … up to the window at which the sum was cut
}

// windowTimes is how many half times the summation window spans: beyond it
// noise grows and signal does not (Sokal 1997, "Monte Carlo Methods in
// Statistical Mechanics", section 3, with c = 5 of his τ/2).
const windowTimes = 2.5

// MemoryOf estimates the memory of one process from several runs of it, each
// with its own mean. Autocovariances are pooled over runs; the sum is cut at
// Sokal's self-consistent window M ≥ 2.5 τ(M) and corrected for the estimated
// mean by 1 + (2M+1)/n (Wolff 2004, "Monte Carlo errors with less errors",
// equation 49). Constant and empty series have time 1.
func MemoryOf(runs [][]float64) Memory {
	longest, total := 0, 0
	centred := make([][]float64, len(runs))
	for i, run := range runs {
		m := Mean(run)
		centred[i] = make([]float64, len(run))
		for j, v := range run {
			centred[i][j] = v - m
		}
		longest = max(longest, len(run))
		total += len(run)
	}
	mem := Memory{Time: 1, Rho: []float64{1}}
	c0 := autocovariance(centred, 0)
	if !(c0 > 0) || math.IsInf(c0, 0) {
		return mem
	}
	sum := 1.0
	for k := 1; k < longest; k++ {
		rho := autocovariance(centred, k) / c0
		mem.Rho = append(mem.Rho, rho)
		sum += 2 * rho
		if float64(k) >= windowTimes*sum {
			break
		}
	}
	window := len(mem.Rho) - 1
	correction := 1 + float64(2*window+1)/float64(total)
	mem.Time = max(1, sum*correction)
	return mem
}

// autocovariance sums over runs and divides by all samples, so that it is a
// non-negative sequence of weights whatever the lag.
func autocovariance(centred [][]float64, lag int) float64 {
	sum, n := 0.0, 0
	for _, x := range centred {
		n += len(x)
		for i := lag; i < len(x); i++ {
			sum += x[i] * x[i-lag]
		}
	}
	if n == 0 {
		return 0
	}
	return sum / float64(n)
}

// BlockShare is the share of the long-run variance that means over blocks of
// so many samples show: (1 + 2 Σ (1−k/L) ρ(k)) / τ. What blocks cut off at
// their edges makes a block bootstrap too narrow by the root of it (Künsch
// 1989, theorem 3.2). It is kept within [1/3, 1].
func (m Memory) BlockShare(block int) float64 {
	v := 1.0
	for k := 1; k < min(block, len(m.Rho)); k++ {
		v += 2 * (1 - float64(k)/float64(block)) * m.Rho[k]
	}
	return min(max(v/m.Time, 1.0/3), 1)
}

// Block is the length of a block that may count as independent: the time,
// rounded up.
func (m Memory) Block() int { return int(math.Ceil(m.Time - 1e-9)) }
