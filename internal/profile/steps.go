package profile

import (
	"time"
)

// stepModel is a step-time profile with the bounds it was measured on.
type stepModel struct {
	step   StepTime
	covers Covers
}

// stepModel scales the prices: MLP the base and the tokens, Attn the context
// tokens. A token that is decoded passes the same projections as one that is
// prefilled, so that much of the price of a sequence is MLP too; on a card it
// is little, on a CPU nearly all.
func (p *Profile) stepModel(s Scale) stepModel {
	t := *p.Step
	t.Base = Cost(float64(t.Base)*s.MLP) + CostOf(s.Overhead)
	t.PerSequence += Cost(float64(min(t.PerSequence, t.PerPrefillToken)) * (s.MLP - 1))
	t.PerPrefillToken = Cost(float64(t.PerPrefillToken) * s.MLP)
	t.PerContextToken = Cost(float64(t.PerContextToken) * s.Attn)
	t.PerSequence += CostOf(s.PerSequence)
	return stepModel{t, p.Covers}
}

// Step implements [Model].
func (m stepModel) Step(b *Batch) (d time.Duration, outside bool) {
	d, _ = m.step.Step(b)
	c := m.covers
	beyond := func(n, limit int) bool { return limit > 0 && n > limit }
	outside = beyond(b.Sequences(), c.Batch) || beyond(b.MaxDecodeContext, c.Context)
	if c.Prompt > 0 || c.Context > 0 {
		tokens := 0
		for i := range b.Prefills {
			tokens += b.Prefills[i].Tokens
			outside = outside || beyond(b.Prefills[i].Tokens+b.Prefills[i].Context, c.Context)
		}
		outside = outside || beyond(tokens, c.Prompt)
	}
	return d, outside
}

var (
	_ Model = stepModel{}
	_ Model = (*opModel)(nil)
)
