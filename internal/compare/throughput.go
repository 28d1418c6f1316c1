package compare

import (
	"math"
	"sort"

	"calrun/internal/trace"
)

// rampShare is the first share of arrivals that the steady part leaves out.
const rampShare = 5 // a fifth

// steadyTokens spreads a run's output tokens over the intervals between its
// arrivals: how many were produced from arrival i to arrival i+1. The steady
// part runs from the first arrival after the first fifth to the last one; in
// it load is on all the time, so that neither ramp counts. Intervals outside
// are 0. Of a request's n tokens one comes at First, the others evenly until
// Last: what a client knows without the stamps of each.
//
// Both sides share the arrivals, so the ratio of two sums of these is the
// ratio of throughputs, and blocks of arrivals resample it.
func steadyTokens(reqs []trace.Request, rows []trace.Row) []float64 {
	out := make([]float64, len(rows))
	if len(rows) < 2 {
		return out
	}
	order := make([]int, len(reqs))
	for i := range order {
		order[i] = i
	}
	sort.SliceStable(order, func(a, b int) bool { return reqs[order[a]].Due < reqs[order[b]].Due })
	due := make([]float64, len(reqs))
	for k, i := range order {
		due[k] = reqs[i].Due.Seconds()
	}
	made := produced(rows, due)
	for k := len(rows) / rampShare; k+1 < len(rows); k++ {
		out[order[k]] = made[k+1] - made[k]
	}
	return out
}

// steadySpan is the length of the steady part in seconds.
func steadySpan(reqs []trace.Request) float64 {
	if len(reqs) < 2 {
		return 0
	}
	due := make([]float64, len(reqs))
	for i, r := range reqs {
		due[i] = r.Due.Seconds()
	}
	sort.Float64s(due)
	return due[len(due)-1] - due[len(due)/rampShare]
}

// produced is the number of output tokens made up to each time.
func produced(rows []trace.Row, times []float64) []float64 {
	type event struct{ at, jump, slope, offset float64 }
	var events []event
	for _, r := range rows {
		_, n := counted(r)
		if !r.OK() {
			n = r.Tokens // of a broken request only what came
		}
		if r.First == 0 && r.Last == 0 || n < 1 {
			continue
		}
		first, last := r.First.Seconds(), r.Last.Seconds()
		if n == 1 || last <= first {
			events = append(events, event{at: first, jump: float64(n)})
			continue
		}
		slope := float64(n-1) / (last - first)
		events = append(events,
			event{at: first, jump: 1, slope: slope, offset: -slope * first},
			event{at: last, jump: float64(n - 1), slope: -slope, offset: slope * first})
	}
	sort.SliceStable(events, func(i, j int) bool { return events[i].at < events[j].at })
	out := make([]float64, len(times))
	var jump, slope, offset float64
	next := 0
	for k, t := range times {
		for next < len(events) && events[next].at <= t {
			jump += events[next].jump
			slope += events[next].slope
			offset += events[next].offset
			next++
		}
		out[k] = jump + slope*t + offset
	}
	return out
}

// wholeRun is throughput from the first arrival to the last token, over all
// runs.
func wholeRun(p *pair) WholeRun {
	mt, mr := wholeSide(p.measured)
	st, sr := wholeSide(p.simulated)
	return WholeRun{number(mt), number(st), number(mr), number(sr)}
}

func wholeSide(p trace.Point) (tokens, requests float64) {
	seconds := 0.0
	for _, run := range p.Runs {
		if len(run.Rows) == 0 {
			continue
		}
		first, last := run.Rows[0].Due, run.Rows[0].Last
		for _, r := range run.Rows {
			first, last = min(first, r.Due), max(last, r.Last)
			if r.OK() {
				_, n := counted(r)
				tokens += float64(n)
				requests++
			}
		}
		seconds += (last - first).Seconds()
	}
	if seconds <= 0 {
		return math.NaN(), math.NaN()
	}
	return tokens / seconds, requests / seconds
}

// offered is the output tokens asked for per second while arrivals come.
func offered(p trace.Point) float64 {
	tokens, seconds := 0.0, 0.0
	for _, run := range p.Runs {
		n := len(run.Requests)
		if n < 2 {
			continue
		}
		first, last, sum := run.Requests[0].Due, run.Requests[0].Due, 0
		for _, r := range run.Requests {
			first, last = min(first, r.Due), max(last, r.Due)
			sum += r.Output
		}
		seconds += (last - first).Seconds()
		tokens += float64(sum) * float64(n-1) / float64(n) // n arrivals span n−1 gaps
	}
	if seconds <= 0 {
		return math.NaN()
	}
	return tokens / seconds
}
