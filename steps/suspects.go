package steps

import (
	"fmt"
	"strings"

	"calrun/internal/fit"
	"calrun/internal/stats"
	"calrun/internal/trace"
)

// suspect is a hypothesis with the cause that it speaks for.
type suspect struct {
	fit.Hypothesis
	cause string
	note  string

	// holds makes of the case the one in which the hypothesis holds, but for
	// the values that it sets or that were fitted; nil where those are all.
	holds func(*diagnosis)
}

// served is a suspect by which the engine was given other requests.
func (c *diagnosis) served(name string, requests []trace.Point, note string) suspect {
	return suspect{
		Hypothesis: fit.Hypothesis{Name: name, Simulate: c.simulate(requests)}, cause: "input", note: note,
		holds: func(d *diagnosis) { d.asked = requests },
	}
}

// suspects are the hypotheses in the order of suspicion of the definitions:
// inputs, configuration, KV blocks, constants, kernels. A mismatch that is not
// there is no hypothesis.
func (c *diagnosis) suspects() []suspect {
	var all []suspect
	all = append(all, c.inputs()...)
	all = append(all, c.configuration()...)
	all = append(all, c.scheduling()...)
	all = append(all, c.blocks()...)
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
		all = append(all, c.served("token counts differ", lengths, fmt.Sprintf("%d requests were served with other token counts than were simulated", other)))
	}
	if sharesContent(c.asked) {
		return c.late(append(all, c.prefixes()...))
	}
	cached, hits := c.changed(func(q *trace.Request, row trace.Row) bool {
		if row.Cached <= 0 {
			return false
		}
		q.Prompt = max(1, q.Prompt-row.Cached)
		return true
	})
	if hits > 0 {
		all = append(all, c.served("prefix-cache hits", cached, fmt.Sprintf("%d requests found part of their prompt in the prefix cache; the simulator computes whole prompts", hits)))
	}
	return c.late(all)
}

// late adds that the requests were sent late, where they were.
func (c *diagnosis) late(all []suspect) []suspect {
	if s, ok := c.lateness(); ok {
		all = append(all, s)
	}
	return all
}

// prefixes asks whether the simulation cached prefixes as the engine does. The
// workload says what its prompts share; elsewhere a cache can be told by what
// the engine says that it found, alone.
func (c *diagnosis) prefixes() []suspect {
	f, had := c.facts.PrefixCache, cachesPrefixes(c.params, c.facts)
	if f == nil || *f == had {
		return nil
	}
	found, prompts := 0, 0
	for _, m := range c.measured {
		for _, r := range m.Runs {
			for _, row := range r.Rows {
				found, prompts = found+row.Cached, prompts+row.Prompt
			}
		}
	}
	return []suspect{c.otherwise("the engine's own prefix cache", "input", func(p *Params) { p.PrefixCache = f },
		fmt.Sprintf("prefix_caching: the simulator had %s, the engine states %s and says that it found %d of %d prompt tokens", onOff(had), onOff(*f), found, prompts))}
}

// scheduling asks whether the engine looks a step ahead and the simulator did
// not, or the other way round.
func (c *diagnosis) scheduling() []suspect {
	f, had := c.facts.Async, looksAhead(c.params, c.facts)
	if f == nil || *f == had || !c.params.v1() {
		return nil
	}
	return []suspect{c.otherwise("the engine's own look-ahead", "scheduler", func(p *Params) { p.LookAhead = f },
		fmt.Sprintf("async_scheduling: the simulator had %s, the engine states %s", onOff(had), onOff(*f)))}
}

func onOff(on bool) string {
	if on {
		return "it on"
	}
	return "it off"
}

// otherwise is a suspect by which the engine has another setting, one that is
// no number.
func (c *diagnosis) otherwise(name, cause string, set func(*Params), note string) suspect {
	other := *c
	set(&other.params)
	return suspect{
		Hypothesis: fit.Hypothesis{Name: name, Simulate: other.simulate(c.asked)}, cause: cause, note: note,
		holds: func(d *diagnosis) { set(&d.params) },
	}
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
	given := *c
	given.planned = c.asked
	return suspect{
		Hypothesis: fit.Hypothesis{Name: "requests were sent late", Simulate: given.simulate(sent)}, cause: "input",
		note:  fmt.Sprintf("the generator was behind its plan by up to %.1f %% of a point's median TTFT", 100*late),
		holds: func(d *diagnosis) { d.asked, d.planned = sent, c.asked },
	}, true
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
		all = append(all, suspect{Hypothesis: fit.Hypothesis{Name: "the engine's own step limits", Set: set}, cause: "config", note: strings.Join(seen, "; ")})
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
		Hypothesis: fit.Hypothesis{Name: "the engine's own KV blocks", Set: fit.Params{{Name: "kv_blocks", Value: v}}}, cause: "kv", note: c.difference("kv_blocks"),
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

// lookAhead notes what the engine does and the simulator did not.
func (c *diagnosis) lookAhead() {
	if f := c.facts.Async; f != nil && *f && !c.params.v1() {
		c.unsimulated = append(c.unsimulated, "the engine schedules one step ahead (async_scheduling), which the scheduler "+c.params.Scheduler+" cannot")
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
	return suspect{Hypothesis: fit.Hypothesis{Name: "a constant per step and per request", On: c.few(), Knobs: []fit.Knob{
		{Name: "cpu_overhead_s", Hi: max(step, orZero(c.params.CPUOverhead)), Start: orZero(c.params.CPUOverhead)},
		{Name: "front_end_s", Hi: max(first, orZero(c.params.FrontEnd)), Start: orZero(c.params.FrontEnd)},
	}}, cause: "overhead", note: "the best constants"}
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
		Hypothesis: fit.Hypothesis{Name: "a factor on the " + family, On: c.few(), Knobs: []fit.Knob{{Name: name, Lo: start / 8, Hi: start * 8, Start: start}}},
		cause:      "kernel", note: "the best factor",
	}
}
