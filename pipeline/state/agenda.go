package state

import (
	"container/heap"
	"sort"

	"calrun/pipeline/kind"
	"calrun/pipeline/plan"
)

// Agenda is [Decide] for a run that goes on: it holds the state, and after an
// event it looks at the step of the event and at those that depend on it, where
// Decide looks at the whole graph. A round of n steps costs n looks, not n².
//
// What [Agenda.Take] hands out is always among what Decide would say; a law of
// the tests holds the two together. It is not safe for several goroutines.
type Agenda struct {
	plan  *plan.Plan
	state *State
	place map[string]int // in the plan's order

	due     []entry // by place: what Decide says of a step or gate of the round
	open    int     // steps and gates that have a command or are running
	queues  [classes]places
	rest    []Command
	resting bool // nothing is left in the round: rest is what Decide says
}

// class sorts commands by what they ask of the machine: those of one class fit
// or do not fit alike, so that one that does not fit need not be passed over
// again and again.
type class int

const (
	light   class = iota // resolve, judge, block: no slot
	start                // a step that computes
	measure              // a step that measures
	classes
)

func (a *Agenda) class(c Command) class {
	switch {
	case c.Op != OpStart:
		return light
	case a.state.Step(c.Round, c.Step).Repeat == kind.Measured.String():
		return measure
	}
	return start
}

// places is a heap of places in the plan's order.
type places struct{ sort.IntSlice }

// Push is for package heap.
func (q *places) Push(x any) { q.IntSlice = append(q.IntSlice, x.(int)) }

// Pop is for package heap.
func (q *places) Pop() any {
	last := len(q.IntSlice) - 1
	x := q.IntSlice[last]
	q.IntSlice = q.IntSlice[:last]
	return x
}

// entry is where a step or gate stands.
type entry struct {
	cmd          Command
	due, running bool
	taken        bool // the command is being carried out
}

// NewAgenda begins with a state as it is.
func NewAgenda(p *plan.Plan, s *State) *Agenda {
	a := &Agenda{plan: p, state: s, place: make(map[string]int, len(p.Order()))}
	for i, d := range p.Order() {
		a.place[d.Name] = i
	}
	a.survey()
	return a
}

// Apply adds an event to the state and looks at what it changes.
func (a *Agenda) Apply(e Event) {
	a.state.Apply(e)
	a.resting = false
	switch e.Type {
	case EventResolved, EventStarted, EventPart, EventDone, EventFailed, EventStopped, EventBlocked, EventJudged:
		at, ordered := a.place[e.Step]
		if !ordered || len(a.state.Rounds) != e.Round {
			return // a remedy: no step of the round waits for it
		}
		if e.Type == EventPart {
			return // it only adds to what a running step has
		}
		a.look(at)
		for _, name := range a.plan.Before(e.Step) {
			if at, ordered := a.place[name]; ordered {
				a.look(at)
			}
		}
	case EventRouted, EventProgress, EventShut, EventSettled:
	default:
		a.survey()
	}
}

// survey looks at everything: a round begins, or the run goes on.
func (a *Agenda) survey() {
	taken := a.due
	a.due = make([]entry, len(a.plan.Order()))
	a.open, a.queues, a.resting = 0, [classes]places{}, false
	if len(a.state.Rounds) == 0 {
		return
	}
	for at := range a.due {
		if at < len(taken) && taken[at].taken {
			a.due[at].taken, a.due[at].cmd = true, taken[at].cmd
		}
		a.look(at)
	}
}

// look finds out what is to be done with one step or gate.
func (a *Agenda) look(at int) {
	e := &a.due[at]
	was := e.due || e.running
	cmd, due, running := next(a.plan, a.state.Rounds[len(a.state.Rounds)-1], a.plan.Order()[at])
	known := cmd.ID() == e.cmd.ID() && (e.due || e.taken)
	if due && !known {
		heap.Push(&a.queues[a.class(cmd)], at)
		e.taken = false
	}
	if due {
		e.cmd = cmd
	}
	e.due, e.running = due, running
	switch is := due || running; {
	case is && !was:
		a.open++
	case was && !is:
		a.open--
	}
}

// Take returns the next command that is not being carried out and that fits,
// in plan order; ok is false if there is none now. fits must say the same of
// all commands that start a step that computes, of all that start one that
// measures, and of all others.
func (a *Agenda) Take(fits func(Command) bool) (c Command, ok bool) {
	s := a.state
	if s.Opened.IsZero() || !s.Closed.IsZero() || s.Interrupted {
		return c, false
	}
	r := s.Round(len(s.Rounds))
	if s.Late || r == nil || r.Route != nil || a.open == 0 {
		return a.takeRest()
	}
	best := class(-1)
	for cl := range classes {
		at, queued := a.head(cl)
		if queued && fits(a.due[at].cmd) && (best < 0 || at < a.queues[best].IntSlice[0]) {
			best = cl
		}
	}
	if best < 0 {
		return c, false
	}
	e := &a.due[heap.Pop(&a.queues[best]).(int)]
	e.taken = true
	return e.cmd, true
}

// head is the first place of a class whose command still waits to be taken.
func (a *Agenda) head(cl class) (at int, ok bool) {
	for q := &a.queues[cl]; q.Len() > 0; heap.Pop(q) {
		at := q.IntSlice[0]
		if e := a.due[at]; e.due && !e.taken && a.class(e.cmd) == cl {
			return at, true
		} // else it changed since it was queued
	}
	return 0, false
}

// takeRest returns what is to be done between two rounds.
func (a *Agenda) takeRest() (c Command, ok bool) {
	if !a.resting {
		a.rest, a.resting = Decide(a.plan, a.state), true
	}
	if len(a.rest) == 0 {
		return c, false
	}
	c, a.rest = a.rest[0], a.rest[1:]
	return c, true
}

// End says that a command is not being carried out any more, whatever came of
// it: there is room for others, and it is due again unless an event of it said
// otherwise.
func (a *Agenda) End(c Command) {
	a.resting = false
	if at, ordered := a.place[c.Step]; ordered {
		e := &a.due[at]
		if e.taken && e.cmd.ID() == c.ID() {
			e.taken = false
			if e.due {
				heap.Push(&a.queues[a.class(e.cmd)], at)
			}
		}
	}
}
