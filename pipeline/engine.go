package pipeline

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"calrun/internal/failpoint"
	"calrun/pipeline/lock"
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

	agenda    *state.Agenda
	inbox     chan message
	flying    map[string]state.Command
	starts    int  // steps among the flying
	measuring bool // a measured step is running: a second one would disturb it
	stop      context.CancelFunc
	fatal     error // what keeps calrun itself from working

	secrets *secrets
	results results // of other runs
	finds   finds   // of this one
	inputs  map[string]any
	imports *imports
	leases  lock.Leases
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
	defer e.leases.Close()
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

// launch carries out what is to be done, as far as there is room. What needs
// no work of its own is done at once.
func (e *engine) launch(ctx context.Context) {
	for e.fatal == nil {
		c, ok := e.agenda.Take(e.room)
		if !ok {
			return
		}
		if ev := state.Instant(c); ev != nil {
			e.note(e.append(ev))
			e.agenda.End(c)
			continue
		}
		e.flying[c.ID()] = c
		if c.Op == state.OpStart {
			e.starts++
			e.measuring = e.measuring || e.measures(c)
		}
		j, err := e.job(c)
		go e.do(ctx, j, err)
	}
}

// mostQuestions is how many commands beside running steps are carried out at
// once: most of them ask files, some an engine that may not answer.
const mostQuestions = 64

func (e *engine) room(c state.Command) bool {
	if c.Op != state.OpStart {
		return len(e.flying)-e.starts < mostQuestions
	}
	return e.starts < e.slots && (!e.measuring || !e.measures(c))
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

// take journals what commands report: the message, and those of others that
// wait already, so that steps that end together share one write to the disk.
func (e *engine) take(m message) {
	batch := []message{m}
	for more := true; more; {
		select {
		case m := <-e.inbox:
			batch = append(batch, m)
		default:
			more = false
		}
	}
	var events []*Event
	for _, m := range batch {
		events = append(events, m.events...)
	}
	err := e.append(events...)
	e.note(err)
	for _, m := range batch {
		if m.end {
			e.land(m.cmd)
		}
		if m.ack != nil {
			m.ack <- err
		}
	}
}

// land says that a command is not being carried out any more.
func (e *engine) land(c state.Command) {
	delete(e.flying, c.ID())
	if c.Op == state.OpStart {
		e.starts--
		if e.measures(c) {
			e.measuring = false
		}
	}
	e.agenda.End(c)
}

// note remembers the first error that keeps the run from being recorded, and
// stops the work.
func (e *engine) note(err error) {
	if err != nil && e.fatal == nil {
		e.fatal = fmt.Errorf("run %s: %w"+diskAdvice, e.id, err)
		if e.stop != nil {
			e.stop()
		}
	}
}

// append makes events durable, then part of the state, then known.
func (e *engine) append(events ...*Event) error {
	if e.fatal != nil || len(events) == 0 {
		return e.fatal
	}
	for _, ev := range events {
		if err := e.secrets.event(ev); err != nil {
			return err
		}
		ev.At = e.runner.now().Round(0).UTC() // as the journal will have it
	}
	if err := e.journal.append(events...); err != nil {
		return err
	}
	failpoint.At("event.journalled")
	for _, ev := range events {
		full := *ev
		if err := e.runner.Store.inflate(&full); err != nil {
			return err
		}
		e.agenda.Apply(full)
		e.finds.note(ev)
		if ev.Resolved != nil {
			e.imports.journalled(ev.Resolved.Imported)
		}
		e.tell(Update{Run: e.id, Round: ev.Round, Step: ev.Step, Event: &full})
	}
	return nil
}

// remember lets later runs know of this one, unless nobody can tell what its
// journal holds.
func (e *engine) remember() {
	if e.fatal == nil {
		e.runner.Store.remember(e.finds.summary(e.state))
	}
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
