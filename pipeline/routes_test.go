package pipeline

import (
	"context"
	"strings"
	"testing"
)

const twoRemedies = `version: calrun/v1
name: two-remedies
limits: {rounds: 6}
steps:
  base: {uses: model, with: {bias: 0.9}}
  ready:
    uses: gate
    of: base
    assert: {near: error < 0.8}
    routes:
      - {when: failed.near, run: rebase, max: 1}
  sim:
    uses: model
    needs: [ready]
    with: {bias: 0.5}
  verdict:
    uses: gate
    of: sim
    assert: {close: error < 0.15}
    warn: {tight: error < 0.01}
    routes:
      - {when: failed.close && steps.sim.bias < 0.45, run: rebase, max: 1}
      - {when: failed.close, run: tune, max: 3}
remedies:
  rebase:
    uses: fix
    sets: {base.bias: bias}
    forget: [tune]
    with: {start: "${{ steps.base.bias }}", step: 0.5}
  tune:
    uses: fix
    sets: {sim.bias: bias}
    with: {start: "${{ steps.sim.bias }}", step: 0.1}
`

// What a remedy forgets falls back to what the plan says.
func TestForget(t *testing.T) {
	b := newBench(t)
	s := b.run(twoRemedies, RunOptions{})
	golden(t, "forget", b.story(s.Run))
	var withs []string
	for _, r := range s.Rounds {
		withs = append(withs, string(r.Steps["sim"].With))
	}
	got := strings.Join(withs, " ")
	if want := `{"bias":0.5} {"bias":0.4} {"bias":0.5} {"bias":0.4} {"bias":0.30000000000000004}`; got != want {
		t.Errorf("sim worked on %s, want %s", got, want)
	}
	if s.Exit != ExitPass || len(s.Over) != 2 || s.Over["base.bias"].By != "rebase" || s.Over["sim.bias"].By != "tune" {
		t.Errorf("exit %d, %v", s.Exit, s.Over)
	}
	if w := s.Rounds[4].Gates["verdict"].Warn; len(w) != 1 || w[0].Verdict != Fail {
		t.Errorf("the warning is %+v, and has no say", w)
	}
	// Back at an old key its result is the round's, not another computation.
	if st := s.Rounds[2].Steps["sim"]; st.Status != Reused || st.From != "round 1" {
		t.Errorf("sim in round 3 is %s from %q", st.Status, st.From)
	}
}

// A gate in the middle blocks what needs it, and has routes of its own.
func TestGateInTheMiddle(t *testing.T) {
	b := newBench(t)
	s := b.run(strings.Replace(twoRemedies, "error < 0.8", "error < 0.4", 1), RunOptions{})
	golden(t, "gate_in_the_middle", b.story(s.Run))
	first := s.Rounds[0]
	if first.Steps["sim"].Status != Blocked || !first.Gates["verdict"].Blocked || first.Route.Gate != "ready" {
		t.Errorf("round 1: sim is %s, route of %s", first.Steps["sim"].Status, first.Route.Gate)
	}
	if b.fakes.calls.count("run sim") == 0 || s.Exit != ExitPass {
		t.Errorf("exit %d, %v", s.Exit, s.Reasons)
	}
}

// A gate that cannot be judged is an error, and its run can be gone on with.
func TestGateWithoutItsValue(t *testing.T) {
	b := newBench(t)
	s := b.run(strings.Replace(small, "error < 0.15", "good", 1), RunOptions{})
	if s.Exit != ExitError || !strings.Contains(s.Reasons[0], "good is missing") || !s.Unfinished() {
		t.Errorf("exit %d, %v", s.Exit, s.Reasons)
	}
}

// A remedy that cannot work ends the run with its error; resumed, it is the
// remedy that is tried again.
func TestRemedyFails(t *testing.T) {
	b := newBench(t)
	b.fakes.hook = func(_ context.Context, rt *Runtime, _ string) error {
		if rt.Step() == "fix" {
			return errBoom
		}
		return nil
	}
	s := b.run(small, RunOptions{})
	if s.Exit != ExitError || s.Reasons[0] != "fix: boom" {
		t.Fatalf("exit %d, %v", s.Exit, s.Reasons)
	}
	b.fakes.hook = nil
	if s = b.resume(s.Run); s.Exit != ExitPass || b.fakes.calls.count("run sim") != 3 {
		t.Errorf("exit %d, %v", s.Exit, b.fakes.calls.all())
	}
}

// A remedy that measures does so each time that it is called: its second
// visit does not get the parts of its first.
func TestRemedyMeasuresAgain(t *testing.T) {
	b := newBench(t)
	s := b.run(`version: calrun/v1
name: again
limits: {rounds: 3}
steps:
  sim: {uses: model, with: {bias: 0.5}}
  verdict:
    uses: gate
    of: sim
    assert: {close: error < 0.1}
    routes: [{when: failed.close, run: remeasure, max: 2}]
remedies:
  remeasure: {uses: measure, sets: {sim.data: data}, with: {seeds: 1}}
`, RunOptions{})
	if got := b.fakes.calls.count("part remeasure 1"); got != 2 {
		t.Errorf("the part was made %d times in two visits", got)
	}
	first, second := s.Rounds[0].Route.Remedy, s.Rounds[1].Route.Remedy
	if string(first.Result) == string(second.Result) {
		t.Errorf("both visits gave %s", first.Result)
	}
}
