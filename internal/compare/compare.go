package compare

import (
	"fmt"
	"slices"
	"sort"

	"calrun/internal/stats"
	"calrun/internal/trace"
)

// Comparison is what [Compare] yields.
type Comparison struct {
	Result Result
	Draws  Draws
	Detail Detail // holds the result too
}

// Compare sets simulated against measured points. The measured points say
// what is stable, before anything simulated is looked at. An error means that
// the two sides do not hold the same requests; everything else that stands
// against a judgement is a doubt.
func Compare(measured, simulated []trace.Point, opt Options) (*Comparison, error) {
	opt, err := opt.checked()
	if err != nil {
		return nil, err
	}
	pairs, err := pairUp(measured, simulated)
	if err != nil {
		return nil, err
	}
	b := newBuilder(pairs, opt)
	b.judge()
	b.prepare()
	b.resample()
	b.fill()
	return b.comparison(), nil
}

// builder carries a comparison from stage to stage.
type builder struct {
	opt       Options
	pairs     []*pair // by group and rate
	judged    map[*pair]*Stability
	state     map[*pair]string
	reason    map[*pair]string
	fitted    map[*pair]bool
	rho       map[*pair]float64   // NaN where unknown
	samples   map[*pair][]*sample // by metric, throughput last; none where a side is missing
	table     table
	entries   map[*pair][]entry // cells by metric and statistic, throughput last
	distances map[*pair][len(metricNames)]distances
	result    Result
	draws     Draws
}

// The states of a point.
const (
	stateStable     = "stable"
	stateOverloaded = "overloaded"
	stateInvalid    = "invalid"
)

func newBuilder(pairs []*pair, opt Options) *builder {
	inOrder(pairs)
	b := &builder{
		opt: opt, pairs: pairs,
		judged: map[*pair]*Stability{}, state: map[*pair]string{}, reason: map[*pair]string{},
		fitted: map[*pair]bool{}, samples: map[*pair][]*sample{}, rho: map[*pair]float64{},
		entries: map[*pair][]entry{}, distances: map[*pair][len(metricNames)]distances{},
		draws: Draws{Leaves: map[string]Leaf{}, Sets: map[string]Matrix{}, Doubts: map[string]string{}},
	}
	for _, p := range pairs {
		b.fitted[p] = p.among(opt.FittedOn)
	}
	return b
}

// inOrder sorts by group and rate.
func inOrder(pairs []*pair) {
	order := map[trace.Group]int{trace.Probe: 0, trace.Sweep: 1, trace.Replay: 2}
	sort.SliceStable(pairs, func(i, j int) bool {
		a, b := pairs[i].measured, pairs[j].measured
		if a.Group != b.Group {
			return order[a.Group] < order[b.Group]
		}
		return a.Rate < b.Rate
	})
}

// among says whether the point is one of those named; "probes" is all of them.
func (p *pair) among(names []string) bool {
	return slices.Contains(names, p.measured.Name) || p.measured.Group == trace.Probe && slices.Contains(names, "probes")
}

// judge decides each point's state from the measured side alone.
func (b *builder) judge() {
	for _, p := range b.pairs {
		b.state[p] = stateStable
		if p.measured.Group != trace.Probe {
			s := StabilityOf(p.measured)
			b.judged[p] = &s
			if !s.Stable {
				b.state[p], b.reason[p] = stateOverloaded, s.Reason
			}
		}
		if b.state[p] == stateOverloaded {
			continue // what failed is what waited too long
		}
		if share := float64(p.failed) / float64(max(p.n, 1)); share > b.opt.Failures {
			b.state[p] = stateInvalid
			b.reason[p] = fmt.Sprintf("%d of %d requests failed at %s (%.1f %%, at most %.1f %% may)",
				p.failed, p.n, p.measured.Name, 100*share, 100*b.opt.Failures)
			if len(p.lost) > 0 {
				b.reason[p] = p.lost[0]
			}
		}
	}
}

// compared says whether more than the throughput of a point is compared.
func (b *builder) compared(p *pair) bool {
	return b.state[p] != stateOverloaded || b.opt.Scope == ScopeAll || p.measured.Group == trace.Replay
}

// prepare makes the samples.
func (b *builder) prepare() {
	for _, p := range b.pairs {
		if p.missing != "" {
			continue
		}
		for metric := range throughput + 1 {
			if metric != throughput || !p.measured.Alone() {
				b.samples[p] = append(b.samples[p], newSample(p, metric))
			}
		}
	}
}

// resample makes the draws of the samples.
func (b *builder) resample() {
	for metric := range throughput + 1 {
		var samples []*sample
		for _, p := range b.pairs {
			if s := b.sample(p, metric); s != nil && s.n > 0 {
				samples = append(samples, s)
			}
		}
		judged := func(s *sample) bool {
			return s.doubt(mean) == "" && (metric == throughput || b.compared(s.pair))
		}
		for _, f := range families(samples, b.opt, judged) {
			f.draw()
		}
	}
	for _, p := range b.pairs {
		floorDraws(b.samples[p], b.opt)
	}
}

// comparison hands out what was built.
func (b *builder) comparison() *Comparison {
	b.table.sets(b.opt.Draws, &b.draws)
	c := &Comparison{Result: b.result, Draws: b.draws}
	c.Detail = Detail{
		Result: b.result, Doubts: b.draws.Doubts, Stability: map[string]Stability{},
		Looks: b.opt.Looks, Scope: b.opt.Scope, Replicates: b.opt.Draws, Seed: b.opt.Seed,
	}
	for _, p := range b.pairs {
		if s := b.judged[p]; s != nil {
			c.Detail.Stability[p.measured.Name] = *s
		}
		for _, e := range b.entries[p] {
			c.Detail.Cells = append(c.Detail.Cells, e.cell)
		}
		for metric := range metricNames {
			if len(b.samples[p]) > metric && b.samples[p][metric].n > 0 {
				c.Detail.Curves = append(c.Detail.Curves, curveOf(b.samples[p][metric]))
			}
		}
	}
	return c
}

// curvePoints bounds a curve's length.
const curvePoints = 200

// curveOf thins both distribution functions to the same probabilities.
func curveOf(s *sample) Curve {
	n := min(s.n, curvePoints)
	measured, simulated := s.values(eng), s.values(sim)
	c := Curve{Point: s.pair.measured.Name, Metric: metricNames[s.metric]}
	for i := range n {
		p := 0.5
		if n > 1 {
			p = float64(i) / float64(n-1)
		}
		c.P = append(c.P, p)
		c.Measured = append(c.Measured, stats.Quantile(measured, p))
		c.Simulated = append(c.Simulated, stats.Quantile(simulated, p))
	}
	return c
}
