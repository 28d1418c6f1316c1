package workload

import (
	"fmt"
	"math"
	"math/rand/v2"

	"calrun/internal/trace"
)

// Distribution draws lengths instead of taking them from a trace: prompts
// log-normal around a median and clipped to a range, outputs uniform.
type Distribution struct {
	Prompt Range `yaml:"prompt" json:"prompt" required:"true" doc:"prompt tokens: log-normal around the median if there is one, else uniform"`
	Output Range `yaml:"output" json:"output" required:"true" doc:"output tokens: likewise"`
}

// Range is a clipped distribution of lengths.
type Range struct {
	Min    int `yaml:"min" json:"min" min:"1" doc:"smallest"`
	Max    int `yaml:"max" json:"max" min:"1" doc:"largest"`
	Median int `yaml:"median" json:"median,omitempty" min:"0" doc:"median; without one the draw is uniform"`
}

// spread is the standard deviation of the logarithm of drawn prompts: about
// what production traces of conversations show.
const spread = 0.7

func (r Range) draw(rng *rand.Rand) int {
	if r.Median == 0 {
		return r.Min + rng.IntN(r.Max-r.Min+1)
	}
	x := float64(r.Median) * math.Exp(spread*rng.NormFloat64())
	return min(max(int(math.Round(x)), r.Min), r.Max)
}

func (r Range) check(what string) error {
	switch {
	case r.Min < 1:
		return fmt.Errorf("%s.min is %d; lengths start at 1 token", what, r.Min)
	case r.Max < r.Min:
		return fmt.Errorf("%s.max %d is below %s.min %d", what, r.Max, what, r.Min)
	case r.Median != 0 && (r.Median < r.Min || r.Median > r.Max):
		return fmt.Errorf("%s.median %d is outside %d to %d", what, r.Median, r.Min, r.Max)
	}
	return nil
}

// lengths draws n pairs: from the distribution, or with replacement from the
// requests of a trace, prompt and output together since they depend on each
// other. Due stays zero, and the content behind: a request that is drawn twice
// would find itself in the prefix cache.
func lengths(s *Sweep, from []trace.Request, n int, rng *rand.Rand) []trace.Request {
	reqs := make([]trace.Request, n)
	for i := range reqs {
		if s.Draw != nil {
			reqs[i] = trace.Request{ID: i, Prompt: s.Draw.Prompt.draw(rng), Output: s.Draw.Output.draw(rng)}
			continue
		}
		r := from[rng.IntN(len(from))]
		reqs[i] = s.Scale.apply(r)
		reqs[i].ID, reqs[i].Due, reqs[i].Content = i, 0, nil
	}
	return reqs
}

func (s Scale) apply(r trace.Request) trace.Request {
	tokens := func(n int, f float64) int { return max(1, int(math.Round(float64(n)*factor(f)))) }
	r.Prompt, r.Output = tokens(r.Prompt, s.Prompt), tokens(r.Output, s.Output)
	r.Due = trace.FromSeconds(r.Due.Seconds() * factor(s.Time))
	return r
}

// fit brings a request under the limit: in proportion, each part keeping at
// least one token.
func fit(r trace.Request, most int) trace.Request {
	total := r.Prompt + r.Output
	prompt := max(1, min(most-1, r.Prompt*most/total))
	r.Prompt, r.Output = prompt, min(r.Output, most-prompt)
	return r
}
