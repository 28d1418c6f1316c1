package workload

import "fmt"

// Problem is what is wrong with a spec before any data is read, at a path
// below it such as "probes.lengths[2]".
type Problem struct {
	Field, Message, Suggest string
}

// Check finds what is wrong with a spec, without its data.
func (s *Spec) Check() []Problem {
	var all []Problem
	add := func(field, suggest, format string, args ...any) {
		all = append(all, Problem{field, fmt.Sprintf(format, args...), suggest})
	}
	if s.Probes == nil && s.Sweep == nil && s.Replay == nil {
		add("", "give at least one of probes, sweep, replay", "the workload asks for nothing")
	}
	if s.MaxTotal == 1 || s.MaxTotal < 0 {
		add("max_total", "leave it out for no limit", "%d tokens hold no prompt and output", s.MaxTotal)
	}
	if s.Probes != nil {
		s.checkProbes(add)
	}
	if s.Sweep != nil {
		s.checkSweep(add)
	}
	if s.Replay != nil && s.Replay.Repeats < 1 {
		add("replay.repeats", "", "%d repeats; at least 1", s.Replay.Repeats)
	}
	return all
}

func (s *Spec) checkProbes(add func(field, suggest, format string, args ...any)) {
	seen := map[string]bool{}
	for i, l := range s.Probes.Lengths {
		field := fmt.Sprintf("probes.lengths[%d]", i)
		switch {
		case len(l) != 2 || l[0] < 1 || l[1] < 1:
			add(field, "as [512, 128]", "%v is not a pair [prompt, output] of at least 1 token each", l)
			continue
		case s.MaxTotal > 0 && l[0]+l[1] > s.MaxTotal:
			add(field, fmt.Sprintf("raise max_total to %d or shorten the probe", l[0]+l[1]), "%d + %d tokens are above max_total %d", l[0], l[1], s.MaxTotal)
		}
		if name := ProbeName(l[0], l[1]); seen[name] {
			add(field, "raise requests instead", "the probe %v is listed twice", l)
		} else {
			seen[name] = true
		}
	}
	if len(s.Probes.Lengths) == 0 {
		add("probes.lengths", "as [[512, 128]]", "no lengths to probe")
	}
}

func (s *Spec) checkSweep(add func(field, suggest, format string, args ...any)) {
	sw, seen := s.Sweep, map[string]bool{}
	for i, r := range sw.RPS {
		field := fmt.Sprintf("sweep.rps[%d]", i)
		if !(r > 0) || r > 1e6 {
			add(field, "", "%v is not a rate in requests per second", r)
		} else if seen[RateName(r)] {
			add(field, "use seeds to measure a rate more than once", "the rate %v is listed twice", r)
		}
		seen[RateName(r)] = true
	}
	if len(sw.RPS) == 0 {
		add("sweep.rps", "as [1, 2, 4]", "no rates to sweep")
	}
	if sw.Arrivals != Poisson && sw.Arrivals != Constant {
		add("sweep.arrivals", "poisson or constant", "no arrival process is named %q", sw.Arrivals)
	}
	if d := sw.Draw; d != nil {
		for _, err := range []error{d.Prompt.check("prompt"), d.Output.check("output")} {
			if err != nil {
				add("sweep.distribution", "", "%v", err)
			}
		}
	}
}

// check is Check with the data at hand, as one error.
func (s *Spec) check(src Sources) error {
	if problems := s.Check(); len(problems) > 0 {
		p := problems[0]
		if p.Field == "" {
			return fmt.Errorf("%s; %s", p.Message, p.Suggest)
		}
		return fmt.Errorf("%s: %s", p.Field, p.Message)
	}
	if s.Sweep != nil && s.Sweep.Draw == nil && len(src.Lengths) == 0 {
		return fmt.Errorf("sweep: no lengths: the trace holds no requests")
	}
	if s.Replay != nil && len(src.Trace) == 0 {
		return fmt.Errorf("replay: the trace holds no requests")
	}
	return nil
}
