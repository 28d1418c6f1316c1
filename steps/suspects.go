package steps

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"calrun/internal/engine"
	"calrun/internal/fit"
	"calrun/internal/stats"
	"calrun/internal/trace"
)

// diagnosis is what a [Diagnose] knows while it asks.
type diagnosis struct {
	measured    []trace.Point // with rows
	asked       []trace.Point // what the simulator was given, point by point as measured
	facts       engine.Facts
	params      Params
	sim         whatIf
	stale       string   // what profile-check says against the profile, empty if nothing
	direct      []string // settings that differ and cannot be simulated otherwise
	unsimulated []string // ways in which the engine schedules that the simulator cannot
	notes       []string
}

// suspect is a hypothesis with the cause that it speaks for.
type suspect struct {
	fit.Hypothesis
	cause string
	note  string
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
		Options: fit.Options{Budget: 60, Seed: seed},
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
		return c.sim(ctx, points, p)
	}
}

// suspects are the hypotheses in the order of suspicion of the definitions:
// inputs, configuration, KV blocks, constants, kernels. A mismatch that is not
// there is no hypothesis.
func (c *diagnosis) suspects() []suspect {
	var all []suspect
	all = append(all, c.inputs()...)
	all = append(all, c.configuration()...)
	all = append(all, c.blocks()...)
	c.lookAhead()
	return append(all, c.constants(), c.factor("k_mlp", "MLP and projection kernels"), c.factor("k_attn", "attention kernels"))
}

// inputs asks whether the engine served other requests than were simulated.
func (c *diagnosis) inputs() []suspect {
	var all []suspect
	lengths, other := c.changed(func(q *trace.Request, row trace.Row) bool {
		if row.Estimated || row.Prompted == 0 || q.Prompt == row.Prompted && q.Output == row.Tokens {
			return false
		}
		q.Prompt, q.Output = row.Prompted, max(1, row.Tokens)
		return true
	})
	if other > 0 {
		all = append(all, suspect{
			fit.Hypothesis{Name: "token counts differ", Simulate: c.simulate(lengths)}, "input",
			fmt.Sprintf("%d requests were served with other token counts than were simulated", other),
		})
	}
	cached, hits := c.changed(func(q *trace.Request, row trace.Row) bool {
		if row.Cached <= 0 {
			return false
		}
		q.Prompt = max(1, q.Prompt-row.Cached)
		return true
	})
	if hits > 0 {
		all = append(all, suspect{
			fit.Hypothesis{Name: "prefix-cache hits", Simulate: c.simulate(cached)}, "input",
			fmt.Sprintf("%d requests found part of their prompt in the prefix cache; the simulator computes whole prompts", hits),
		})
	}
	if s, ok := c.lateness(); ok {
		all = append(all, s)
	}
	return all
}

// lateness asks whether the generator sent the requests later than planned. A
// probe is due when the one before it is through, so it cannot be late.
func (c *diagnosis) lateness() (suspect, bool) {
	late := 0.0
	for _, m := range c.measured {
		var lates, ttfts []float64
		for _, r := range m.Runs {
			for _, row := range r.Rows {
				if row.OK() && !m.Alone() {
					lates, ttfts = append(lates, row.Late().Seconds()), append(ttfts, row.TTFT().Seconds())
				}
			}
		}
		if len(lates) > 0 {
			late = max(late, stats.Mean(lates)/stats.Quantile(stats.Sorted(ttfts), 0.5))
		}
	}
	if late < 0.01 {
		return suspect{}, false
	}
	sent := clonePoints(c.asked)
	for i, m := range c.measured {
		for j, r := range sent[i].Runs {
			rows := rowsOfSeed(m, r.Seed)
			for n := range rows {
				if rows[n].OK() && !m.Alone() {
					sent[i].Runs[j].Requests[n].Due = rows[n].Sent
				}
			}
		}
	}
	simulate := c.simulate(sent)
	return suspect{
		fit.Hypothesis{Name: "requests were sent late", Simulate: func(ctx context.Context, p fit.Params) ([]trace.Point, error) {
			out, err := simulate(ctx, p)
			if err != nil {
				return nil, err
			}
			return c.dueAsAsked(out), nil
		}},
		"input", fmt.Sprintf("the generator was behind its plan by up to %.1f %% of a point's median TTFT", 100*late),
	}, true
}

// dueAsAsked puts the planned arrivals back, from which a latency counts.
func (c *diagnosis) dueAsAsked(points []trace.Point) []trace.Point {
	out := clonePoints(points)
	for i := range out {
		for j, r := range out[i].Runs {
			for n := range r.Rows {
				out[i].Runs[j].Rows[n].Due = c.asked[i].Runs[j].Requests[n].Due
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

// configuration asks whether limits of a step differ from the engine's.
func (c *diagnosis) configuration() []suspect {
	var all []suspect
	var set fit.Params
	var seen []string
	for _, name := range []string{"batch_size_cap", "chunk_size"} {
		if v, differs := c.differs(name); differs {
			set = append(set, fit.Value{Name: name, Value: v})
			seen = append(seen, c.difference(name))
		}
	}
	if len(set) > 0 {
		all = append(all, suspect{fit.Hypothesis{Name: "the engine's own step limits", Set: set}, "config", strings.Join(seen, "; ")})
	}
	return all
}

// blocks asks whether the KV cache has another size than the engine's.
func (c *diagnosis) blocks() []suspect {
	v, differs := c.differs("kv_blocks")
	if !differs {
		return nil
	}
	return []suspect{{
		fit.Hypothesis{Name: "the engine's own KV blocks", Set: fit.Params{{Name: "kv_blocks", Value: v}}}, "kv", c.difference("kv_blocks"),
	}}
}

// differs says whether the simulator had another value than the engine states.
func (c *diagnosis) differs(name string) (engine float64, differs bool) {
	v := engineStates(name, c.facts)
	k, ok := lookupKnob(name)
	if v == nil || !ok {
		return 0, false
	}
	// A parameter that is not set was taken from the engine.
	had, set := k.of(c.params)
	return float64(*v), set && had != float64(*v)
}

func (c *diagnosis) difference(name string) string {
	k, _ := lookupKnob(name)
	had, _ := k.of(c.params)
	return fmt.Sprintf("%s: the simulator had %g, the engine states %d", name, had, *engineStates(name, c.facts))
}

// lookAhead notes what the engine does and the simulator cannot.
func (c *diagnosis) lookAhead() {
	if c.facts.Async != nil && *c.facts.Async {
		c.unsimulated = append(c.unsimulated, "the engine schedules one step ahead (async_scheduling), which the simulator does not")
	}
	if p := c.facts.Policy; p != "" && p != "fcfs" {
		c.unsimulated = append(c.unsimulated, fmt.Sprintf("the engine schedules by %s, the simulator first come, first served", p))
	}
	c.notes = append(c.notes, c.unsimulated...)
}

// constants asks for a time per step and a time per request that are missing
// or too large. Neither can be longer than the shortest time that was seen.
func (c *diagnosis) constants() suspect {
	step, first := c.shortest()
	return suspect{fit.Hypothesis{Name: "a constant per step and per request", On: c.few(), Knobs: []fit.Knob{
		{Name: "cpu_overhead_s", Hi: max(step, orZero(c.params.CPUOverhead)), Start: orZero(c.params.CPUOverhead)},
		{Name: "front_end_s", Hi: max(first, orZero(c.params.FrontEnd)), Start: orZero(c.params.FrontEnd)},
	}}, "overhead", "the best constants"}
}

// factor asks for one factor on a family of kernels.
func (c *diagnosis) factor(name, family string) suspect {
	start := 1.0
	if k, ok := lookupKnob(name); ok {
		if v, set := k.of(c.params); set {
			start = v
		}
	}
	return suspect{
		fit.Hypothesis{Name: "a factor on the " + family, On: c.few(), Knobs: []fit.Knob{{Name: name, Lo: start / 8, Hi: start * 8, Start: start}}},
		"kernel", "the best factor",
	}
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
	apart := []string{"max_num_seqs", "max_num_batched_tokens", "kv_blocks", "policy", "async_scheduling"}
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
	data, err := os.ReadFile(filepath.Join(dir, "findings.json"))
	if err != nil {
		return f, fmt.Errorf("read the findings of profile-check: %w", err)
	}
	if err := json.Unmarshal(data, &f); err != nil {
		return f, fmt.Errorf("read the findings of profile-check: %w", err)
	}
	return f, nil
}
