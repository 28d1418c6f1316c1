package simulator

import (
	"context"
	"fmt"
	"math"
	"time"

	"calrun/internal/trace"
)

// engine is a scheduler under a virtual clock.
type engine struct {
	sched  discipline
	smooth *Scheduler // sched, where steps that only decode can be taken together
	model  Model
	front  time.Duration
	blocks int // tokens in a block of the prefix cache; 0 where there is none
	clock  time.Duration
	stats  Stats

	open   []seat // requests in the engine, by the id that the scheduler knows
	vacant []int
	inside int
	taken  int // requests taken from the source
	emit   func(n int, r *trace.Row)
}

// seat is a request in the engine.
type seat struct {
	row trace.Row
	n   int // how many were taken from the source before it
}

// newEngine makes an idle engine. emit gets every request that has ended, with
// its place in the order of arrival; the row is the engine's.
func newEngine(cfg Config, m Model, emit func(n int, r *trace.Row)) (*engine, error) {
	d, err := newDiscipline(cfg)
	if err != nil {
		return nil, err
	}
	e := &engine{sched: d, model: m, front: cfg.FrontEnd, emit: emit}
	if s, ok := d.(*Scheduler); ok {
		if !cfg.LookAhead {
			e.smooth = s
		}
		if cfg.PrefixCache {
			e.blocks = cfg.BlockSize
		}
	}
	return e, nil
}

// run lets requests in as they come, and computes until all have ended.
func (e *engine) run(ctx context.Context, source func() (trace.Request, bool)) error {
	r, more := source()
	for more || e.inside > 0 {
		if e.inside == 0 {
			e.clock = max(e.clock, r.Due+e.front)
		}
		for more && r.Due+e.front <= e.clock {
			e.add(r)
			before := r.Due
			if r, more = source(); more && r.Due < before {
				return fmt.Errorf("request %d is due at %v and the one before it at %v; a stream must be in the order of arrival", e.taken, r.Due, before)
			}
		}
		if e.inside == 0 {
			continue
		}
		if err := e.step(ctx); err != nil {
			return err
		}
		if e.smooth != nil && e.smooth.calm() {
			until := time.Duration(math.MaxInt64)
			if more {
				until = r.Due + e.front
			}
			if err := e.coast(ctx, until); err != nil {
				return err
			}
		}
	}
	return nil
}

// add shows the scheduler a request.
func (e *engine) add(r trace.Request) {
	n := e.taken
	e.taken++
	id := len(e.open)
	if last := len(e.vacant) - 1; last >= 0 {
		id, e.vacant = e.vacant[last], e.vacant[:last]
	} else {
		e.open = append(e.open, seat{})
	}
	e.open[id] = seat{n: n, row: trace.Row{Request: r, Sent: r.Due, Prompted: r.Prompt}}
	e.inside++
	if err := e.sched.Add(id, r.Prompt, r.Output, r.Keys(e.blocks)); err != nil {
		e.open[id].row.Error = err.Error()
		e.stats.Refused++
		e.leave(id)
	}
}

// leave hands out the row of a request that has ended.
func (e *engine) leave(id int) {
	e.emit(e.open[id].n, &e.open[id].row)
	e.vacant = append(e.vacant, id)
	e.inside--
}

// step computes one step and stamps who got a token.
func (e *engine) step(ctx context.Context) error {
	b := e.sched.Next()
	if b == nil || b.Empty() {
		return fmt.Errorf("the simulated engine has nothing to compute while requests wait, and never will: %v", e.sched)
	}
	d, outside := e.model.Step(b)
	if err := e.pass(ctx, d, outside, b); err != nil {
		return err
	}
	e.stats.PeakSeqs = max(e.stats.PeakSeqs, b.Sequences())
	out := e.sched.Done()
	for _, f := range out.Found {
		e.open[f.ID].row.Cached = f.Tokens
		e.stats.Cached += f.Tokens
	}
	for _, id := range out.First {
		e.open[id].row.First = e.clock
		e.open[id].row.FirstTokens = 1
	}
	for _, id := range out.Last {
		r := &e.open[id].row
		r.Last, r.Tokens = e.clock, r.Output
		e.leave(id)
	}
	return nil
}

// pass lets the time of a step pass.
func (e *engine) pass(ctx context.Context, d time.Duration, outside bool, b *Batch) error {
	if e.stats.Steps&0xfff == 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	if d <= 0 {
		return fmt.Errorf("the step-time model gives %v for a step of %d tokens in %d sequences; a step must take time", d, b.Tokens(), b.Sequences())
	}
	e.clock += d
	e.stats.Steps++
	e.stats.Busy += d
	e.stats.End = max(e.stats.End, e.clock)
	if outside {
		e.stats.Outside++
	}
	return nil
}

// coast computes steps as long as each differs from the one before it by one
// token of context a sequence alone: nobody comes, ends or is preempted. It
// gives what [engine.step] would give, to the bit, and asks the model for
// every step, but spares the scheduler's decisions.
func (e *engine) coast(ctx context.Context, until time.Duration) error {
	b := e.smooth.glide()
	for e.clock < until && e.smooth.glides() {
		d, outside := e.model.Step(b)
		if err := e.pass(ctx, d, outside, b); err != nil {
			return err
		}
		e.smooth.glided()
	}
	return nil
}

func (e *engine) closed() Stats {
	e.stats.Preemptions, e.stats.PeakBlocks = e.sched.totals()
	return e.stats
}
