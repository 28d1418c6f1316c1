package stats

import "math"

// Trend is whether a level that should be steady rises.
type Trend struct {
	Rising   bool
	Block    float64 // samples in one block: the series' integrated autocorrelation time
	Blocks   int     // over all runs
	T        float64 // slope of block means over its standard error
	Critical float64 // one-sided 99 % quantile that T must exceed
	Rise     float64 // last half's mean over the first half's, minus 1
}

// The two conditions of a rise.
const (
	trendLevel = 0.99
	trendRise  = 0.25
	fewest     = 8 // blocks of a lone run, 5 of each of several, however long the memory: a rise looks like memory
)

// TrendOf judges several runs of one level (each evenly spaced in time): the
// level rises when the slope of block means, pooled over runs of which each
// has its own mean, is above zero at a one-sided 99 %, and the last half's
// mean exceeds the first half's by more than 25 %. Blocks have the length of
// the series' integrated autocorrelation time: a regression on the series
// itself takes memory for trend.
func TrendOf(runs [][]float64) Trend {
	mem := MemoryOf(runs)
	t := Trend{Block: mem.Time, Critical: math.Inf(1)}
	var xx, xy, yy float64
	used := 0
	for _, run := range runs {
		if len(run) < fewest {
			continue // too short to say
		}
		x, y := blockMeans(run, mem.Block(), max(5, fewest/len(runs)))
		used++
		t.Blocks += len(y)
		mx, my := Mean(x), Mean(y)
		for i := range y {
			xx += (x[i] - mx) * (x[i] - mx)
			xy += (x[i] - mx) * (y[i] - my)
			yy += (y[i] - my) * (y[i] - my)
		}
	}
	t.Rise = rise(runs)
	freedom := t.Blocks - used - 1
	if freedom < 1 || xx == 0 || yy == 0 {
		return t
	}
	slope := xy / xx
	rest := max(yy-slope*xy, 0)
	t.T = slope / math.Sqrt(rest/float64(freedom)/xx)
	t.Critical = T(trendLevel, float64(freedom))
	t.Rising = t.T > t.Critical && t.Rise > trendRise
	return t
}

// blockMeans cuts a run into blocks as even as can be of about so many
// samples, but into at least so many blocks; x is the place of each block's middle, the run being 0 to 1.
func blockMeans(run []float64, block, least int) (x, y []float64) {
	n := len(run)
	count := max(n/block, min(n, least))
	for i := range count {
		from, to := i*n/count, (i+1)*n/count
		x = append(x, float64(from+to)/2/float64(n))
		y = append(y, Mean(run[from:to]))
	}
	return x, y
}

func rise(runs [][]float64) float64 {
	var first, last float64
	for _, run := range runs {
		half := len(run) / 2
		if half == 0 {
			continue
		}
		first += Mean(run[:half])
		last += Mean(run[len(run)-half:])
	}
	switch {
	case first > 0:
		return last/first - 1
	case last > 0:
		return math.Inf(1)
	}
	return 0
}
