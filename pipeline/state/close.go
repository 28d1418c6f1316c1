package state

import (
	"fmt"
	"slices"

	"calrun/pipeline/gate"
	"calrun/pipeline/plan"
)

// closing ends a run with the verdict of its gates, or with its errors.
func closing(p *plan.Plan, s *State) []Command {
	c := &Closed{}
	if errs := brokenSteps(p, s); len(errs) > 0 {
		c.Exit, c.Reasons = ExitError, errs
		return []Command{{Op: OpClose, Closed: c}}
	}
	r := judgedRound(p, s)
	if r == nil {
		c.Verdict = gate.Inconclusive
		c.Reasons = []string{"no round was judged"}
	} else {
		c.Verdict, c.Reasons = roundVerdict(p, r)
	}
	switch {
	case c.Verdict == gate.Pass:
	case s.Late:
		c.Reasons = append(c.Reasons, fmt.Sprintf("limits.wall of %s is spent, in round %d", p.Limits.Wall, len(s.Rounds)))
	case spentRounds(p, s) && len(p.Routes()) > 0:
		c.Reasons = append(c.Reasons, fmt.Sprintf("limits.rounds of %d is spent", p.Limits.Rounds))
	default:
		c.Reasons = append(c.Reasons, s.Rounds[len(s.Rounds)-1].Notes...)
	}
	c.Exit = map[gate.Verdict]int{gate.Pass: ExitPass, gate.Fail: ExitFail, gate.Inconclusive: ExitInconclusive}[c.Verdict]
	return []Command{{Op: OpClose, Closed: c}}
}

// brokenSteps says what ended with an error in the last round, in plan order.
func brokenSteps(p *plan.Plan, s *State) []string {
	if len(s.Rounds) == 0 {
		return nil
	}
	r := s.Rounds[len(s.Rounds)-1]
	var out []string
	for _, d := range p.Order() {
		if st := r.Steps[d.Name]; st != nil && st.Status == Failed {
			out = append(out, d.Name+": "+st.Error)
		}
		if g := r.Gates[d.Name]; g != nil && g.Error != "" {
			out = append(out, d.Name+": "+g.Error)
		}
	}
	if r.Route != nil && r.Route.Remedy != nil && r.Route.Remedy.Status == Failed {
		out = append(out, r.Route.Run+": "+r.Route.Remedy.Error)
	}
	return out
}

// judgedRound is the last round in which every gate was judged: the last one,
// unless the time was up before its end.
func judgedRound(p *plan.Plan, s *State) *Round {
	for _, r := range slices.Backward(s.Rounds) {
		whole := true
		for _, d := range p.Order() {
			if d.Gate != nil && r.Gates[d.Name] == nil {
				whole = false
			}
		}
		if whole {
			return r
		}
	}
	return nil
}

// roundVerdict is the worst verdict of a round's gates, and why it is not
// pass.
func roundVerdict(p *plan.Plan, r *Round) (gate.Verdict, []string) {
	verdict := gate.Pass
	var why []string
	for _, d := range p.Order() {
		g := r.Gates[d.Name]
		if d.Gate == nil || g == nil {
			continue
		}
		verdict = gate.Worse(verdict, g.Verdict)
		if g.Blocked {
			why = append(why, fmt.Sprintf("%s was not judged: %s has no result", d.Name, d.Gate.Of))
			continue
		}
		for _, a := range g.Assert {
			if a.Verdict != gate.Pass {
				why = append(why, a.Sentence(d.Name))
			}
		}
	}
	return verdict, why
}
