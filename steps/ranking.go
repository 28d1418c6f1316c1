package steps

import (
	"cmp"
	"context"
	"slices"

	"calrun/internal/fit"
	"calrun/pipeline"
)

// RankedCause is a cause and what repairing it would explain besides those
// before it.
type RankedCause struct {
	Cause      string  `json:"cause" doc:"input, config, kv, overhead or kernel"`
	Hypothesis string  `json:"hypothesis" doc:"what is supposed"`
	Explains   float64 `json:"explains" doc:"share of the loss left by the causes before it that would go, in [0,1]"`
	After      float64 `json:"after" doc:"loss that would be left"`
}

// rankedFor is how many causes are ranked by repairing those before them; the
// rest follow by what each explains alone.
const rankedFor = 3

// rank orders the causes. The first is the one that stands out alone, in the
// order of suspicion, or else a difference that is known. Then it is repaired, and all
// hypotheses of other causes are asked again: of two causes at once, the
// second often explains little until the first is gone.
func (s *Diagnose) rank(ctx context.Context, rt *pipeline.Runtime, c *diagnosis, alone []Evidence) ([]RankedCause, error) {
	ranking := []RankedCause{}
	repaired, suspects, evidence := c, c.suspects(), slices.Clone(alone)
	for len(evidence) > 0 && len(ranking) < rankedFor {
		at := foremost(evidence)
		e := evidence[at]
		ranking = append(ranking, RankedCause{e.Cause, e.Hypothesis, e.Explains, e.After})
		if e.After <= negligible {
			break
		}
		var err error
		if repaired, err = repaired.with(suspects[at], e); err != nil {
			return nil, err
		}
		suspects = slices.DeleteFunc(repaired.suspects(), func(x suspect) bool { return listed(ranking, x.cause) })
		if evidence, err = repaired.ask(ctx, rt, suspects, uint64(s.Seed)); err != nil {
			return nil, err
		}
	}
	rest := slices.Clone(alone)
	slices.SortStableFunc(rest, func(a, b Evidence) int {
		switch {
		case a.fitted() == b.fitted():
			return cmp.Compare(a.After, b.After)
		case a.fitted():
			return 1
		}
		return -1
	})
	for _, e := range rest {
		if !listed(ranking, e.Cause) {
			ranking = append(ranking, RankedCause{e.Cause, e.Hypothesis, e.Explains, e.After})
		}
	}
	return ranking, nil
}

// foremost is the hypothesis that stands out, if it leaves no error to speak
// of. Otherwise it is, of the differences that are known, the one that leaves
// least: a constant and a factor, being fitted, explain part of anything. It is
// one of these where no known difference is left.
func foremost(evidence []Evidence) int {
	at := weigh(evidence)
	if at >= 0 && (evidence[at].After <= negligible || !evidence[at].fitted()) {
		return at
	}
	best := -1
	for i, e := range evidence {
		if !e.fitted() && (best < 0 || e.After < evidence[best].After) {
			best = i
		}
	}
	if best >= 0 {
		return best
	}
	if at >= 0 {
		return at
	}
	least := slices.MinFunc(evidence, func(a, b Evidence) int { return cmp.Compare(a.After, b.After) })
	return slices.IndexFunc(evidence, func(e Evidence) bool { return e.Hypothesis == least.Hypothesis })
}

// fitted says that the hypothesis found its values itself.
func (e Evidence) fitted() bool { return e.Cause == "overhead" || e.Cause == "kernel" }

func listed(ranking []RankedCause, cause string) bool {
	return slices.ContainsFunc(ranking, func(r RankedCause) bool { return r.Cause == cause })
}

// with is the case in which a suspect's hypothesis holds.
func (c *diagnosis) with(x suspect, e Evidence) (*diagnosis, error) {
	d := *c
	var values fit.Params
	for name, v := range e.Values {
		values = append(values, fit.Value{Name: name, Value: v})
	}
	var err error
	d.params, err = over(c.params, values)
	if x.holds != nil {
		x.holds(&d)
	}
	return &d, err
}

// ask simulates what each suspect supposes.
func (c *diagnosis) ask(ctx context.Context, rt *pipeline.Runtime, suspects []suspect, seed uint64) ([]Evidence, error) {
	var all []fit.Attribution
	for i, x := range suspects {
		rt.Progress(float64(i), float64(len(suspects)), x.Name)
		as, err := fit.Attribute(ctx, c.base(seed), []fit.Hypothesis{x.Hypothesis})
		if err != nil {
			return nil, err
		}
		all = append(all, as...)
	}
	evidence := []Evidence{}
	for i, excess := range fit.Excess(all) {
		e := evidenceOf(suspects[i], all[i])
		e.Excess = excess
		evidence = append(evidence, e)
	}
	return evidence, nil
}
