package steps

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"calrun/internal/report"
	"calrun/pipeline"
)

// RunRecord is a run as a report needs it: its state, and a way to its files.
type RunRecord struct {
	State    *pipeline.State
	Plan     *pipeline.Plan // for the order of steps and what gates judge; nil if it does not load any more
	Source   []byte         // text of the plan
	Artefact func(pipeline.Artefact) (path string, err error)
}

// Report makes the page of a run, finished or not. What is missing (no
// comparison, artefacts that were removed) leaves its part of the page out
// and says so among the doubts; there is no run without a page.
func Report(r RunRecord) report.Page {
	b := &reporter{RunRecord: r}
	p := report.Page{
		Plan: r.State.Plan, Run: r.State.Run, Verdict: pageVerdict(r.State), Headline: pageHeadline(r.State),
		Reasons: r.State.Reasons, Source: string(r.Source),
	}
	for _, round := range r.State.Rounds {
		p.Rounds = append(p.Rounds, b.round(round))
	}
	p.Params = b.params()
	if last := b.lastJudged(); last != nil {
		p.Gates = b.gates(last)
		b.comparison(&p, last)
		p.Cause = b.cause(last)
	}
	b.stepDoubts()
	p.Origin, p.Provenance = b.origin(), b.provenance()
	p.Doubts = append(p.Doubts, b.doubts...)
	return p
}

// reporter is a RunRecord on its way to a page.
type reporter struct {
	RunRecord
	doubts []string
}

func (b *reporter) doubt(format string, args ...any) {
	if text := fmt.Sprintf(format, args...); !slices.Contains(b.doubts, text) {
		b.doubts = append(b.doubts, text)
	}
}

func pageVerdict(s *pipeline.State) string {
	switch {
	case s.Closed.IsZero():
		return ""
	case s.Verdict == "":
		return "error"
	}
	return string(s.Verdict)
}

// pageHeadline is the run in one sentence.
func pageHeadline(s *pipeline.State) string {
	if s.Closed.IsZero() {
		if s.Interrupted {
			return "Interrupted; calrun resume goes on."
		}
		return "Not finished: it goes on, or it was killed and calrun resume goes on."
	}
	var via []string
	gates := 0
	for _, r := range s.Rounds {
		gates += len(r.Gates)
		switch {
		case r.Route == nil:
		case r.Route.Run != "":
			via = append(via, r.Route.Run)
		default:
			via = append(via, "a change of fields")
		}
	}
	where := fmt.Sprintf("in round %d", len(s.Rounds))
	if len(via) > 0 {
		where += ", after " + strings.Join(via, " and ")
	}
	switch s.Verdict {
	case pipeline.Pass:
		if gates == 0 {
			return "Done " + where + ". The plan has no gate: nothing was judged."
		}
		return "Passed " + where + "."
	case pipeline.Fail:
		return "Failed " + where + "."
	case pipeline.Inconclusive:
		return "Not sure " + where + ": the data cannot tell."
	}
	return "A step could not work, " + where + "."
}

// order returns the names of a round's steps as the plan has them, or by
// their start where the plan is not known.
func (b *reporter) order(steps map[string]*pipeline.StepState) []string {
	var names []string
	for name := range steps {
		names = append(names, name)
	}
	place := map[string]int{}
	if b.Plan != nil {
		for i, d := range b.Plan.Steps {
			place[d.Name] = i + 1
		}
	}
	slices.SortFunc(names, func(x, y string) int {
		return cmp.Or(place[x]-place[y], steps[x].Started.Compare(steps[y].Started), strings.Compare(x, y))
	})
	return names
}

func (b *reporter) gateOrder(gates map[string]*pipeline.GateState) []string {
	var names []string
	if b.Plan != nil {
		for _, d := range b.Plan.Steps {
			if gates[d.Name] != nil {
				names = append(names, d.Name)
			}
		}
		return names
	}
	for name := range gates {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// of is the step that a gate judges, "" where the plan is not known.
func (b *reporter) of(gate string) string {
	if b.Plan != nil {
		if d := b.Plan.Decl(gate); d != nil && d.Gate != nil {
			return d.Gate.Of
		}
	}
	return ""
}

func (b *reporter) round(r *pipeline.Round) report.Round {
	out := report.Round{N: r.N}
	for _, name := range b.order(r.Steps) {
		out.Steps = append(out.Steps, pageStep(r.Steps[name]))
	}
	for _, name := range b.gateOrder(r.Gates) {
		out.Gates = append(out.Gates, report.Gate{Name: name, Of: b.of(name), Verdict: pageGateWord(r.Gates[name])})
	}
	if c := b.cause(r); c != nil && c.Name != "none" {
		out.Cause = c.Name + ": " + c.Sentence
	}
	if r.Route != nil {
		out.Route = pageRoute(r.Route, r)
	}
	return out
}

func pageStep(s *pipeline.StepState) report.Step {
	note := s.Error
	if s.Status == pipeline.Reused {
		note = "from " + s.From
		if strings.HasPrefix(s.From, "run ") {
			note = "from another run" // its id is provenance
		}
	}
	return report.Step{Name: s.Name, Kind: s.Kind, Status: string(s.Status), Note: note, Started: s.Started, Ended: s.Ended}
}

func pageGateWord(g *pipeline.GateState) string {
	switch {
	case g.Error != "":
		return "error"
	case g.Blocked:
		return "blocked"
	}
	return string(g.Verdict)
}

// briefJSON writes a JSON value for people: objects as "a 1, b 2", artefacts by
// their sort and the head of their digest.
func briefJSON(raw json.RawMessage) string {
	var a pipeline.Artefact
	if json.Unmarshal(raw, &a) == nil && a.Digest != "" {
		return a.Of + " " + digestHead(a.Digest)
	}
	var fields map[string]json.RawMessage
	if json.Unmarshal(raw, &fields) == nil && fields != nil {
		var parts []string
		for _, name := range inNameOrder(fields) {
			parts = append(parts, name+" "+briefJSON(fields[name]))
		}
		return strings.Join(parts, ", ")
	}
	var list []json.RawMessage
	if json.Unmarshal(raw, &list) == nil && list != nil {
		parts := make([]string, len(list))
		for i, v := range list {
			parts[i] = briefJSON(v)
		}
		return strings.Join(parts, " ")
	}
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return text
	}
	if n, err := strconv.ParseFloat(string(raw), 64); err == nil && n != math.Trunc(n) {
		return strconv.FormatFloat(n, 'g', 4, 64)
	}
	return string(raw)
}

// digestHead is as much of a digest as people compare by eye.
func digestHead(d string) string {
	d = strings.TrimPrefix(d, "sha256:")
	return d[:min(12, len(d))]
}

func inNameOrder[V any](m map[string]V) []string {
	return slices.Sorted(maps.Keys(m))
}

// inExprOrder are the names that an assertion read, as it reads them.
func inExprOrder(j pipeline.Judgement) []string {
	names := inNameOrder(j.Values)
	slices.SortStableFunc(names, func(a, b string) int { return strings.Index(j.Expr, a) - strings.Index(j.Expr, b) })
	return names
}

// lastJudged is the last round with a judged gate, else the last round.
func (b *reporter) lastJudged() *pipeline.Round {
	for _, r := range slices.Backward(b.State.Rounds) {
		if len(r.Gates) > 0 {
			return r
		}
	}
	if n := len(b.State.Rounds); n > 0 {
		return b.State.Rounds[n-1]
	}
	return nil
}

func (b *reporter) gates(r *pipeline.Round) []report.Gate {
	var out []report.Gate
	for _, name := range b.gateOrder(r.Gates) {
		g := r.Gates[name]
		view := report.Gate{Name: name, Of: b.of(name), Verdict: pageGateWord(g)}
		for _, j := range g.Assert {
			view.Assertions = append(view.Assertions, pageAssertion(j, false))
		}
		for _, j := range g.Warn {
			view.Assertions = append(view.Assertions, pageAssertion(j, true))
		}
		out = append(out, view)
	}
	return out
}

func pageAssertion(j pipeline.Judgement, warn bool) report.Assertion {
	a := report.Assertion{Name: j.Name, Expr: j.Expr, Verdict: string(j.Verdict), Warn: warn, Looks: j.Looks, Reasons: j.Reasons}
	for _, name := range inExprOrder(j) {
		a.Values = append(a.Values, report.Value{Name: name, Number: j.Values[name]})
	}
	for _, name := range []string{"replicates", "null", "floor"} {
		if share, ok := j.Shares[name]; ok {
			a.Shares = append(a.Shares, report.Value{Name: name, Number: share})
		}
	}
	return a
}
