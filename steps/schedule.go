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
// with these facts does. Vidur's schedulers never do, unless the plan insists,
// which is refused.
func cachesPrefixes(p Params, f engine.Facts) bool {
	switch {
	case p.PrefixCache != nil:
		return *p.PrefixCache
	case p.Scheduler != "" && p.Scheduler != simulator.V1.String():
		return false
	}
	return f.PrefixCache != nil && *f.PrefixCache
}

// looksAhead says whether a simulation with these parameters of an engine with
// these facts decides its steps one ahead. Vidur's schedulers never do, unless
// the plan insists, which is refused.
func looksAhead(p Params, f engine.Facts) bool {
	switch {
	case p.LookAhead != nil:
		return *p.LookAhead
	case p.Scheduler != "" && p.Scheduler != simulator.V1.String():
		return false
	}
	return f.Async != nil && *f.Async
}
