package state

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"calrun/pipeline/gate"
	"calrun/pipeline/kind"
	"calrun/pipeline/plan"

	"pgregory.net/rapid"
)

// loopPlan is the shape of the reference plan: hardware → profile → ready
// (gate) → sim → error → verdict (gate), a side branch, two remedies, a pure
// set.
const loopPlan = `version: calrun/v1
name: loop
limits: {rounds: 5}
steps:
  hardware: {uses: measured}
  profile: {uses: exact, needs: [hardware]}
  ready: {uses: gate, of: profile, assert: {strict: x < 1}, routes: [{when: failed.strict, run: reprofile}]}
  sim: {uses: exact, needs: [hardware, profile, ready], retry: {max: 1}}
  side: {uses: seeded, needs: [hardware]}
  error: {uses: exact, needs: [hardware, sim]}
  verdict:
    uses: gate
    of: error
    assert: {strict: x < 1}
    routes:
      - {when: failed.strict, run: reprofile}
      - {when: failed.strict, run: tune, max: 3}
      - {when: failed.strict, set: {hardware.x: 2}}
remedies:
  reprofile: {uses: measured, sets: {profile.x: x}}
  tune:
    uses: measured
    with: {x: "${{ steps.hardware.x }}", y: "${{ steps.sim.x }}"}
    sets: {sim.x: x, profile.x: x}
`

type fakeStep struct {
	X float64 `yaml:"x"`
	Y float64 `yaml:"y"`
}

func (*fakeStep) Run(context.Context, *kind.Runtime) (any, error) { return nil, nil }

func loop(t interface{ Fatal(...any) }) *plan.Plan {
	fake := func(name string, r kind.Repeat) kind.Kind {
		return kind.Kind{Name: name, Repeat: r, New: func() kind.Step { return &fakeStep{} }, Result: struct {
			X float64 `json:"x"`
		}{}}
	}
	p, problems := plan.LoadBytes("loop.yaml", []byte(loopPlan), plan.LoadOptions{Kinds: kind.NewKinds(fake("exact", kind.Exact), fake("seeded", kind.Seeded), fake("measured", kind.Measured))})
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	return p
}

// world answers commands at random, as a run might.
type world struct {
	t      *rapid.T
	plan   *plan.Plan
	state  *State
	agenda *Agenda // nil: the state is changed without one
	events []Event
	now    time.Time
}

func (w *world) append(e Event) {
	w.now = w.now.Add(time.Second)
	e.Seq, e.At = len(w.events)+1, w.now
	w.events = append(w.events, e)
	if w.agenda != nil {
		w.agenda.Apply(e)
		return
	}
	w.state.Apply(e)
}

func (w *world) carryOut(c Command) {
	e := Event{Round: c.Round, Step: c.Step}
	switch c.Op {
	case OpRound, OpBlock, OpClose:
		w.append(*Instant(c))
		return
	case OpResolve:
		if w.chance("unresolvable", 20) {
			e.Type, e.Why = EventFailed, "no engine"
			break
		}
		e.Type = EventResolved
		e.Resolved = &Resolved{Kind: "fake", Key: fmt.Sprintf("key %d", rapid.IntRange(0, 3).Draw(w.t, "key")), With: json.RawMessage(`{}`)}
		if w.chance("reused", 4) {
			e.Resolved.From, e.Resolved.Result = "run x", &Value{JSON: json.RawMessage(`{}`)}
		}
	case OpStart:
		e.Type, e.Attempt = EventStarted, c.Attempt
		w.append(e)
		switch {
		case w.chance("fails", 6):
			e.Type, e.Why = EventFailed, "boom"
		default:
			e.Type, e.Result = EventDone, &Value{JSON: json.RawMessage(`{"x":1}`)}
		}
	case OpJudge:
		e.Type, e.Gate = EventJudged, &GateState{Name: c.Step}
		e.Gate.Verdict = rapid.SampledFrom([]gate.Verdict{gate.Pass, gate.Fail, gate.Inconclusive}).Draw(w.t, "verdict")
		e.Gate.Assert = []gate.Judgement{{Name: "strict", Expr: "x < 1", Verdict: e.Gate.Verdict}}
		if st := w.state.Step(c.Round, w.plan.Decl(c.Step).Gate.Of); st.Result == nil {
			e.Gate.Blocked, e.Gate.Verdict = true, gate.Inconclusive
		}
	case OpRoute:
		e.Type = EventSettled
		for _, r := range w.plan.Routes() {
			id := RouteID(r.Gate, r.Index)
			if w.state.Shut[id] == "" && w.state.Spent[id] < r.Max && w.chance("holds", 2) {
				e.Type, e.Routed = EventRouted, &Routed{Gate: r.Gate, Index: r.Index, Run: r.Run}
				break
			}
		}
	case OpWeigh:
		e.Type, e.Changed = EventProgress, []string{"sim"}
		if w.chance("no progress", 3) {
			e.Type, e.Changed, e.Why = EventShut, nil, "no progress"
		}
		e.Step = ""
	}
	w.append(e)
}

func (w *world) chance(what string, oneIn int) bool {
	return rapid.IntRange(1, oneIn).Draw(w.t, what) == 1
}

// Whatever happens, a run obeys its plan: it ends, within its rounds and
// visits; nothing runs before what it needs or after it has a result; and its
// state is the fold of its journal.
func TestDecideLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := loop(t)
		w := &world{t: t, plan: p, state: &State{}}
		w.append(Event{Type: EventOpened, Opened: &Opened{Run: "x", Plan: "loop"}})
		for steps := 0; w.state.Closed.IsZero(); steps++ {
			if steps > 500 {
				t.Fatalf("not closed after %d events: %+v", len(w.events), w.state)
			}
			cmds := Decide(p, w.state)
			if again := Decide(p, w.state); !reflect.DeepEqual(cmds, again) {
				t.Fatalf("asked twice: %+v and %+v", cmds, again)
			}
			if len(cmds) == 0 {
				t.Fatalf("nothing to do and not closed: %+v", w.state.Rounds[len(w.state.Rounds)-1])
			}
			c := rapid.SampledFrom(cmds).Draw(t, "command")
			mayBegin(t, p, w.state, c)
			w.carryOut(c)
			if w.chance("death", 30) && w.state.Closed.IsZero() {
				w.append(Event{Type: EventResumed})
			}
		}
		ended(t, p, w.state)
		var folded State
		for _, e := range w.events {
			folded.Apply(e)
		}
		if !reflect.DeepEqual(&folded, w.state) {
			t.Fatalf("folding the journal gives %+v, the run had %+v", folded, *w.state)
		}
		for n := range w.events {
			var a State
			for _, e := range w.events[:n] {
				a.Apply(e)
			}
			Decide(p, &a) // must stand every prefix
		}
	})
}

// mayBegin holds a command against what its step needs.
func mayBegin(t *rapid.T, p *plan.Plan, s *State, c Command) {
	d := p.Decl(c.Step)
	if d == nil || d.Remedy || c.Op != OpResolve && c.Op != OpStart {
		return
	}
	st := s.Step(c.Round, c.Step)
	if st.Result != nil {
		t.Fatalf("%s of %s, which has a result", c.Op, c.Step)
	}
	for _, up := range p.After(c.Step) {
		if ok, _ := stand(p, s.Round(c.Round), up); !ok {
			t.Fatalf("%s of %s before %s", c.Op, c.Step, up)
		}
	}
}

// ended holds a closed run against the exit codes.
func ended(t *rapid.T, p *plan.Plan, s *State) {
	if len(s.Rounds) > p.Limits.Rounds {
		t.Fatalf("%d rounds of %d", len(s.Rounds), p.Limits.Rounds)
	}
	for _, r := range p.Routes() {
		if n := s.Spent[RouteID(r.Gate, r.Index)]; n > r.Max {
			t.Fatalf("%d visits of %d", n, r.Max)
		}
	}
	last := s.Rounds[len(s.Rounds)-1]
	failed := broken(last) || last.Route != nil && last.Route.Remedy != nil && last.Route.Remedy.Status == Failed
	switch {
	case failed != (s.Exit == ExitError):
		t.Fatalf("exit %d although failed is %v", s.Exit, failed)
	case s.Exit == ExitPass && !passed(last):
		t.Fatal("exit 0 although a gate is not passed")
	case s.Exit != ExitPass && len(s.Reasons) == 0:
		t.Fatalf("exit %d without a reason", s.Exit)
	}
}

func TestDecideStepByStep(t *testing.T) {
	p := loop(t)
	s := &State{}
	at := time.Date(2026, 11, 24, 22, 0, 0, 0, time.UTC)
	apply := func(events ...Event) {
		for _, e := range events {
			at = at.Add(time.Second)
			e.At = at
			s.Apply(e)
		}
	}
	done := func(round int, names ...string) {
		for _, n := range names {
			apply(
				Event{Type: EventResolved, Round: round, Step: n, Resolved: &Resolved{Key: n, With: json.RawMessage(`{}`)}},
				Event{Type: EventStarted, Round: round, Step: n, Attempt: 1},
				Event{Type: EventDone, Round: round, Step: n, Attempt: 1, Result: &Value{JSON: json.RawMessage(`{}`)}},
			)
		}
	}
	judged := func(round int, gate string, v gate.Verdict) {
		apply(Event{Type: EventJudged, Round: round, Step: gate, Gate: &GateState{Name: gate, Verdict: v}})
	}
	expect := func(why string, want ...string) {
		t.Helper()
		var got []string
		for _, c := range Decide(p, s) {
			got = append(got, c.ID())
		}
		if !slices.Equal(got, want) {
			t.Fatalf("%s: got %q, want %q", why, got, want)
		}
	}
	expect("nothing before the run is opened")
	apply(Event{Type: EventOpened, Opened: &Opened{Run: "x"}})
	expect("the first round", "round 1 ")
	apply(Event{Type: EventRound, Round: 1})
	expect("only what needs nothing", "resolve 1 hardware")
	done(1, "hardware")
	expect("two independent steps", "resolve 1 profile", "resolve 1 side")
	done(1, "profile", "side")
	expect("a gate in the middle, before what needs it", "judge 1 ready")
	judged(1, "ready", gate.Fail)
	expect("a gate that is not passed blocks what needs it", "block 1 sim")
	apply(Event{Type: EventBlocked, Round: 1, Step: "sim", Why: "ready"})
	expect("and so what depends on that", "block 1 error")
	apply(Event{Type: EventBlocked, Round: 1, Step: "error", Why: "sim"})
	expect("a gate over nothing is judged: as blocked", "judge 1 verdict")
	apply(Event{Type: EventJudged, Round: 1, Step: "verdict", Gate: &GateState{Name: "verdict", Verdict: gate.Inconclusive, Blocked: true}})
	expect("all gates are judged", "route 1 ")
	apply(Event{Type: EventRouted, Round: 1, Routed: &Routed{Gate: "ready", Index: 0, Run: "reprofile"}})
	expect("the remedy", "resolve 1 reprofile")
	done(1, "reprofile")
	expect("what it changes", "weigh 1 ready#0")
	apply(Event{Type: EventProgress, Round: 1, Changed: []string{"profile"}, Over: Overrides{"profile.x": {Value: json.RawMessage(`1`), By: "reprofile"}}})
	expect("the next round", "round 2 ")
	if got := Decide(p, s)[0].Touched; !slices.Equal(got, []string{"profile", "ready", "sim", "error", "verdict"}) {
		t.Fatalf("touched: %q", got)
	}
	apply(Event{Type: EventRound, Round: 2, Touched: Decide(p, s)[0].Touched})
	expect("the rest is carried over", "resolve 2 profile")
	if st := s.Rounds[1].Steps["hardware"]; st.Status != Reused || st.From != "round 1" {
		t.Fatalf("hardware in round 2: %+v", st)
	}
	done(2, "profile")
	judged(2, "ready", gate.Pass)
	done(2, "sim", "error")
	judged(2, "verdict", gate.Fail)
	apply(Event{Type: EventRouted, Round: 2, Routed: &Routed{Gate: "verdict", Index: 1, Run: "tune"}})
	done(2, "tune")
	apply(Event{Type: EventShut, Round: 2, Why: "no progress"})
	expect("a closed route is followed by the next choice", "route 2 ")
	apply(Event{Type: EventSettled, Round: 2, Notes: []string{"closed"}})
	expect("nothing left", "close 0 ")
	if c := Decide(p, s)[0].Closed; c.Exit != ExitFail || c.Verdict != gate.Fail {
		t.Fatalf("closed as %+v", c)
	}
}
