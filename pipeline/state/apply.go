package state

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"time"
)

// Apply adds what happened to the state. Folding the events of a journal
// gives the state of its run; an event that does not fit is passed over,
// since the chain of hashes has already proved that calrun wrote it.
func (s *State) Apply(e Event) {
	if !e.whole() {
		return
	}
	if e.Type != EventOpened && e.Type != EventResumed && e.At.After(s.Last) {
		s.Active += e.At.Sub(s.Last)
	}
	s.Last = e.At
	switch e.Type {
	case EventOpened:
		s.applyOpened(e)
	case EventRound:
		s.applyRound(e)
	case EventJudged:
		if r := s.Round(e.Round); r != nil {
			r.Gates[e.Step] = e.Gate
		}
	case EventRouted, EventProgress, EventShut, EventSettled:
		s.applyRoute(e)
	case EventDeadline:
		s.Late = true
	case EventInterrupted:
		s.Interrupted, s.Exit = true, ExitInterrupted
	case EventResumed:
		s.applyResumed()
	case EventClosed:
		s.Closed = e.At
		s.Verdict, s.Exit, s.Reasons = e.Closed.Verdict, e.Closed.Exit, e.Closed.Reasons
	default:
		if st := s.Step(e.Round, e.Step); st != nil {
			s.applyStep(st, e)
		}
	}
}

// whole says whether an event has what its type needs.
func (e Event) whole() bool {
	switch e.Type {
	case EventOpened:
		return e.Opened != nil
	case EventResolved:
		return e.Resolved != nil
	case EventPart:
		return e.Part != nil
	case EventDone:
		return e.Result != nil
	case EventJudged:
		return e.Gate != nil
	case EventRouted:
		return e.Routed != nil
	case EventClosed:
		return e.Closed != nil
	}
	return true
}

func (s *State) applyOpened(e Event) {
	o := e.Opened
	s.Run, s.Plan, s.File, s.Dir, s.Version, s.From = o.Run, o.Plan, o.File, o.Dir, o.Version, o.From
	s.Opened = e.At
	s.Inputs, s.Secrets = o.Inputs, o.Secrets
	s.Imported = maps.Clone(o.Imported)
	if s.Imported == nil {
		s.Imported = map[string]string{}
	}
	s.Spent, s.Shut, s.Over = map[string]int{}, map[string]string{}, Overrides{}
}

// applyRound begins a round. What the last route does not touch is carried
// over: it is the same step with the same inputs.
func (s *State) applyRound(e Event) {
	next := &Round{N: e.Round, Steps: map[string]*StepState{}, Gates: map[string]*GateState{}}
	if last := s.Round(e.Round - 1); last != nil {
		touched := make(map[string]bool, len(e.Touched))
		for _, name := range e.Touched {
			touched[name] = true
		}
		for name, st := range last.Steps {
			if st.Result == nil || touched[name] {
				continue
			}
			carried := *st
			carried.Status = Reused
			if carried.From == "" {
				carried.From = FromRound(last.N)
			}
			next.Steps[name] = &carried
		}
	}
	s.Rounds = append(s.Rounds, next)
}

// FromRound says where a result comes from that a round of the run made.
func FromRound(n int) string { return "round " + strconv.Itoa(n) }

func (s *State) applyStep(st *StepState, e Event) {
	switch e.Type {
	case EventResolved:
		r := e.Resolved
		st.Kind, st.Repeat, st.Key, st.With, st.ID = r.Kind, r.Repeat, r.Key, r.With, r.ID
		maps.Copy(s.Imported, r.Imported)
		if r.Result != nil {
			st.Status, st.Result, st.From, st.Dir = Reused, r.Result.JSON, r.From, r.Dir
			st.Error = ""
		}
	case EventStarted:
		st.Status, st.Attempt, st.Dir, st.Started, st.Error = Running, e.Attempt, e.Dir, e.At, ""
		st.Class = ClassStep
		st.Tries++
	case EventPart:
		if !slices.Contains(st.Parts, e.Part.Key) {
			st.Parts = append(st.Parts, e.Part.Key)
		}
	case EventDone:
		st.Status, st.Result, st.Dir, st.Ended, st.Error = Done, e.Result.JSON, e.Dir, e.At, ""
	case EventFailed:
		if st.Status != Running { // it was not even started
			st.Tries++
		}
		st.Status, st.Error, st.Class, st.Ended = Failed, e.Why, e.Class, e.At
	case EventStopped:
		st.Status, st.Ended = Pending, e.At
	case EventBlocked:
		st.Status, st.Error, st.Ended = Blocked, e.Why, e.At
	}
}

func (s *State) applyRoute(e Event) {
	r := s.Round(e.Round)
	if r == nil || r.Route == nil && (e.Type == EventProgress || e.Type == EventShut) {
		return
	}
	switch e.Type {
	case EventRouted:
		t := e.Routed
		r.Route = &RouteState{
			Gate: t.Gate, Index: t.Index, When: t.When, Values: t.Values, Run: t.Run, Notes: t.Notes, Sets: t.Sets,
		}
		if t.Run != "" {
			r.Route.Remedy = &StepState{Name: t.Run, Kind: t.Kind, Status: Pending}
		}
		s.Spent[r.Route.ID()]++
	case EventProgress:
		r.Route.Settled, r.Route.Changed, s.Over = true, e.Changed, e.Over
		if s.Over == nil {
			s.Over = Overrides{}
		}
		if r.Route.Remedy != nil {
			r.Route.Remedy.Sets = setBy(e.Over, r.Route.Run)
		}
	case EventShut:
		s.Shut[r.Route.ID()] = e.Why
		r.Tried = append(r.Tried, r.Route)
		r.Route = nil
	case EventSettled:
		r.Settled, r.Notes = true, e.Notes
	}
}

// setBy returns the overrides that a remedy has in force.
func setBy(over Overrides, by string) map[string]json.RawMessage {
	out := map[string]json.RawMessage{}
	for target, o := range over {
		if o.By == by {
			out[target] = o.Value
		}
	}
	return out
}

// applyResumed gives what did not finish another chance. Keys are computed
// anew: the world may have changed while nobody worked on the run.
func (s *State) applyResumed() {
	s.Closed, s.Verdict, s.Exit, s.Reasons, s.Interrupted = time.Time{}, "", 0, nil, false
	if len(s.Rounds) == 0 {
		return
	}
	r := s.Rounds[len(s.Rounds)-1]
	for _, st := range r.Steps {
		st.retry()
	}
	if r.Route != nil && r.Route.Remedy != nil {
		r.Route.Remedy.retry()
	}
	for name, g := range r.Gates {
		if g.Blocked || g.Error != "" {
			delete(r.Gates, name)
		}
	}
	r.Settled, r.Notes = false, nil
}

func (st *StepState) retry() {
	if st.Status == Done || st.Status == Reused {
		return
	}
	*st = StepState{Name: st.Name, Kind: st.Kind, Status: Pending, Attempt: st.Attempt, Parts: st.Parts}
}

// Round returns a round by its number, or nil.
func (s *State) Round(n int) *Round {
	if n < 1 || n > len(s.Rounds) {
		return nil
	}
	return s.Rounds[n-1]
}

// Step returns a step of a round, or the remedy that is taken after it. A
// step that nothing has happened to yet is pending.
func (s *State) Step(round int, name string) *StepState {
	r := s.Round(round)
	if r == nil {
		return nil
	}
	if r.Route != nil && r.Route.Remedy != nil && r.Route.Run == name {
		return r.Route.Remedy
	}
	st := r.Steps[name]
	if st == nil {
		st = &StepState{Name: name, Status: Pending}
		r.Steps[name] = st
	}
	return st
}
