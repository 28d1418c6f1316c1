package state

import (
	"fmt"
	"time"

	"calrun/pipeline/gate"
	"calrun/pipeline/plan"
)

// Op is what a [Command] asks for.
type Op string

// The commands. Each ends in at least one event.
const (
	OpRound   Op = "round"   // begin a round → round
	OpResolve Op = "resolve" // find out with, identity and key, and whether a result is there → resolved, failed
	OpStart   Op = "start"   // run the step → started, part..., done or failed or stopped
	OpBlock   Op = "block"   // → blocked
	OpJudge   Op = "judge"   // judge the gate → judged
	OpRoute   Op = "route"   // choose a route → routed or settled
	OpWeigh   Op = "weigh"   // find out what the route taken changes → progress, shut
	OpClose   Op = "close"   // → closed
)

// Command is one thing to do next.
type Command struct {
	Op      Op
	Round   int
	Step    string        // step, remedy or gate
	Attempt int           // OpStart
	Wait    time.Duration // before a further attempt; who carries it out adds the jitter
	Why     string        // OpBlock
	Touched []string      // OpRound
	Closed  *Closed       // OpClose
}

// ID tells two commands apart while they are carried out.
func (c Command) ID() string { return fmt.Sprintf("%s %d %s", c.Op, c.Round, c.Step) }

// Decide says what is to be done next: everything that can be done at the
// same time, in plan order. It is a pure function: the same plan and state
// give the same commands, and commands that are being carried out are
// repeated until their events arrive. No command means wait, or that the run
// is closed.
func Decide(p *plan.Plan, s *State) []Command {
	if s.Opened.IsZero() || !s.Closed.IsZero() || s.Interrupted {
		return nil
	}
	if s.Late {
		return closing(p, s)
	}
	if len(s.Rounds) == 0 {
		return []Command{{Op: OpRound, Round: 1}}
	}
	r := s.Rounds[len(s.Rounds)-1]
	if r.Route != nil {
		return afterRoute(p, s, r)
	}
	cmds, busy := inRound(p, r)
	if len(cmds) > 0 || busy {
		return cmds
	}
	if r.Settled || broken(r) || passed(r) || spentRounds(p, s) {
		return closing(p, s)
	}
	return []Command{{Op: OpRoute, Round: r.N}}
}

// inRound returns the commands of a round and whether something in it is
// still running.
func inRound(p *plan.Plan, r *Round) (cmds []Command, busy bool) {
	for _, d := range p.Order() {
		c, due, running := next(p, r, d)
		if due {
			cmds = append(cmds, c)
		}
		busy = busy || running
	}
	return cmds, busy
}

// next is what is to be done with one step or gate of a round, and whether it
// is running.
func next(p *plan.Plan, r *Round, d *plan.Decl) (c Command, due, running bool) {
	if d.Gate != nil {
		of, ended := stand(p, r, d.Gate.Of)
		return Command{Op: OpJudge, Round: r.N, Step: d.Name}, r.Gates[d.Name] == nil && (of || ended), false
	}
	st := r.Steps[d.Name]
	if st == nil {
		st = &StepState{Name: d.Name, Status: Pending}
	}
	switch {
	case st.Status == Running:
		return c, false, true
	case st.Status == Failed && again(d, st):
		return attempt(r, d, st, backoff(d, st)), true, false
	case st.Status == Pending:
		why, ready := waitsFor(p, r, d)
		if why != "" {
			return Command{Op: OpBlock, Round: r.N, Step: d.Name, Why: why}, true, false
		}
		if ready {
			return attempt(r, d, st, 0), true, false
		}
	}
	return c, false, false
}

// attempt is the next thing to do with a step: to resolve it, then to start it.
func attempt(r *Round, d *plan.Decl, st *StepState, wait time.Duration) Command {
	if st.Key == "" {
		return Command{Op: OpResolve, Round: r.N, Step: d.Name, Wait: wait}
	}
	return Command{Op: OpStart, Round: r.N, Step: d.Name, Attempt: st.Attempt + 1, Wait: wait}
}

// again says whether an attempt that ended with an error is followed by
// another one.
func again(d *plan.Decl, st *StepState) bool {
	return st.Tries <= d.Retry.Max && !st.Class.final()
}

// mostDoublings bounds how long a backoff grows.
const mostDoublings = 5

// backoff is the wait before a further attempt: the plan's delay, twice as long
// each time.
func backoff(d *plan.Decl, st *StepState) time.Duration {
	return d.Retry.Wait << min(max(st.Tries-1, 0), mostDoublings)
}

// stand says whether a step has a result or a gate is passed, and, if not,
// whether that is final for the round.
func stand(p *plan.Plan, r *Round, name string) (ok, ended bool) {
	if d := p.Decl(name); d != nil && d.Gate != nil {
		g := r.Gates[name]
		return g != nil && g.Verdict == gate.Pass, g != nil
	}
	st := r.Steps[name]
	if st == nil {
		return false, false
	}
	switch st.Status {
	case Done, Reused:
		return true, true
	case Blocked:
		return false, true
	case Failed:
		return false, !again(p.Decl(name), st)
	}
	return false, false
}

// waitsFor says whether a step may begin, or why it never will in this round.
func waitsFor(p *plan.Plan, r *Round, d *plan.Decl) (why string, ready bool) {
	ready = true
	for _, name := range p.After(d.Name) {
		ok, ended := stand(p, r, name)
		if ok {
			continue
		}
		ready = false
		if !ended {
			continue
		}
		if g := r.Gates[name]; g != nil {
			return fmt.Sprintf("gate %s is not passed (%s)", name, gateWord(g)), false
		}
		return fmt.Sprintf("%s has no result (%s)", name, r.Steps[name].Status), false
	}
	return "", ready
}

func gateWord(g *GateState) string {
	switch {
	case g.Error != "":
		return "it could not be judged"
	case g.Blocked:
		return "what it judges has no result"
	}
	return string(g.Verdict)
}

// afterRoute carries a taken route through: its remedy, what that changes,
// the next round.
func afterRoute(p *plan.Plan, s *State, r *Round) []Command {
	if r.Route.Settled {
		return []Command{{Op: OpRound, Round: r.N + 1, Touched: p.Descendants(r.Route.Changed...)}}
	}
	m := r.Route.Remedy
	if m == nil || m.Status == Done || m.Status == Reused {
		return []Command{{Op: OpWeigh, Round: r.N, Step: r.Route.ID()}}
	}
	d := p.Decl(m.Name)
	switch {
	case m.Status == Running:
		return nil
	case m.Status == Pending:
		return []Command{attempt(r, d, m, 0)}
	case m.Status == Failed && again(d, m):
		return []Command{attempt(r, d, m, backoff(d, m))}
	}
	return closing(p, s)
}

// broken says whether something in the round ended with an error: then no
// route is taken, since what it would judge by is not whole.
func broken(r *Round) bool {
	for _, st := range r.Steps {
		if st.Status == Failed {
			return true
		}
	}
	for _, g := range r.Gates {
		if g.Error != "" {
			return true
		}
	}
	return false
}

// passed says whether every gate of the round is passed.
func passed(r *Round) bool {
	for _, g := range r.Gates {
		if g.Verdict != gate.Pass {
			return false
		}
	}
	return true
}

func spentRounds(p *plan.Plan, s *State) bool {
	return p.Limits.Rounds > 0 && len(s.Rounds) >= p.Limits.Rounds
}

// Instant is the event of a command that is nothing but its event.
func Instant(c Command) *Event {
	switch c.Op {
	case OpRound:
		return &Event{Type: EventRound, Round: c.Round, Touched: c.Touched}
	case OpBlock:
		return &Event{Type: EventBlocked, Round: c.Round, Step: c.Step, Why: c.Why}
	case OpClose:
		return &Event{Type: EventClosed, Closed: c.Closed}
	}
	return nil
}
