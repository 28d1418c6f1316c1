package workload

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"time"

	"calrun/internal/trace"
)

// Sources are the recorded data of a workload.
type Sources struct {
	Lengths []trace.Request // whose lengths the sweep draws; nil where it has a distribution
	Trace   []trace.Request // what the replay replays
}

// Counts are what max_total did to the requests, over all seeds of the sweep
// (once, not once a rate) and one pass of the replay.
type Counts struct {
	Requests int `json:"requests"` // looked at
	Clipped  int `json:"clipped"`
	Dropped  int `json:"dropped"`
}

// Build makes the points: probes as listed, rates from the lowest, replay
// last. The requests of a run are in order of Due, numbered from 0.
func Build(s *Spec, src Sources) ([]trace.Point, Counts, error) {
	var points []trace.Point
	var counts Counts
	if err := s.check(src); err != nil {
		return nil, counts, fmt.Errorf("build workload: %w", err)
	}
	if s.Probes != nil {
		points = append(points, s.Probes.points()...)
	}
	if s.Sweep != nil {
		sweep, err := s.sweep(src.Lengths, &counts)
		if err != nil {
			return nil, counts, fmt.Errorf("build workload: sweep: %w", err)
		}
		points = append(points, sweep...)
	}
	if s.Replay != nil {
		replay, err := s.replay(src.Trace, &counts)
		if err != nil {
			return nil, counts, fmt.Errorf("build workload: replay: %w", err)
		}
		points = append(points, replay)
	}
	return points, counts, nil
}

// stream is the random stream of one subsystem and seed: independent of all
// others, the same everywhere.
func (s *Spec) stream(name string, seed int) *rand.Rand {
	h := fnv.New64a()
	fmt.Fprintf(h, "%s/%d", name, seed)
	return rand.New(rand.NewPCG(s.Seed, h.Sum64()))
}

func (p *Probes) points() []trace.Point {
	points := make([]trace.Point, len(p.Lengths))
	for i, l := range p.Lengths {
		run := trace.Run{Seed: 1, Requests: make([]trace.Request, p.Requests)}
		for j := range run.Requests {
			// A second apart on paper; each waits for the one before it.
			run.Requests[j] = trace.Request{ID: j, Due: time.Duration(j) * time.Second, Prompt: l[0], Output: l[1]}
		}
		points[i] = trace.Point{Name: ProbeName(l[0], l[1]), Group: trace.Probe, Runs: []trace.Run{run}}
	}
	return points
}

func (s *Sweep) rates() []float64 {
	rates := slices.Clone(s.RPS)
	slices.Sort(rates)
	return rates
}

func (s *Spec) sweep(from []trace.Request, counts *Counts) ([]trace.Point, error) {
	rates := s.Sweep.rates()
	points := make([]trace.Point, len(rates))
	for i, r := range rates {
		points[i] = trace.Point{Name: RateName(r), Group: trace.Sweep, Rate: r}
	}
	for seed := 1; seed <= s.Sweep.Seeds; seed++ {
		reqs, err := s.limit(lengths(s.Sweep, from, s.Sweep.Requests, s.stream("lengths", seed)), counts)
		if err != nil {
			return nil, err
		}
		if len(reqs) == 0 {
			return nil, fmt.Errorf("seed %d: max_total %d leaves none of %d requests", seed, s.MaxTotal, s.Sweep.Requests)
		}
		gaps := s.gaps(len(reqs), seed)
		for i, rate := range rates {
			run := trace.Run{Seed: seed, Requests: slices.Clone(reqs)}
			at := 0.0
			for j := range run.Requests {
				at += gaps[j]
				run.Requests[j].Due = trace.FromSeconds(at / rate)
			}
			points[i].Runs = append(points[i].Runs, run)
		}
	}
	return points, nil
}

// gaps are the gaps of a process of rate 1.
func (s *Spec) gaps(n, seed int) []float64 {
	rng := s.stream("arrivals", seed)
	gaps := make([]float64, n)
	for i := range gaps {
		gaps[i] = 1
		if s.Sweep.Arrivals != Constant {
			gaps[i] = rng.ExpFloat64()
		}
	}
	return gaps
}

func (s *Spec) replay(from []trace.Request, counts *Counts) (trace.Point, error) {
	p := trace.Point{Name: ReplayName, Group: trace.Replay}
	var reqs []trace.Request
	for _, r := range from {
		r = s.Replay.Scale.apply(r)
		if s.Replay.Window == 0 || r.Due < s.Replay.Window {
			reqs = append(reqs, r)
		}
	}
	slices.SortStableFunc(reqs, func(a, b trace.Request) int { return cmp.Compare(a.Due, b.Due) })
	reqs, err := s.limit(reqs, counts)
	if err != nil {
		return p, err
	}
	if len(reqs) == 0 {
		return p, fmt.Errorf("none of the %d requests of the trace arrives inside window %v", len(from), s.Replay.Window)
	}
	if span := reqs[len(reqs)-1].Due - reqs[0].Due; span > 0 {
		p.Rate = float64(len(reqs)-1) / span.Seconds()
	}
	for k := 1; k <= s.Replay.Repeats; k++ {
		p.Runs = append(p.Runs, trace.Run{Seed: k, Requests: slices.Clone(reqs)})
	}
	return p, nil
}

// limit applies max_total and numbers what is left.
func (s *Spec) limit(reqs []trace.Request, counts *Counts) ([]trace.Request, error) {
	kept := reqs[:0]
	for _, r := range reqs {
		counts.Requests++
		if total := r.Prompt + r.Output; s.MaxTotal > 0 && total > s.MaxTotal {
			switch s.Over {
			case Refuse:
				return nil, fmt.Errorf("request %d has %d + %d tokens, max_total is %d; raise it or set over: clip or over: drop", r.ID, r.Prompt, r.Output, s.MaxTotal)
			case Drop:
				counts.Dropped++
				continue
			default:
				counts.Clipped++
				r = fit(r, s.MaxTotal)
			}
		}
		r.ID = len(kept)
		kept = append(kept, r)
	}
	return kept, nil
}
