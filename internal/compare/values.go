package compare

import (
	"math"

	"calrun/internal/stats"
	"calrun/internal/trace"
)

// Value is one statistic of one side at a point, in seconds: what a cell of a
// comparison holds of that side.
type Value struct {
	Point  string
	Group  trace.Group
	Metric string // ttft, tpot, e2e
	Stat   string // p50, p90, p95, p99, mean
	Value  float64
	N      int // requests that it is over
}

// Values are the statistics of one side: of completed requests, geometric
// means over runs, sorted by point as given, metric and statistic. A
// statistic without a request behind it is left out; N of the others says how
// many were.
func Values(points []trace.Point) []Value {
	var out []Value
	for _, p := range points {
		for metric, name := range metricNames {
			logs, n := oneSide(p, metric)
			for stat, l := range logs {
				if n > 0 && !math.IsNaN(l) {
					out = append(out, Value{p.Name, p.Group, name, statNames[stat], math.Exp(l), n})
				}
			}
		}
	}
	return out
}

// oneSide is the mean over runs of the logarithm of each statistic.
func oneSide(p trace.Point, metric int) (logs [len(statNames)]float64, n int) {
	runs := 0.0
	for _, run := range p.Runs {
		var x []float64
		for _, r := range run.Rows {
			if v, ok := value(metric, r); ok && r.OK() {
				x = append(x, v)
			}
		}
		if len(x) == 0 {
			continue
		}
		runs++
		n += len(x)
		x = stats.Sorted(x)
		for k, q := range levels {
			logs[k] += logOf(stats.Quantile(x, q))
		}
		logs[mean] += logOf(stats.Mean(x))
	}
	for k := range logs {
		logs[k] /= runs
	}
	return logs, n
}
