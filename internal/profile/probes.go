package profile

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
)

// Probe is one shape of request, measured alone on an idle engine and
// simulated with the profile.
type Probe struct {
	Point      string
	Prompt     int
	TTFT, TPOT []float64 // measured, seconds
	SimTTFT    float64   // simulated medians, seconds; the engine being idle, all are the same
	SimTPOT    float64
}

// Phase is what the probes say of one phase.
type Phase struct {
	Phase  string  `json:"phase" doc:"prefill: what a longer prompt adds to the time to first token; decode: the time per token; first: the time to first token of the shortest prompt"`
	Factor float64 `json:"factor" doc:"measured over simulated"`
	Low    float64 `json:"low" doc:"lower end of its interval at the level of 95 %"`
	High   float64 `json:"high" doc:"upper end of it"`
	Probes int     `json:"probes" doc:"shapes of probes behind it"`
}

// Kernels says whether the phase is one by which kernels are judged.
func (p Phase) Kernels() bool { return p.Phase != "first" }

// maxApart is how far from 1 a phase's factor may be: what a profile's own
// noise and the card's clocks explain.
const maxApart = 0.1

// Probed compares what the profile says of the probes with what was measured.
// Prefill is judged by what a longer prompt costs more, so that no constant per
// request or step is taken for a kernel; a constant that is missing is a doubt,
// since tune finds it. A phase is off if its interval is; a longer prompt that
// costs nothing or less than nothing is off too.
func Probed(probes []Probe) ([]Phase, []Finding) {
	probes = slices.DeleteFunc(slices.Clone(probes), func(p Probe) bool { return len(p.TTFT) == 0 || !(p.SimTTFT > 0) })
	if len(probes) == 0 {
		return nil, []Finding{{Check: "probes", OK: true, Doubt: true, Seen: "no probe was measured", Advice: "add probes to the workload: they tell which kernels a profile has wrong"}}
	}
	slices.SortStableFunc(probes, func(a, b Probe) int { return cmp.Compare(a.Prompt, b.Prompt) })
	short, long := probes[0], probes[len(probes)-1]
	var phases []Phase
	var out []Finding
	judge := func(phase string, n int, advice string, factor func(sample func([]float64) []float64) float64) {
		p := phaseOf(phase, n, factor)
		if n == 0 {
			return
		}
		f := Finding{
			Check: "probes." + phase, OK: p.Low <= 1+maxApart && p.High >= 1-maxApart,
			Seen:    fmt.Sprintf("measured %.3g times what the profile says (%.3g to %.3g)", p.Factor, p.Low, p.High),
			Allowed: fmt.Sprintf("%.1f to %.1f", 1-maxApart, 1+maxApart),
		}
		if !f.OK {
			f.Advice = fmt.Sprintf(advice, p.Factor)
			if !p.Kernels() {
				f.OK, f.Doubt = true, true
			}
		}
		phases, out = append(phases, p), append(out, f)
	}
	if long.Prompt > short.Prompt && long.SimTTFT > short.SimTTFT {
		judge("prefill", len(probes), "the prefill kernels (projections, MLP, prefill attention) are off by a factor of %.3g: profile them again on this card, or let tune fit k_mlp", func(sample func([]float64) []float64) float64 {
			return (median(sample(long.TTFT)) - median(sample(short.TTFT))) / (long.SimTTFT - short.SimTTFT)
		})
	}
	var decoded []Probe
	for _, p := range probes {
		if len(p.TPOT) > 0 && p.SimTPOT > 0 {
			decoded = append(decoded, p)
		}
	}
	judge("decode", len(decoded), "a decoding step of one sequence is off by a factor of %.3g: profile the decode kernels again, or let tune fit cpu_overhead_s and k_attn", func(sample func([]float64) []float64) float64 {
		sum := 0.0
		for _, p := range decoded {
			sum += math.Log(median(sample(p.TPOT))/p.SimTPOT) / float64(len(decoded))
		}
		return math.Exp(sum)
	})
	judge("first", 1, "the first token of the shortest prompt takes %.3g times as long: if a longer prompt adds what it should, a constant per request is missing; let tune fit front_end_s", func(sample func([]float64) []float64) float64 {
		return median(sample(short.TTFT)) / short.SimTTFT
	})
	return phases, out
}

// phaseOf is a phase's factor with the percentile interval of a bootstrap over
// the requests of each probe.
func phaseOf(name string, n int, factor func(sample func([]float64) []float64) float64) Phase {
	const draws = 1000
	p := Phase{Phase: name, Probes: n}
	if n == 0 {
		return p
	}
	p.Factor = factor(func(x []float64) []float64 { return slices.Clone(x) })
	rng := rand.New(rand.NewPCG(1, 7))
	all := make([]float64, draws)
	for i := range all {
		all[i] = factor(func(x []float64) []float64 {
			out := make([]float64, len(x))
			for k := range out {
				out[k] = x[rng.IntN(len(x))]
			}
			return out
		})
	}
	slices.Sort(all)
	p.Low, p.High = all[draws/40-1], all[draws-draws/40] // 2.5 % on either side
	return p
}
