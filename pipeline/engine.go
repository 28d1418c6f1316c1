package pipeline

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"calrun/pipeline/state"
)

// engine carries out a run's commands on this machine. One goroutine, the
// one in [engine.run], owns the state and the journal; commands are carried
// out by a goroutine each, which see copies and report events.
type engine struct {
	runner  *Runner
	plan    *Plan
	journal *journal
	state   *State
	id, dir string
	slots   int // most steps at once

	inbox     chan message
	flying    map[string]state.Command
	measuring bool // a measured step is running: a second one would disturb it
	stop      context.CancelFunc
	fatal     error // what keeps calrun itself from working

	results results           // of other runs
	moved   map[string]string // an input's new place → its digest, where the old one is gone
	observe sync.Mutex
}

// message is what a command's goroutine tells the owner of the state.
type message struct {
	cmd    state.Command
	events []*Event
	end    bool
	ack    chan error
}

// run decides and carries out until the run is closed, interrupted or cannot
// be recorded any more.
func (e *engine) run(ctx context.Context) (*State, error) {
	work, stop := context.WithCancel(ctx)
	defer stop()
	e.stop = stop
	var deadline <-chan time.Time
	if wall := e.plan.Limits.Wall; wall > 0 {
		timer := time.NewTimer(max(0, wall-e.state.Active))
		defer timer.Stop()
		deadline = timer.C
	}
	late := false
	for e.fatal == nil && e.state.Closed.IsZero() {
		if ctx.Err() == nil && !late {
			e.launch(work)
		}
		if len(e.flying) == 0 {
			switch {
			case ctx.Err() != nil:
				return e.state, e.append(&Event{Type: state.EventInterrupted})
			case late && !e.state.Late:
				e.note(e.append(&Event{Type: state.EventDeadline}))
				e.launch(ctx) // it only closes
			case e.fatal == nil && e.state.Closed.IsZero():
				return e.state, fmt.Errorf("run %s: nothing left to do in round %d, and yet it is not closed; "+
					"this is a bug of calrun", e.id, len(e.state.Rounds))
			}
			continue
		}
		select {
		case m := <-e.inbox:
			e.take(m)
		case <-deadline:
			late = true
			stop()
		}
	}
	stop()
	for len(e.flying) > 0 {
		e.take(<-e.inbox)
	}
	return e.state, e.fatal
}

// launch carries out what Decide asks for, as far as it is not being done
// and there is room. What needs no work of its own is done at once.
func (e *engine) launch(ctx context.Context) {
	for again := true; again && e.fatal == nil; {
		again = false
		for _, c := range state.Decide(e.plan, e.state) {
			if _, busy := e.flying[c.ID()]; busy {
				continue
			}
			if ev := state.Instant(c); ev != nil {
				e.note(e.append(ev))
				again = true
				break
			}
			if !e.room(c) {
				continue
			}
			e.flying[c.ID()] = c
			if e.measures(c) {
				e.measuring = true
			}
			j, err := e.job(c)
			go e.do(ctx, j, err)
		}
	}
}

func (e *engine) room(c state.Command) bool {
	if c.Op != state.OpStart {
		return true
	}
	running := 0
	for _, f := range e.flying {
		if f.Op == state.OpStart {
			running++
		}
	}
	return running < e.slots && (!e.measuring || !e.measures(c))
}

// measures says whether a command starts a measurement.
func (e *engine) measures(c state.Command) bool {
	return c.Op == state.OpStart && e.state.Step(c.Round, c.Step).Repeat == Measured.String()
}

// do carries out one command and reports its end.
func (e *engine) do(ctx context.Context, j *job, err error) {
	var events []*Event
	if err != nil {
		events = []*Event{{Type: state.EventFailed, Round: j.cmd.Round, Step: j.cmd.Step, Why: err.Error()}}
	} else {
		events = j.do(ctx)
	}
	e.inbox <- message{cmd: j.cmd, events: events, end: true}
}

// take journals what a command reports.
func (e *engine) take(m message) {
	var err error
	for _, ev := range m.events {
		if err == nil {
			err = e.append(ev)
		}
	}
	e.note(err)
	if m.end {
		delete(e.flying, m.cmd.ID())
		if e.measures(m.cmd) {
			e.measuring = false
		}
	}
	if m.ack != nil {
		m.ack <- err
	}
}

// note remembers the first error that keeps the run from being recorded, and
// stops the work.
func (e *engine) note(err error) {
	if err != nil && e.fatal == nil {
		e.fatal = fmt.Errorf("run %s: %w; nothing finished is lost: free the disk and resume", e.id, err)
		if e.stop != nil {
			e.stop()
		}
	}
}

// append makes an event durable, then part of the state, then known.
func (e *engine) append(ev *Event) error {
	if e.fatal != nil {
		return e.fatal
	}
	ev.At = e.runner.now().Round(0).UTC() // as the journal will have it
	if err := e.journal.append(ev); err != nil {
		return err
	}
	full := *ev
	if err := e.runner.Store.inflate(&full); err != nil {
		return err
	}
	e.state.Apply(full)
	e.tell(Update{Run: e.id, Round: ev.Round, Step: ev.Step, Event: &full})
	return nil
}

// report journals events of a command that goes on, and waits until they are
// durable.
func (e *engine) report(c state.Command, events ...*Event) error {
	ack := make(chan error, 1)
	e.inbox <- message{cmd: c, events: events, ack: ack}
	return <-ack
}

func (e *engine) tell(u Update) {
	if e.runner.Observe == nil {
		return
	}
	e.observe.Lock()
	defer e.observe.Unlock()
	e.runner.Observe(u)
}

// cancelled says whether an error is the run's own end and not the step's.
func cancelled(ctx context.Context, err error) bool {
	return err != nil && ctx.Err() != nil && !errors.Is(ctx.Err(), context.DeadlineExceeded)
}
