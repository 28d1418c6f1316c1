package compare

import (
	"fmt"
	"math"

	"calrun/internal/trace"
)

// knees fills the knee, at the top or, if a rate that it uses was fitted on,
// under fitted.
func (b *builder) knees() {
	var sweep []*pair
	fittedRate := ""
	for _, p := range b.pairs {
		if p.measured.Group == trace.Sweep {
			sweep = append(sweep, p)
			if b.fitted[p] {
				fittedRate = p.measured.Name
			}
		}
	}
	switch {
	case len(sweep) == 0:
		b.result.Knee = Knee{State: "none", Reason: "the measurement has no sweep"}
		b.result.Fitted.Knee = b.result.Knee
		b.unsure("/knee", b.result.Knee.Reason)
		b.unsure("/fitted/knee", b.result.Knee.Reason)
	case fittedRate != "":
		b.result.Fitted.Knee = b.knee("/fitted/knee", sweep)
		b.result.Knee = Knee{State: b.result.Fitted.Knee.State, Reason: "uses " + fittedRate + ", which was fitted on: see fitted.knee"}
		b.unsure("/knee", b.result.Knee.Reason)
	default:
		b.result.Knee = b.knee("/knee", sweep)
		b.result.Fitted.Knee = Knee{State: "none", Reason: "no rate of the sweep was fitted on"}
		b.unsure("/fitted/knee", b.result.Fitted.Knee.Reason)
	}
}

func (b *builder) knee(at string, sweep []*pair) Knee {
	var rates []float64
	var samples []*sample
	var whys []string
	for _, p := range sweep {
		s := b.sample(p, e2e)
		if s == nil || s.n == 0 {
			why := p.missing
			if why == "" {
				why = p.measured.Name + ": no request has a value on both sides"
			}
			b.unsure(at, why)
			return Knee{State: "none", Reason: why}
		}
		rates = append(rates, p.measured.Rate)
		samples = append(samples, s)
		if why := b.kneeDoubt(s); why != "" {
			whys = append(whys, p.measured.Name+": "+why)
		}
	}
	low := [2]bool{
		eng: b.state[sweep[0]] == stateOverloaded,
		sim: !StabilityOf(sweep[0].simulated).Stable,
	}
	find := func(side int, log func(*sample) float64) (float64, string) {
		values := make([]float64, len(samples))
		for i, s := range samples {
			values[i] = math.Exp(log(s))
		}
		return kneeOf(rates, values, low[side])
	}
	var rate [2]float64
	var state [2]string
	for side := range rate {
		rate[side], state[side] = find(side, func(s *sample) float64 { return s.at.log[side][p99] })
	}
	k := Knee{Measured: number(rate[eng]), Simulated: number(rate[sim]), State: bracketed}
	for side, name := range []string{"engine", "simulator"} {
		if state[side] != bracketed {
			k.State, k.Reason = state[side], kneeReason(name, state[side], rates)
			b.unsure(at, k.Reason)
			break
		}
	}
	b.unsure(at, summary(whys, len(sweep)))
	if k.State == bracketed {
		bias := rate[sim]/rate[eng] - 1
		k.Bias, k.Error = number(bias), number(math.Abs(bias))
	} else {
		b.draws.Doubts[at] = k.Reason // it goes before what else is unsure
		return k
	}
	b.kneeDraws(at, samples, find)
	return k
}

// kneeDoubt says why a rate's P99 E2E is no ground for a knee. Overload is
// none: a knee uses all rates.
func (b *builder) kneeDoubt(s *sample) string {
	if s.pair.unlike != "" {
		return s.pair.unlike
	}
	if b.state[s.pair] == stateInvalid {
		return b.reason[s.pair]
	}
	if b.state[s.pair] == stateOverloaded && len(s.pair.runs) > 1 {
		return "" // far above the line whatever its blocks
	}
	return s.doubt(p99)
}

// kneeDraws enters the knee's columns: its place on both sides and its error
// in every draw. In the null the simulator has the engine's tail but for the
// re-centred noise.
func (b *builder) kneeDraws(at string, samples []*sample, find func(int, func(*sample) float64) (float64, string)) {
	n := b.opt.Draws
	measured, simulated, perfect := make([]float64, n), make([]float64, n), make([]float64, n)
	value, null := make([]float64, n), make([]float64, n)
	for d := range n {
		measured[d], _ = find(eng, func(s *sample) float64 { return s.draws.measured[p99][d] })
		simulated[d], _ = find(sim, func(s *sample) float64 { return s.draws.measured[p99][d] + math.Log1p(s.draws.value[p99][d]) })
		perfect[d], _ = find(eng, func(s *sample) float64 {
			return s.draws.measured[p99][d] + math.Log1p(s.draws.null[p99][d])
		})
		value[d] = simulated[d]/measured[d] - 1
		null[d] = perfect[d]/measured[d] - 1
	}
	col := b.table.add(column{value: value, null: null})
	b.leaf(at+"/error", "abs", col)
	b.leaf(at+"/bias", "value", col)
	b.leaf(at+"/measured", "value", b.table.add(column{value: measured, null: measured}))
	b.leaf(at+"/simulated", "value", b.table.add(column{value: simulated, null: perfect}))
}

// kneeRise is how far P99 E2E must lie above its value at the lowest rate.
const kneeRise = 1.5

// The states of a knee.
const (
	bracketed = "bracketed"
	below     = "below" // of the lowest rate: it is overloaded already
	above     = "above" // of the highest rate: no crossing that stays crossed
)

// kneeOf finds the rate at which P99 E2E first exceeds 1.5 times its value at
// the lowest rate and stays above, log-linear (ln of the value over ln of the
// rate) between the two rates that bracket it. Rates ascend. The rate is NaN
// where it is not bracketed. low says that the lowest rate is overloaded, so
// that no value is left to compare with.
func kneeOf(rates, p99 []float64, low bool) (rate float64, state string) {
	if low {
		return math.NaN(), below
	}
	n := len(rates)
	for _, v := range p99 {
		if math.IsNaN(v) {
			return math.NaN(), above
		}
	}
	crossed := n
	for crossed > 0 && p99[crossed-1] > kneeRise*p99[0] {
		crossed--
	}
	if crossed == n || crossed == 0 {
		return math.NaN(), above
	}
	y0, y1 := math.Log(p99[crossed-1]), math.Log(p99[crossed])
	x0, x1 := math.Log(rates[crossed-1]), math.Log(rates[crossed])
	part := (math.Log(kneeRise*p99[0]) - y0) / (y1 - y0)
	return math.Exp(x0 + part*(x1-x0)), bracketed
}

// kneeReason says what to do about a side that is not bracketed.
func kneeReason(side, state string, rates []float64) string {
	switch {
	case len(rates) == 0:
		return "the measurement has no sweep"
	case state == below:
		return fmt.Sprintf("the %s is overloaded at the lowest rate: add rates below %s", side, short(rates[0]))
	default:
		return fmt.Sprintf("the %s's P99 E2E does not leave the ground: add rates above %s", side, short(rates[len(rates)-1]))
	}
}

func short(x float64) string { return fmt.Sprintf("%g", x) }
