package compare

import (
	"fmt"
	"math"
	"slices"
	"sort"

	"calrun/internal/stats"
	"calrun/internal/trace"
)

// StabilityOf judges from one side alone whether a server kept up at a point:
// whether the in-flight count of what completed rises. Requests that never
// finished are counted, and by themselves are no overload: an engine that
// breaks some off must not drop out of what is compared as if it had too much
// to do. Whether they are too many is another question.
func StabilityOf(p trace.Point) Stability {
	var series [][]float64
	for _, run := range p.Runs {
		completed := slices.DeleteFunc(slices.Clone(run.Rows), func(r trace.Row) bool { return !r.OK() })
		if s := inFlight(completed); len(s) > 0 {
			series = append(series, s)
		}
	}
	t := stats.TrendOf(series)
	out := Stability{
		Stable: true, Block: t.Block, Blocks: t.Blocks,
		T: finite(t.T), Critical: finite(t.Critical), Rise: finite(t.Rise), Unfinished: neverFinished(p),
	}
	for _, run := range p.Runs {
		if run.State == trace.Overloaded {
			out.Stable, out.Reason = false, fmt.Sprintf("its run of seed %d was ended as overloaded%s", run.Seed, because(run.Reason))
		}
	}
	if t.Rising {
		out.Stable, out.Reason = false, fmt.Sprintf(
			"the in-flight count rises: t = %.1f (limit %.1f), last half %.0f %% above the first", out.T, out.Critical, 100*out.Rise,
		)
	}
	return out
}

// neverFinished counts the requests of a measured point that were sent, that
// the engine did not refuse, and that it never answered to their end. What could not be sent says nothing of the engine.
func neverFinished(p trace.Point) int {
	never := 0
	for _, run := range p.Runs {
		for _, r := range run.Rows {
			if !r.OK() && r.Sent > 0 && (r.Status == 0 || r.Status/100 == 2) {
				never++
			}
		}
	}
	return never
}

// drains says whether waiting itself grows: then TTFT tells how fast a queue
// drains. In-flight counts also rise where requests merely outlast the run.
func drains(p trace.Point) bool {
	var waits [][]float64
	for _, run := range p.Runs {
		var x []float64
		for _, r := range run.Rows[len(run.Rows)/rampShare:] {
			if r.OK() {
				x = append(x, r.TTFT().Seconds())
			}
		}
		waits = append(waits, x)
	}
	return stats.TrendOf(waits).Rising
}

// inFlight is the number of requests in the system at as many evenly spaced
// times as there are arrivals left, from the first arrival after the first
// fifth to the last one: the ramps at both ends say nothing of steadiness.
func inFlight(rows []trace.Row) []float64 {
	var arrive, leave []float64
	for _, r := range rows {
		if r.Status >= 300 {
			continue // refused: it never was in the system
		}
		arrive = append(arrive, r.Due.Seconds())
		if r.Last > 0 {
			leave = append(leave, r.Last.Seconds())
		}
	}
	skip := len(arrive) / rampShare
	count := len(arrive) - skip
	if count < 2 {
		return nil
	}
	sort.Float64s(arrive)
	sort.Float64s(leave)
	from, to := arrive[skip], arrive[len(arrive)-1]
	out := make([]float64, count)
	in, gone := 0, 0
	for k := range out {
		t := from + (to-from)*float64(k)/float64(count-1)
		for in < len(arrive) && arrive[in] <= t {
			in++
		}
		for gone < len(leave) && leave[gone] <= t {
			gone++
		}
		out[k] = float64(in - gone)
	}
	return out
}

// finite keeps what JSON can hold.
func finite(x float64) float64 {
	const most = math.MaxFloat32
	if math.IsNaN(x) {
		return 0
	}
	return min(max(x, -most), most)
}
