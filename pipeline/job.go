package pipeline

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"strings"

	"calrun/pipeline/canonical"
	"calrun/pipeline/plan"
	"calrun/pipeline/state"
)

// job is a command with copies of what it needs of the state.
type job struct {
	e       *engine
	cmd     state.Command
	decl    *plan.Decl
	step    StepState                  // OpResolve, OpStart
	env     Env                        // results and inputs
	over    map[string]json.RawMessage // overrides of this step by field
	earlier []StepState                // the same step in earlier rounds, newest first
	repeat  Repeat                     // OpResolve
	visit   int                        // of a remedy, from 1; 0 for a step
	from    string                     // the run whose measured results may be reused
	round   *Round                     // OpRoute, OpWeigh, OpJudge: its maps are not changed while the round is quiet, except Gates; copied
	spent   map[string]int
	shut    map[string]string
	all     state.Overrides
}

// job copies what a command needs. It is called by the owner of the state;
// the job's goroutine sees nothing else of it.
func (e *engine) job(c state.Command) (*job, error) {
	s, r := e.state, e.state.Round(c.Round)
	j := &job{e: e, cmd: c, decl: e.plan.Decl(c.Step), from: s.From}
	var err error
	switch c.Op {
	case state.OpResolve:
		j.env, err = environment(r, e.inputs, e.plan.After(c.Step)...)
	case state.OpRoute, state.OpWeigh:
		j.env, err = environment(r, e.inputs, slices.Sorted(maps.Keys(r.Steps))...)
	}
	if err != nil {
		return j, err
	}
	switch c.Op {
	case state.OpResolve, state.OpStart:
		j.step = *s.Step(c.Round, c.Step)
		j.over = overFor(s.Over, c.Step)
		if j.decl.Remedy {
			j.visit = visits(s, c.Step)
			break
		}
		for n := c.Round - 1; n >= 1; n-- {
			if st := s.Round(n).Steps[c.Step]; st != nil && st.Result != nil {
				known := *st
				if known.From == "" {
					known.From = state.FromRound(n)
				}
				j.earlier = append(j.earlier, known)
			}
		}
	case state.OpJudge:
		if st := r.Steps[j.decl.Gate.Of]; st != nil {
			j.step = *st
		}
	case state.OpRoute, state.OpWeigh:
		j.round = &Round{N: r.N, Steps: maps.Clone(r.Steps), Gates: maps.Clone(r.Gates), Route: r.Route}
		j.spent, j.shut, j.all = maps.Clone(s.Spent), maps.Clone(s.Shut), maps.Clone(s.Over)
	}
	return j, nil
}

// environment is what expressions may see of a round: the inputs, and the
// results of the named steps.
func environment(r *Round, inputs map[string]any, steps ...string) (Env, error) {
	env := Env{Steps: map[string]any{}, Inputs: inputs}
	for _, name := range steps {
		st := r.Steps[name]
		if st == nil || st.Result == nil {
			continue
		}
		v, err := canonical.DecodeFloats(st.Result)
		if err != nil {
			return env, fmt.Errorf("result of %s: %w", name, err)
		}
		env.Steps[name] = v
	}
	return env, nil
}

// decodeInputs is what expressions may see of a run's inputs.
func decodeInputs(raw map[string]json.RawMessage) (map[string]any, error) {
	out := map[string]any{}
	for _, name := range slices.Sorted(maps.Keys(raw)) {
		v, err := canonical.DecodeFloats(raw[name])
		if err != nil {
			return nil, fmt.Errorf("input %s: %w", name, err)
		}
		out[name] = v
	}
	return out, nil
}

// overFor returns the overrides of one step by field.
func overFor(over state.Overrides, step string) map[string]json.RawMessage {
	out := map[string]json.RawMessage{}
	for target, o := range over {
		if field, ok := strings.CutPrefix(target, step+"."); ok && field != "" {
			out[field] = o.Value
		}
	}
	return out
}

// visits counts how often a remedy was called in the run, this time included.
func visits(s *State, remedy string) int {
	n := 0
	for _, r := range s.Rounds {
		for _, t := range r.Routes() {
			if t.Run == remedy {
				n++
			}
		}
	}
	return n
}

// do carries the command out and returns its events. A panic is the step's
// error, not the run's end.
func (j *job) do(ctx context.Context) (events []*Event) {
	defer func() {
		if p := recover(); p != nil {
			j.e.runner.Log.Error().Str("step", j.cmd.Step).Bytes("stack", debug.Stack()).Msg("panic")
			events = []*Event{j.failed(as(state.ClassPanic, fmt.Errorf("it panicked: %v; the log has the stack", p)))}
		}
	}()
	switch j.cmd.Op {
	case state.OpResolve:
		return j.resolve(ctx)
	case state.OpStart:
		return j.start(ctx)
	case state.OpJudge:
		g := j.judge(ctx)
		if ctx.Err() != nil {
			return nil // half a judgement is none
		}
		return []*Event{{Type: state.EventJudged, Round: j.cmd.Round, Step: j.cmd.Step, Gate: g}}
	case state.OpRoute:
		return []*Event{j.route()}
	case state.OpWeigh:
		return []*Event{j.weigh()}
	}
	return []*Event{j.failed(fmt.Errorf("no such command: %s", j.cmd.Op))}
}

func (j *job) failed(err error) *Event {
	why, class := j.named(err.Error()), classOf(err)
	if class == state.ClassDisk {
		why += diskAdvice
	}
	if j.cmd.Op == state.OpJudge {
		return &Event{
			Type: state.EventJudged, Round: j.cmd.Round, Step: j.cmd.Step,
			Gate: &GateState{Name: j.cmd.Step, Verdict: Inconclusive, Error: why},
		}
	}
	return &Event{Type: state.EventFailed, Round: j.cmd.Round, Step: j.cmd.Step, Attempt: j.cmd.Attempt, Why: why, Class: class}
}

func (j *job) stopped() *Event {
	return &Event{Type: state.EventStopped, Round: j.cmd.Round, Step: j.cmd.Step, Attempt: j.cmd.Attempt}
}
