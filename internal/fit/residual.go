package fit

import (
	"fmt"
	"math"
	"slices"

	"calrun/internal/stats"
	"calrun/internal/trace"
)

// Residual is one statistic of one point, measured and simulated.
//
// Weights: every operating point of a sweep and every replay weighs 1, all
// probes together weigh as much as one of them (they are one experiment: the
// idle engine) unless the caller says otherwise. A point shares its weight
// equally among its metrics, a metric between P50 and mean.
type Residual struct {
	Point     string  `json:"point"`
	Metric    string  `json:"metric"`    // ttft, tpot, e2e
	Statistic string  `json:"statistic"` // p50, mean
	Pairs     int     `json:"pairs"`     // requests on both sides
	Weight    float64 `json:"weight"`
	Measured  float64 `json:"measured_s"`
	Simulated float64 `json:"simulated_s"` // both 0: the simulator did not complete these requests
	Log       float64 `json:"log_ratio"`   // ln(simulated/measured), within ±worst
}

// worst bounds a residual: a simulator that never answers is a factor of 1000
// off, not infinitely far.
var worst = math.Log(1000)

// Loss is the weighted mean of the squared log ratios. Its root reads as a
// relative error: 0.01 is about 10 %.
func Loss(rs []Residual) float64 {
	sum, weight := 0.0, 0.0
	for _, r := range rs {
		sum += r.Weight * r.Log * r.Log
		weight += r.Weight
	}
	if weight == 0 {
		return math.NaN()
	}
	return sum / weight
}

// Compare pairs measured points with simulated ones and yields the residuals
// of the stable statistics, in the order of the measured points. Failed
// requests of the measured side are left out on both sides, and so are runs
// that are neither ok nor overloaded. On an overloaded sweep point, where TTFT
// and E2E measure the length of the run, only TPOT is compared.
//
// A point that was not simulated is an error. Requests that the simulator left
// unfinished are left out up to one in a hundred of a point; more of them make
// the point's statistics as wrong as can be. All probes together weigh
// probeWeight beside any other point's 1; 0 stands for 1.
func Compare(measured, simulated []trace.Point, probeWeight float64) ([]Residual, error) {
	if probeWeight == 0 {
		probeWeight = 1
	}
	probes := 0
	for _, m := range measured {
		if m.Group == trace.Probe {
			probes++
		}
	}
	var rs []Residual
	for _, m := range measured {
		i := slices.IndexFunc(simulated, func(s trace.Point) bool { return s.Name == m.Name })
		if i < 0 {
			return nil, fmt.Errorf("compare %s: the simulation has no such point", m.Name)
		}
		p := pairs{}
		if err := p.add(m, simulated[i]); err != nil {
			return nil, err
		}
		weight := 1.0
		if m.Group == trace.Probe {
			weight = probeWeight / float64(probes)
		}
		rs = append(rs, p.residuals(m, weight)...)
	}
	return rs, nil
}

// pairs holds one point's samples, measured and simulated at the same index.
type pairs struct {
	metric          [3]paired // in the order of metrics
	all, unfinished int
}

// paired are the values of one metric, request by request; NaN on both sides
// where it is undefined.
type paired struct{ measured, simulated []float64 }

// logs are ln(simulated/measured) where both are above 0.
func (x paired) logs() []float64 {
	var out []float64
	for i, m := range x.measured {
		if s := x.simulated[i]; m > 0 && s > 0 {
			out = append(out, math.Log(s/m))
		}
	}
	return out
}

// defined is x without its NaN.
func defined(x []float64) []float64 {
	return slices.DeleteFunc(slices.Clone(x), math.IsNaN)
}

// patience is the share of a point's requests that a simulator may leave
// unfinished before the rest of them mean nothing.
const patience = 0.01

var metrics = [3]string{"ttft", "tpot", "e2e"}

// add collects the requests that the engine completed.
func (p *pairs) add(m, s trace.Point) error {
	for _, run := range m.Runs {
		if len(run.Rows) == 0 || !usable(run.State) {
			continue
		}
		sim, err := counterpart(m.Name, run, s)
		if err != nil {
			return err
		}
		for i, row := range run.Rows {
			if !row.OK() {
				continue
			}
			p.all++
			if i >= len(sim.Rows) || !sim.Rows[i].OK() {
				p.unfinished++
				continue
			}
			p.pair(row, sim.Rows[i], m.Alone())
		}
	}
	return nil
}

// usable says whether a run's rows may be believed. What a measurement calls
// skipped, crashed or anything else is kept for people to look at.
func usable(s trace.State) bool { return s == trace.OK || s == trace.Overloaded || s == "" }

// counterpart is the simulated run of the same seed; where a replay was
// repeated on the engine and simulated once, it is that one.
func counterpart(point string, run trace.Run, s trace.Point) (trace.Run, error) {
	for _, sim := range s.Runs {
		if sim.Seed == run.Seed {
			return sim, nil
		}
	}
	if s.Group == trace.Replay && len(s.Runs) == 1 {
		return s.Runs[0], nil
	}
	return trace.Run{}, fmt.Errorf("compare %s: the simulation has no run with seed %d", point, run.Seed)
}

// pair adds one request. A request of a probe is not due at a time, only
// after the one before it: its clock starts when it was sent.
func (p *pairs) pair(m, s trace.Row, alone bool) {
	add := func(metric int, a, b float64) {
		p.metric[metric].measured = append(p.metric[metric].measured, a)
		p.metric[metric].simulated = append(p.metric[metric].simulated, b)
	}
	if alone {
		add(0, m.TTFTSent().Seconds(), s.TTFTSent().Seconds())
		add(2, m.E2ESent().Seconds(), s.E2ESent().Seconds())
	} else {
		add(0, m.TTFT().Seconds(), s.TTFT().Seconds())
		add(2, m.E2E().Seconds(), s.E2E().Seconds())
	}
	a, ok := m.TPOT()
	b, both := s.TPOT()
	if ok && both {
		add(1, a.Seconds(), b.Seconds())
	} else {
		add(1, math.NaN(), math.NaN())
	}
}

func (p *pairs) residuals(m trace.Point, weight float64) []Residual {
	overloaded := m.Group == trace.Sweep && slices.ContainsFunc(m.Runs, func(r trace.Run) bool { return r.State == trace.Overloaded })
	lost := float64(p.unfinished) > patience*float64(p.all)
	var rs []Residual
	for i, x := range p.metric {
		if overloaded && metrics[i] != "tpot" {
			continue
		}
		both := paired{defined(x.measured), defined(x.simulated)}
		for _, s := range []struct {
			name string
			of   func([]float64) float64
		}{
			{"p50", func(x []float64) float64 { return stats.Quantile(stats.Sorted(x), 0.5) }},
			{"mean", stats.Mean},
		} {
			r := Residual{Point: m.Name, Metric: metrics[i], Statistic: s.name, Pairs: len(both.measured)}
			r.Measured, r.Simulated = s.of(both.measured), s.of(both.simulated)
			switch {
			case lost && p.all > 0:
				r.Measured, r.Simulated, r.Log = 0, 0, worst
			case !(r.Measured > 0):
				continue // undefined here: no request completed, or none has a second token
			case !(r.Simulated > 0):
				r.Simulated, r.Log = 0, -worst
			default:
				r.Log = min(max(math.Log(r.Simulated/r.Measured), -worst), worst)
			}
			rs = append(rs, r)
		}
	}
	for i := range rs {
		rs[i].Weight = weight / float64(len(rs))
	}
	return rs
}
