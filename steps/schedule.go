package steps

import (
	"fmt"

	"calrun/internal/engine"
	"calrun/internal/simulator"
)

// vidurWatermark is what Vidur takes where nothing is said.
const vidurWatermark = 0.01

// schedule decides how the embedded simulator schedules, which no other
// simulator is told.
func (s *settled) schedule(p Params, f engine.Facts) (err error) {
	c := &s.Config
	if c.Policy, err = simulator.ParsePolicy(p.Scheduler); err != nil {
		return err
	}
	s.Params.Scheduler = c.Policy.String()
	c.LookAhead = looksAhead(p, f)
	if p.Graphs != nil {
		c.Graphs = *p.Graphs
	}
	c.PrefixCache = cachesPrefixes(p, f)
	s.Params.LookAhead, s.Params.Graphs, s.Params.PrefixCache = &c.LookAhead, &c.Graphs, &c.PrefixCache
	ahead := f.Async != nil && *f.Async
	if c.Policy != simulator.V1 {
		mark := vidurWatermark
		if p.Watermark != nil {
			mark = *p.Watermark
		}
		c.Watermark, s.Params.Watermark = mark, &mark
		if ahead {
			s.doubt("the engine schedules one step ahead (async_scheduling); the scheduler %v does not", c.Policy)
		}
	} else if c.PrefixCache {
		s.doubt("the engine caches prefixes; in the simulator prompts share what the trace says (hash_ids), and nothing where it says nothing")
	}
	if c.Policy != simulator.V1 && c.PrefixCache {
		return fmt.Errorf("prefix_caching: the scheduler %v caches no prefixes; only %v does", c.Policy, simulator.V1)
	}
	if err := c.Check(); err != nil {
		return fmt.Errorf("the simulator's configuration: %w", err)
	}
	return nil
}

// cachesPrefixes says whether a simulation with these parameters of an engine
// with these facts does.
func cachesPrefixes(p Params, f engine.Facts) bool { return onlyV1(p, p.PrefixCache, f.PrefixCache) }

// looksAhead says whether a simulation with these parameters of an engine with
// these facts decides its steps one ahead.
func looksAhead(p Params, f engine.Facts) bool { return onlyV1(p, p.LookAhead, f.Async) }

// onlyV1 is a setting that the scheduler V1 alone has: as the plan asks, else
// as the engine states. Vidur's schedulers have it only if the plan insists,
// which is refused.
func onlyV1(p Params, asked, stated *bool) bool {
	if asked == nil && p.v1() {
		asked = stated
	}
	return asked != nil && *asked
}

// v1 says whether the embedded simulator schedules as vLLM does.
func (p Params) v1() bool { return p.Scheduler == "" || p.Scheduler == simulator.V1.String() }
