package simulator

import (
	"cmp"
	"context"
	"slices"
	"time"

	"calrun/internal/trace"
)

// Stats are what a run was like inside.
type Stats struct {
	Steps       int           // steps computed
	Outside     int           // of them, steps beyond what the model was measured on
	Preemptions int           // times that a sequence gave up its blocks
	Refused     int           // requests that could never run
	Cached      int           // prompt tokens found in the prefix cache
	PeakBlocks  int           // most KV blocks held at once
	PeakSeqs    int           // most sequences in one step
	Busy        time.Duration // sum of the steps
	End         time.Duration // when the last step ended
}

// OutsideShare is the share of steps beyond the model's range, in [0,1].
func (s Stats) OutsideShare() float64 {
	if s.Steps == 0 {
		return 0
	}
	return float64(s.Outside) / float64(s.Steps)
}

// Add sums the counts of two runs and keeps the larger of peaks and ends.
func (s Stats) Add(o Stats) Stats {
	return Stats{
		Steps: s.Steps + o.Steps, Outside: s.Outside + o.Outside,
		Preemptions: s.Preemptions + o.Preemptions, Refused: s.Refused + o.Refused, Cached: s.Cached + o.Cached,
		PeakBlocks: max(s.PeakBlocks, o.PeakBlocks), PeakSeqs: max(s.PeakSeqs, o.PeakSeqs),
		Busy: s.Busy + o.Busy, End: max(s.End, o.End),
	}
}

// Run simulates the requests on one engine. Rows come in the order of the
// requests, whatever their Due; a request that could never run has Error set.
// A request that arrives while a step is computed joins at the next step. Its
// first token is there at the end of the step that completes its prompt.
func Run(ctx context.Context, reqs []trace.Request, cfg Config, m Model) ([]trace.Row, Stats, error) {
	order := byDue(reqs)
	rows := make([]trace.Row, len(reqs))
	e, err := newEngine(cfg, m, func(n int, r *trace.Row) { rows[order[n]] = *r })
	if err != nil {
		return nil, Stats{}, err
	}
	next := 0
	err = e.run(ctx, func() (r trace.Request, more bool) {
		if next == len(order) {
			return r, false
		}
		next++
		return reqs[order[next-1]], true
	})
	if err != nil {
		return nil, e.stats, err
	}
	return rows, e.closed(), nil
}

// RunAlone simulates each request on an idle engine of its own, as probes are
// measured: none queues behind another.
func RunAlone(ctx context.Context, reqs []trace.Request, cfg Config, m Model) ([]trace.Row, Stats, error) {
	rows := make([]trace.Row, len(reqs))
	e, err := newEngine(cfg, m, func(n int, r *trace.Row) { rows[n] = *r })
	if err != nil {
		return nil, Stats{}, err
	}
	for _, r := range reqs {
		e.clock = r.Due + cfg.FrontEnd
		for e.add(r); e.inside > 0; {
			if err := e.step(ctx); err != nil {
				return nil, e.stats, err
			}
		}
	}
	return rows, e.closed(), nil
}

// Stream simulates requests as source yields them and hands every row to emit
// when its request has ended, so that what it needs does not grow with how
// many there are. source says false when there are no more; Due must not go
// back. Rows come in the order in which requests end; they are those of [Run].
func Stream(ctx context.Context, source func() (trace.Request, bool), cfg Config, m Model, emit func(*trace.Row)) (Stats, error) {
	e, err := newEngine(cfg, m, func(_ int, r *trace.Row) { emit(r) })
	if err != nil {
		return Stats{}, err
	}
	if err := e.run(ctx, source); err != nil {
		return e.stats, err
	}
	return e.closed(), nil
}

// byDue is the order of arrival; requests due together keep their order.
func byDue(reqs []trace.Request) []int {
	order := make([]int, len(reqs))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(reqs[a].Due, reqs[b].Due) })
	return order
}
