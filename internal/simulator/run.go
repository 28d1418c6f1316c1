package simulator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
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
		Preemptions: s.Preemptions + o.Preemptions, Refused: s.Refused + o.Refused,
		PeakBlocks: max(s.PeakBlocks, o.PeakBlocks), PeakSeqs: max(s.PeakSeqs, o.PeakSeqs),
		Busy: s.Busy + o.Busy, End: max(s.End, o.End),
	}
}

// Run simulates the requests on one engine. Rows come in the order of the
// requests, whatever their Due; a request that could never run has Error set.
// A request that arrives while a step is computed joins at the next step. Its
// first token is there at the end of the step that completes its prompt.
func Run(ctx context.Context, reqs []trace.Request, cfg Config, m Model) ([]trace.Row, Stats, error) {
	s, err := NewScheduler(cfg)
	if err != nil {
		return nil, Stats{}, err
	}
	e := engine{sched: s, model: m, rows: rowsOf(reqs)}
	order := byDue(reqs)
	for next := 0; ; {
		if e.clock, next = e.arrive(order, next); next < 0 {
			break
		}
		if err := e.step(ctx); err != nil {
			return nil, e.stats, err
		}
	}
	return e.rows, e.closed(), nil
}

// RunAlone simulates each request on an idle engine of its own, as probes are
// measured: none queues behind another.
func RunAlone(ctx context.Context, reqs []trace.Request, cfg Config, m Model) ([]trace.Row, Stats, error) {
	s, err := NewScheduler(cfg)
	if err != nil {
		return nil, Stats{}, err
	}
	e := engine{sched: s, model: m, rows: rowsOf(reqs)}
	for i := range reqs {
		e.clock = reqs[i].Due + cfg.FrontEnd
		for e.add(i); s.Running()+s.Waiting() > 0; {
			if err := e.step(ctx); err != nil {
				return nil, e.stats, err
			}
		}
	}
	return e.rows, e.closed(), nil
}

// engine is a scheduler under a virtual clock.
type engine struct {
	sched *Scheduler
	model Model
	clock time.Duration
	rows  []trace.Row
	stats Stats
}

// arrive shows the scheduler who has come by now; if it is idle the clock
// jumps to the next arrival. next is −1 when all is done.
func (e *engine) arrive(order []int, next int) (clock time.Duration, _ int) {
	for {
		for next < len(order) && e.seen(order[next]) <= e.clock {
			e.add(order[next])
			next++
		}
		if e.sched.Running()+e.sched.Waiting() > 0 {
			return e.clock, next
		}
		if next == len(order) {
			return e.clock, -1
		}
		e.clock = e.seen(order[next])
	}
}

// seen is when the scheduler sees request i.
func (e *engine) seen(i int) time.Duration { return e.rows[i].Due + e.sched.cfg.FrontEnd }

func (e *engine) add(i int) {
	if err := e.sched.Add(i, e.rows[i].Prompt, e.rows[i].Output); err != nil {
		e.rows[i].Error = err.Error()
		e.stats.Refused++
	}
}

// step computes one step and stamps who got a token.
func (e *engine) step(ctx context.Context) error {
	if e.stats.Steps&0xfff == 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	b := e.sched.Next()
	if b == nil || b.Empty() {
		return errors.New("simulator: nothing to compute while requests wait: " + e.sched.String())
	}
	d, outside := e.model.Step(b)
	if d <= 0 {
		return fmt.Errorf("the step-time model gives %v for a step of %d tokens in %d sequences; a step must take time", d, b.Tokens(), b.Sequences())
	}
	e.clock += d
	e.stats.Steps++
	e.stats.Busy += d
	e.stats.End = max(e.stats.End, e.clock)
	e.stats.PeakSeqs = max(e.stats.PeakSeqs, b.Sequences())
	if outside {
		e.stats.Outside++
	}
	out := e.sched.Done()
	for _, i := range out.First {
		e.rows[i].First = e.clock
		e.rows[i].FirstTokens = 1
	}
	for _, i := range out.Last {
		e.rows[i].Last = e.clock
		e.rows[i].Tokens = e.rows[i].Output
	}
	return nil
}

func (e *engine) closed() Stats {
	e.stats.Preemptions = e.sched.Preemptions()
	_, e.stats.PeakBlocks = e.sched.Blocks()
	return e.stats
}

func rowsOf(reqs []trace.Request) []trace.Row {
	rows := make([]trace.Row, len(reqs))
	for i, r := range reqs {
		rows[i] = trace.Row{Request: r, Sent: r.Due, Prompted: r.Prompt}
	}
	return rows
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
