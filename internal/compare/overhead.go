package compare

import (
	"math"
	"sort"

	"calrun/internal/stats"
	"calrun/internal/trace"
)

// idle is the TTFT of a prompt alone on an idle engine: the probes' median by
// prompt length, linear between probed lengths, undefined outside.
type idle struct {
	prompts []float64
	seconds []float64
}

func idleOf(points []trace.Point) idle {
	byPrompt := map[int][]float64{}
	for _, p := range points {
		if p.Group != trace.Probe {
			continue
		}
		for _, run := range p.Runs {
			for _, r := range run.Rows {
				if r.OK() {
					prompt, _ := counted(r)
					byPrompt[prompt] = append(byPrompt[prompt], r.TTFT().Seconds())
				}
			}
		}
	}
	var out idle
	for prompt := range byPrompt {
		out.prompts = append(out.prompts, float64(prompt))
	}
	sort.Float64s(out.prompts)
	for _, prompt := range out.prompts {
		out.seconds = append(out.seconds, stats.Quantile(stats.Sorted(byPrompt[int(prompt)]), 0.5))
	}
	return out
}

func (t idle) at(prompt int) float64 {
	x := float64(prompt)
	i := sort.SearchFloat64s(t.prompts, x)
	switch {
	case i == len(t.prompts), i == 0 && t.prompts[0] != x:
		return math.NaN()
	case t.prompts[i] == x:
		return t.seconds[i]
	}
	part := (x - t.prompts[i-1]) / (t.prompts[i] - t.prompts[i-1])
	return t.seconds[i-1] + part*(t.seconds[i]-t.seconds[i-1])
}

// overheadOf is the scheduler overhead at a point. Both sides are taken at
// the measured prompt lengths, each against its own probes.
func overheadOf(p *pair, measured, simulated idle) Overhead {
	var over [2][]float64
	without, n, at := 0, 0, 0
	bySeed := map[int]trace.Run{}
	for _, r := range p.measured.Runs {
		bySeed[r.Seed] = r
	}
	for k, size := range p.runs {
		rows := bySeed[p.seeds[k]].Rows
		for i := range size {
			r, s := p.values[ttft][eng][at+i], p.values[ttft][sim][at+i]
			if math.IsNaN(r) {
				continue
			}
			n++
			prompt, _ := counted(rows[i])
			a, b := measured.at(prompt), simulated.at(prompt)
			if math.IsNaN(a) || math.IsNaN(b) {
				without++
				continue
			}
			over[eng] = append(over[eng], r-a)
			over[sim] = append(over[sim], s-b)
		}
		at += size
	}
	if n == 0 {
		return Overhead{}
	}
	m, s := stats.Sorted(over[eng]), stats.Sorted(over[sim])
	out := Overhead{
		MeasuredP50: number(stats.Quantile(m, 0.5)), MeasuredP99: number(stats.Quantile(m, 0.99)),
		SimulatedP50: number(stats.Quantile(s, 0.5)), SimulatedP99: number(stats.Quantile(s, 0.99)),
		Without: number(float64(without) / float64(n)),
	}
	out.DifferenceP50 = number(stats.Quantile(s, 0.5) - stats.Quantile(m, 0.5))
	return out
}
