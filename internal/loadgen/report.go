package loadgen

import (
	"fmt"
	"runtime"
	"slices"
	"time"
)

// Report says how well the generator itself did.
type Report struct {
	Stamps    string        // "kernel", "read" (the return of the read) or "mixed"
	Window    time.Duration // from the start of the run to its end
	Late      Spread        // sent − due
	Lag       Spread        // return of the read − kernel stamp, of first and last tokens
	Peak      int           // most requests in flight
	Share     float64       // CPU time of this process over that of all its cores; an emulator inside it counts
	ClockStep time.Duration // how far the wall clock was set during the run: kernel stamps are off by as much
	Completed int
	Failed    int
	Mismatch  int // completed with another number of tokens than asked for
	// Bunched counts requests whose first token event was read together with
	// the second: the engine wrote both at once, or this process was too late
	// to tell them apart. The kernel keeps one stamp for what it has merged,
	// the last one, so the first token may have come earlier than recorded.
	Bunched int
}

// Spread is a sample in three numbers.
type Spread struct{ P50, P99, Max time.Duration }

func spreadOf(x []time.Duration) Spread {
	if len(x) == 0 {
		return Spread{}
	}
	x = slices.Clone(x)
	slices.Sort(x)
	at := func(q float64) time.Duration { return x[int(q*float64(len(x)-1)+0.5)] }
	return Spread{at(0.5), at(0.99), x[len(x)-1]}
}

// saturated is the share of its cores above which a generator's stamps are
// mostly its own queue.
const saturated = 0.95

// clockTolerance is how far two readings of a pair of clocks may differ.
const clockTolerance = time.Millisecond

// Trouble says why the run must not be trusted, "" if it may: the generator
// was later than the limit (at P99), it was saturated, or the clock was set.
func (r Report) Trouble(limit time.Duration) string {
	switch {
	case limit > 0 && r.Late.P99 > limit:
		return fmt.Sprintf("the load generator was late: sent − due is %v at P99, the limit is %v", r.Late.P99.Round(10*time.Microsecond), limit)
	case r.Share > saturated:
		return fmt.Sprintf("the load generator was saturated: calrun used %.0f %% of its %d cores", 100*r.Share, runtime.GOMAXPROCS(0))
	case r.Stamps != "read" && (r.ClockStep > clockTolerance || r.ClockStep < -clockTolerance):
		return fmt.Sprintf("the wall clock was set by %v during the run, and kernel stamps with it", r.ClockStep)
	}
	return ""
}

func (r *run) report(window time.Duration, share float64) Report {
	rep := Report{Stamps: "kernel", Window: window, Lag: spreadOf(r.lags), Peak: int(r.peak.Load()), Share: share, ClockStep: r.clock.step()}
	rep.Bunched = int(r.bunched.Load())
	var late []time.Duration
	events := 0
	for _, row := range r.rows {
		if row.Sent > 0 || row.OK() {
			late = append(late, row.Late())
		}
		if row.Tokens > 0 {
			events++
		}
		if !row.OK() {
			rep.Failed++
			continue
		}
		rep.Completed++
		if row.Tokens != row.Output {
			rep.Mismatch++
		}
	}
	rep.Late = spreadOf(late)
	switch n := r.userStamps.Load(); {
	case n > 0 && int(n) >= events:
		rep.Stamps = "read"
	case n > 0:
		rep.Stamps = "mixed"
	}
	return rep
}
