package compare

import (
	"math"
	"slices"

	"calrun/internal/trace"
)

// fill builds the result tree from the samples.
func (b *builder) fill() {
	r := &b.result
	r.Inputs = inputs(b.pairs)
	r.FittedOn = append([]string{}, b.opt.FittedOn...)
	slices.Sort(r.FittedOn)
	r.Stable, r.Overloaded = []string{}, []string{}
	b.loads()
	for _, p := range b.pairs {
		b.cells(p)
		switch {
		case b.state[p] == stateOverloaded:
			r.Overloaded = append(r.Overloaded, p.measured.Name)
		case b.state[p] == stateStable && p.measured.Group == trace.Sweep:
			r.Stable = append(r.Stable, p.measured.Name)
		}
	}
	b.groups()
	b.points()
	b.knees()
}

// pick lists the pairs of a group that were or were not fitted on.
func (b *builder) pick(g trace.Group, fitted bool) []*pair {
	var out []*pair
	for _, p := range b.pairs {
		if p.measured.Group == g && b.fitted[p] == fitted {
			out = append(out, p)
		}
	}
	return out
}

func (b *builder) groups() {
	r := &b.result
	r.Group = b.group(b.sweep("", false))
	r.Fitted.Group = b.group(b.sweep("/fitted", true))
	r.Probes = b.group(b.other("/probes", trace.Probe, false))
	r.Fitted.Probes = b.group(b.other("/fitted/probes", trace.Probe, true))
	r.Replay = b.group(b.other("/replay", trace.Replay, false))
	r.Fitted.Replay = b.group(b.other("/fitted/replay", trace.Replay, true))
}

// sweep chooses the points of the top level, or of what was fitted on.
func (b *builder) sweep(at string, fitted bool) chosen {
	c := chosen{at: at, rates: b.pick(trace.Sweep, fitted)}
	for _, p := range c.rates {
		if b.compared(p) {
			c.points = append(c.points, p)
		}
	}
	all := len(b.pick(trace.Sweep, !fitted)) + len(c.rates)
	usable := len(b.result.Stable)
	if b.opt.Scope == ScopeAll {
		usable = all
	}
	switch {
	case all == 0:
		c.absent = "the measurement has no sweep"
	case fitted:
		c.absent = "no point of the sweep was fitted on"
	case usable < 2:
		c.unsure, c.absent = "fewer than two stable points", "fewer than two stable points"
	default:
		c.absent = "nothing held out"
	}
	return c
}

// other chooses the probes or the replay.
func (b *builder) other(at string, g trace.Group, fitted bool) chosen {
	c := chosen{at: at, points: b.pick(g, fitted), alone: g == trace.Probe}
	if !c.alone {
		c.rates = c.points
	}
	what := "replay"
	if c.alone {
		what = "probes"
	}
	switch {
	case len(c.points)+len(b.pick(g, !fitted)) == 0:
		c.absent = "the measurement has no " + what
	case fitted:
		c.absent = "the " + what + " was not fitted on"
		if c.alone {
			c.absent = "the probes were not fitted on"
		}
	default:
		c.absent = "nothing held out"
	}
	return c
}

// points fills the map of points; one that was fitted on leaves only its
// shell at the top.
func (b *builder) points() {
	var measured, simulated []trace.Point
	for _, p := range b.pairs {
		measured, simulated = append(measured, p.measured), append(simulated, p.simulated)
	}
	idleMeasured, idleSimulated := idleOf(measured), idleOf(simulated)
	b.result.Points = map[string]*Point{}
	b.result.Fitted.Points = map[string]*Point{}
	for _, p := range b.pairs {
		name := p.measured.Name
		shell := b.shell(p)
		at := "/points/" + escape(name)
		if b.fitted[p] {
			left := shell
			b.result.Points[name] = &left
			b.unsure(at, "it was fitted on: see fitted.points")
			at = "/fitted" + at
			b.result.Fitted.Points[name] = &shell
		} else {
			b.result.Points[name] = &shell
		}
		b.unsure(at, p.unlike)
		b.numbers(at, p, &shell)
		switch {
		case p.measured.Group != trace.Sweep:
			b.unsure(at+"/rho", "only rates of the sweep have one")
		default:
			why := unreplicated
			if shell.Rho = number(b.rho[p]); shell.Rho == nil {
				why = "unknown: no point of the sweep saturates the engine"
			}
			b.unsure(at+"/rho", why)
		}
		b.overhead(at, p, &shell, idleMeasured, idleSimulated)
	}
}

func (b *builder) overhead(at string, p *pair, shell *Point, measured, simulated idle) {
	if p.measured.Group == trace.Probe || p.missing != "" {
		b.unsure(at+"/overhead", "only points with arrivals have one")
		return
	}
	shell.Overhead = overheadOf(p, measured, simulated)
	if shell.Overhead.MeasuredP50 == nil {
		why := "no prompt lies within the probed lengths"
		if len(measured.prompts) == 0 {
			why = "the measurement has no probes"
		}
		b.unsure(at+"/overhead", why)
		return
	}
	for _, name := range []string{"measured_p50_s", "measured_p99_s", "simulated_p50_s", "simulated_p99_s", "difference_p50_s"} {
		b.unsure(at+"/overhead/"+name, unreplicated)
	}
}

// shell is what of a point is no comparison.
func (b *builder) shell(p *pair) Point {
	s := Point{
		Group: string(p.measured.Group), Rate: p.measured.Rate, State: b.state[p], Reason: b.reason[p],
		Simulator: string(p.simState), Fitted: b.fitted[p], Drain: b.state[p] == stateOverloaded && drains(p.measured),
		Seeds: len(p.runs), N: p.n, Failed: p.failed, Unfinished: p.unfinished,
	}
	switch {
	case p.measured.Group == trace.Replay && len(p.runs) < replayRepeats:
		s.Noise = "engine noise unknown"
	case p.measured.Group == trace.Sweep && len(p.runs) == 1:
		s.Noise = "one seed: nothing is known of other arrivals"
	}
	return s
}

// numbers fills the cells and distances of a point.
func (b *builder) numbers(at string, p *pair, to *Point) {
	for metric, m := range [...]*PointMetric{&to.TTFT, &to.TPOT, &to.E2E} {
		where := at + "/" + metricNames[metric]
		for stat, slot := range [...]*Cell{&m.P50, &m.P90, &m.P95, &m.P99, &m.Mean} {
			*slot = b.place(where+"/"+statNames[stat], b.entries[p][metric*len(statNames)+stat])
		}
		d := b.distances[p][metric]
		m.KS, m.W1, m.Requests, m.Excluded = d.ks, d.w1, d.requests, p.excluded[metric]
		if s := b.sample(p, metric); s != nil {
			m.Block = s.block
		}
		b.leaf(where+"/ks", "value", d.ksCol)
		b.leaf(where+"/w1", "value", d.w1Col)
		b.leaf(where+"/requests/mape", "value", d.requestsCol)
		for _, name := range []string{"ks", "w1", "requests"} {
			b.unsure(where+"/"+name, d.doubt)
		}
		switch {
		case d.doubt != "":
		case d.requests.Correlation == nil:
			b.unsure(where+"/requests/correlation", "a side does not vary")
		default:
			b.unsure(where+"/requests/correlation", unreplicated)
		}
	}
	to.Throughput = b.place(at+"/throughput", b.entries[p][len(b.entries[p])-1])
	to.WholeRun = wholeRun(p)
	why := unreplicated
	if to.WholeRun.MeasuredTokens == nil || to.WholeRun.SimulatedTokens == nil {
		if why = p.missing; why == "" {
			why = "a side's run has no length"
		}
	}
	b.unsure(at+"/whole_run", why)
}

// loads finds ρ of every rate: offered over the best token rate that the
// sweep sustained. If none of its points saturates the engine nobody knows.
func (b *builder) loads() {
	best, saturated := 0.0, false
	for _, p := range b.pairs {
		if p.measured.Group != trace.Sweep {
			continue
		}
		saturated = saturated || b.state[p] == stateOverloaded
		if s := b.sample(p, throughput); s != nil {
			if measured, _ := rates(s); measured != nil {
				best = max(best, *measured)
			}
		}
	}
	for _, p := range b.pairs {
		b.rho[p] = math.NaN()
		if saturated && best > 0 && p.measured.Group == trace.Sweep {
			b.rho[p] = offered(p.measured) / best
		}
	}
}
