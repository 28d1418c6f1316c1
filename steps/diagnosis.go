package steps

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"

	"calrun/internal/engine"
	"calrun/internal/fit"
	"calrun/internal/trace"
)

// diagnosis is what a [Diagnose] knows while it asks.
type diagnosis struct {
	measured    []trace.Point // with rows
	asked       []trace.Point // what the simulator was given, point by point as measured
	planned     []trace.Point // the arrivals that a latency counts from; nil: those of asked
	facts       engine.Facts
	params      Params
	sim         whatIf
	stale       string   // what profile-check says against the profile, empty if nothing
	direct      []string // settings that differ and cannot be simulated otherwise
	unsimulated []string // ways in which the engine schedules that the simulator cannot
	notes       []string
}

// match puts the workload's points into the order of the measured ones and
// drops what was not measured.
func (c *diagnosis) match() error {
	var measured, asked []trace.Point
	for _, m := range c.measured {
		if !slices.ContainsFunc(m.Runs, func(r trace.Run) bool { return slices.ContainsFunc(r.Rows, trace.Row.OK) }) {
			c.notes = append(c.notes, m.Name+": no request completed; the point is left out")
			continue
		}
		i := slices.IndexFunc(c.asked, func(a trace.Point) bool { return a.Name == m.Name })
		if i < 0 {
			return fmt.Errorf("the measurement has the point %s and the workload has not: they belong to different runs", m.Name)
		}
		for _, r := range m.Runs {
			j := slices.IndexFunc(c.asked[i].Runs, func(a trace.Run) bool { return a.Seed == r.Seed })
			if j < 0 || len(r.Rows) > 0 && len(c.asked[i].Runs[j].Requests) != len(r.Rows) {
				return fmt.Errorf("point %s, seed %d: workload and measurement do not hold the same requests: they belong to different runs", m.Name, r.Seed)
			}
		}
		measured, asked = append(measured, m), append(asked, c.asked[i])
	}
	if len(measured) == 0 {
		return errors.New("no request completed at any point of the measurement")
	}
	c.measured, c.asked = measured, asked
	return nil
}

// base is the case to explain: the simulation as it was.
func (c *diagnosis) base(seed uint64) fit.Case {
	return fit.Case{
		Measured: c.measured, Simulate: c.simulate(c.asked),
		// Fewer simulations than a calibration makes: no decision reads the
		// last digits of a what-if.
		Options: fit.Options{Budget: 60, Seed: seed, Rough: true},
	}
}

// simulate simulates other requests, or the same, with the case's parameters
// and some values on top.
func (c *diagnosis) simulate(points []trace.Point) fit.Simulate {
	return func(ctx context.Context, values fit.Params) ([]trace.Point, error) {
		p, err := over(c.params, values)
		if err != nil {
			return nil, err
		}
		out, err := c.sim(ctx, points, p)
		if err != nil || c.planned == nil {
			return out, err
		}
		return c.dueAsPlanned(out), nil
	}
}

// dueAsPlanned puts the planned arrivals back, run by run.
func (c *diagnosis) dueAsPlanned(points []trace.Point) []trace.Point {
	out := clonePoints(points)
	for i := range out {
		for j, r := range out[i].Runs {
			planned := c.planned[i].Runs[slices.IndexFunc(c.planned[i].Runs, func(p trace.Run) bool { return p.Seed == r.Seed })]
			for n := range r.Rows {
				out[i].Runs[j].Rows[n].Due = planned.Requests[n].Due
			}
		}
	}
	return out
}

// changed copies what was asked, lets change correct each completed request by
// what the engine did, and counts the corrections.
func (c *diagnosis) changed(change func(*trace.Request, trace.Row) bool) ([]trace.Point, int) {
	points, count := clonePoints(c.asked), 0
	for i, m := range c.measured {
		for j, r := range points[i].Runs {
			rows := rowsOfSeed(m, r.Seed)
			for n := range rows {
				if rows[n].OK() && change(&points[i].Runs[j].Requests[n], rows[n]) {
					count++
				}
			}
		}
	}
	return points, count
}

// plenty is how many requests a fit of one or two values can do with.
const plenty = 3000

// few is what constants and factors are fitted on: everything, or where that
// is more than plenty, the first run of each point. What they explain is
// judged on everything.
func (c *diagnosis) few() *fit.Problem {
	measured, asked, n := slices.Clone(c.measured), slices.Clone(c.asked), 0
	for i, m := range c.measured {
		for _, r := range m.Runs {
			n += len(r.Requests)
		}
		first := slices.IndexFunc(m.Runs, func(r trace.Run) bool { return slices.ContainsFunc(r.Rows, trace.Row.OK) })
		measured[i].Runs = m.Runs[first : first+1] // match left no point without one
		same := slices.IndexFunc(asked[i].Runs, func(r trace.Run) bool { return r.Seed == m.Runs[first].Seed })
		asked[i].Runs = asked[i].Runs[same : same+1]
	}
	if n <= plenty {
		return nil
	}
	return &fit.Problem{Measured: measured, Simulate: c.simulate(asked)}
}

// shortest is the smallest time per token and the smallest time to first token
// that any request saw, in seconds and above 0.
func (c *diagnosis) shortest() (tpot, ttft float64) {
	tpot, ttft = math.Inf(1), math.Inf(1)
	for _, m := range c.measured {
		for _, r := range m.Runs {
			for _, row := range r.Rows {
				if !row.OK() {
					continue
				}
				ttft = min(ttft, row.TTFTSent().Seconds())
				if d, ok := row.TPOT(); ok {
					tpot = min(tpot, d.Seconds())
				}
			}
		}
	}
	// Events that came together make a time of nothing; a range needs room.
	const least = 1e-4
	tpot, ttft = max(min(tpot, ttft), least), max(ttft, least)
	return tpot, ttft
}

func rowsOfSeed(p trace.Point, seed int) []trace.Row {
	for _, r := range p.Runs {
		if r.Seed == seed {
			return r.Rows
		}
	}
	return nil
}

// clonePoints copies points so far that requests and rows may be changed.
func clonePoints(points []trace.Point) []trace.Point {
	out := slices.Clone(points)
	for i := range out {
		out[i].Runs = slices.Clone(out[i].Runs)
		for j, r := range out[i].Runs {
			out[i].Runs[j].Requests = slices.Clone(r.Requests)
			out[i].Runs[j].Rows = slices.Clone(r.Rows)
		}
	}
	return out
}

// read takes from the findings of profile-check what speaks against the
// profile, and the settings that differ in a way that no simulation undoes.
func (c *diagnosis) read(f findingsFile) {
	switch {
	case !f.Fresh:
		c.stale = "profile-check calls the profile stale"
	case !f.Covered:
		c.stale = "profile-check says that the profile does not cover the workload"
	}
	// The step limits and the cache are simulated as the engine has them;
	// look-ahead and policy are what lookAhead is about.
	apart := []string{"max_num_seqs", "max_num_batched_tokens", "kv_blocks", "policy", "async_scheduling", "prefix_caching"}
	for _, x := range f.Config.Fields {
		if !x.Same && !slices.Contains(apart, x.Name) {
			c.direct = append(c.direct, fmt.Sprintf("%s: asked %s, engine %s, simulator %s", x.Name, orUnknown(x.Asked), orUnknown(x.Engine), orUnknown(x.Simulator)))
		}
	}
}

func orUnknown(text string) string {
	if text == "" {
		return "not stated"
	}
	return text
}

// readFindings reads what profile-check wrote.
func readFindings(dir string) (f findingsFile, err error) {
	if err := readJSON(filepath.Join(dir, findingsName), &f); err != nil {
		return f, fmt.Errorf("read the findings of profile-check: %w", err)
	}
	return f, nil
}
