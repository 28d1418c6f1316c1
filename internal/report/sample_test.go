package report

import (
	"math"
	"time"
)

// sample is a page with every part: a gate that failed once, a remedy, a
// sweep with an overloaded and a fitted point, doubts of two sorts.
func sample() Page {
	t0 := time.Date(2026, 11, 24, 9, 30, 0, 0, time.UTC)
	step := func(name, kind, status string, from, took time.Duration) Step {
		return Step{Name: name, Kind: kind, Status: status, Started: t0.Add(from), Ended: t0.Add(from + took)}
	}
	reused := Step{Name: "hardware", Kind: "hardware-run", Status: "reused", Note: "round 1"}
	return Page{
		Plan: "llama3-70b-4xa100", Run: "20261124-093000-7f3a", Verdict: "pass",
		Headline: "Passed in round 2, after tune.",
		Figures: []Figure{
			{Name: "TTFT P50, mean error", Value: 0.031, Limit: 0.05, Note: "worst 4.9 % at rps-4"},
			{Name: "TPOT P50, mean error", Value: 0.0121, Limit: 0.05},
			{Name: "E2E P99, mean error", Value: 0.112, Limit: 0.15, Doubt: "one seed: tails not judged"},
		},
		Gates: []Gate{
			{Name: "ready", Of: "profile", Verdict: "pass", Assertions: []Assertion{{Name: "fits", Expr: "kv.fits", Verdict: "pass"}}},
			{Name: "verdict", Of: "error", Verdict: "pass", Assertions: []Assertion{
				{
					Name: "strict", Expr: "ttft.p50.mape < 0.05 && tpot.p50.mape < 0.05", Verdict: "pass", Looks: 2,
					Values: []Value{{Name: "ttft.p50.mape", Number: 0.031}, {Name: "tpot.p50.mape", Number: 0.0121}},
					Shares: []Value{{Name: "replicates", Number: 0.994}, {Name: "null", Number: 1}},
				},
				{
					Name: "close", Expr: "e2e.p99.mape < 0.10", Verdict: "inconclusive", Warn: true,
					Values: []Value{{Name: "e2e.p99.mape", Number: 0.112}}, Shares: []Value{{Name: "replicates", Number: 0.41}}, Reasons: []string{"borderline"},
				},
			}},
		},
		Comparison: sampleComparison(),
		Cause: &Cause{Name: "none", Sentence: "medians and means are right to 2.0 %", Suspects: []Suspect{
			{Hypothesis: "a constant per step and per request", Cause: "overhead", Explains: 0.12, Values: []Value{{Name: "cpu_overhead_s", Number: 0.0004}}, Note: "the best constants"},
			{Hypothesis: "a factor on the attention kernels", Cause: "kernel", Explains: 0.44, Low: 0.31, High: 0.58, Enough: true, Values: []Value{{Name: "k_attn", Number: 0.953}}},
		}},
		Rounds: []Round{
			{
				N:     1,
				Steps: []Step{step("hardware", "hardware-run", "done", 0, 95*time.Minute), step("profile", "profile-check", "done", 95*time.Minute, 2*time.Second), step("sim", "simulate", "done", 96*time.Minute, 4*time.Minute), step("error", "diff", "done", 100*time.Minute, 12*time.Second)},
				Gates: []Gate{{Name: "ready", Verdict: "pass"}, {Name: "verdict", Verdict: "fail"}},
				Cause: "overhead: constants per step explain 93 % of the error",
				Route: &Route{
					Gate: "verdict", When: "failed.strict || failed.loose",
					Values: []Value{{Name: "ttft.p50.mape", Number: 0.184}, {Name: "failed.strict", Text: "true"}},
					Remedy: &Step{Name: "tune", Kind: "tune", Status: "done", Started: t0.Add(101 * time.Minute), Ended: t0.Add(115 * time.Minute)},
					Sets:   []Value{{Name: "sim.params", Text: "cpu_overhead_s 0.0021, k_attn 1.08"}},
					Notes:  []string{"route 1 (reprofile): steps.cause.kernel is false"},
				},
			},
			{
				N: 2, Steps: []Step{reused, step("sim", "simulate", "done", 115*time.Minute, 4*time.Minute), step("error", "diff", "done", 119*time.Minute, 12*time.Second)},
				Gates: []Gate{{Name: "ready", Verdict: "pass"}, {Name: "verdict", Verdict: "pass"}},
			},
		},
		Params: &Params{
			Columns: []string{"round 1", "round 2"}, FittedOn: []string{"probe-512-128", "rps-1"},
			Rows: []Param{{Name: "batch_size_cap", Values: []string{"256", "256"}}, {Name: "cpu_overhead_s", Values: []string{"0", "0.0021"}}, {Name: "k_attn", Values: []string{"", "1.08"}}},
		},
		Doubts: []string{"rps-8 overloaded the engine: it is compared by throughput alone."},
		Origin: []Section{
			{Title: "Engine", Facts: []Fact{{"name", "vllm 0.25.1"}, {"model", "meta-llama/Meta-Llama-3-70B"}, {"kv_blocks", "36210"}}},
		},
		Provenance: []Fact{{"opened", "2026-11-24T09:30:00Z"}, {"calrun", "v0.1.0"}},
		Source:     "version: calrun/v1\nname: llama3-70b-4xa100 # <a> & \"quotes\"\n",
	}
}

func sampleComparison() *Comparison {
	c := &Comparison{Step: "error", Level: 0.95, Knee: &Knee{Measured: new(3.41), Simulated: new(3.72), Error: new(0.0909), State: "bracketed"}}
	for i, r := range []float64{0.5, 1, 2, 4, 8} {
		load := r / 6.2
		p := Point{Name: "rps-" + rate(r), Group: "sweep", Rate: r, Load: load, State: "stable", Requests: 3000, Tokens: Pair{r * 212, r * 211}}
		if r == 1 {
			p.State, p.Apart = "fitted", true
		}
		if r == 8 {
			p.State, p.Apart, p.Failed = "overloaded", true, 3
		}
		for m, base := range map[string]float64{"ttft": 0.118, "tpot": 0.0241, "e2e": 3.1} {
			queue := 1 + 0.4*load/(1.45-load)
			for j, q := range quantileOrder {
				spread := []float64{1, 1.6, 2.1, 3.4, 1.15}[j]
				bias := []float64{-0.012, 0.021, 0.034, 0.049, 0.31}[i] * []float64{1, 1.7, 2.2, 3.1, 1.1}[j]
				half := 0.012 * spread * (1 + load)
				cell := Cell{Metric: m, Quantile: q, Measured: base * spread * queue, Bias: bias, Lo: new(bias - half), Hi: new(bias + half), N: 3000, Blocks: 140}
				cell.Simulated = cell.Measured * (1 + bias)
				if r == 8 {
					cell.Doubt = "overloaded: compared by throughput alone"
				}
				if q == "p99" && m == "e2e" {
					cell.Lo, cell.Hi, cell.Doubt = nil, nil, "one seed: tails not judged"
				}
				p.Cells = append(p.Cells, cell)
			}
			if m != "e2e" || i < 3 {
				p.CDFs = append(p.CDFs, CDF{Metric: m, KS: new(0.03 + 0.02*float64(i)), P: probabilities(), Measured: curve(base*queue, 1), Simulated: curve(base*queue*(1+0.04*float64(i)), 1.04)})
			}
		}
		sortPoint(&p)
		c.Points = append(c.Points, p)
	}
	c.Points = append(c.Points, Point{
		Name: "probe-512-128", Group: "probe", State: "fitted", Apart: true, Requests: 20,
		Cells: []Cell{{Metric: "ttft", Quantile: "p50", Measured: 0.0981, Simulated: 0.0962, Bias: -0.0194, Lo: new(-0.024), Hi: new(-0.014)}, {Metric: "tpot", Quantile: "p50", Measured: 0.0229, Simulated: 0.0231, Bias: 0.0087, Lo: new(0.005), Hi: new(0.012)}},
	})
	return c
}

// sortPoint puts what a map's order gave into a fixed one.
func sortPoint(p *Point) {
	var cells []Cell
	var cdfs []CDF
	for _, m := range metricOrder {
		for _, c := range p.Cells {
			if c.Metric == m {
				cells = append(cells, c)
			}
		}
		for _, d := range p.CDFs {
			if d.Metric == m {
				cdfs = append(cdfs, d)
			}
		}
	}
	p.Cells, p.CDFs = cells, cdfs
}

func probabilities() []float64 {
	out := make([]float64, 60)
	for i := range out {
		out[i] = (float64(i) + 0.5) / 60
	}
	return out
}

// curve is a skewed distribution at those probabilities.
func curve(middle, stretch float64) []float64 {
	out := probabilities()
	for i, q := range out {
		out[i] = middle * math.Exp(0.45*stretch*math.Log(q/(1-q))*0.55)
	}
	return out
}
