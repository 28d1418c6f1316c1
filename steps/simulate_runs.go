package steps

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"runtime"
	"sync"

	"golang.org/x/sync/errgroup"

	"calrun/internal/simulator"
	"calrun/internal/trace"
)

// simulateRun simulates the requests of one run, alone each on an idle engine.
// A run that cannot be simulated is crashed, with its reason; an error says
// nothing of the run.
type simulateRun func(ctx context.Context, reqs []trace.Request, alone bool) (trace.Run, simulator.Stats, error)

// eachRun simulates every run of the points, so many at once. Runs of the same
// requests (repeats of a replay) are simulated once. progress may be nil.
func eachRun(ctx context.Context, points []trace.Point, atOnce int, simulate simulateRun, progress func(done, total float64, note string)) ([]trace.Point, simulator.Stats, error) {
	type result struct {
		once  sync.Once
		run   trace.Run
		stats simulator.Stats
	}
	out := make([]trace.Point, len(points))
	seen := map[runKey]*result{}
	results := make([][]*result, len(points))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	var mu sync.Mutex
	var done, total float64
	for _, p := range points {
		total += float64(len(p.Runs))
	}
	for i, p := range points {
		for _, r := range p.Runs {
			key := sameRequests(r.Requests, p.Alone())
			if seen[key] == nil {
				seen[key] = &result{}
			}
			res := seen[key]
			results[i] = append(results[i], res)
			group.Go(func() error {
				var err error
				res.once.Do(func() { res.run, res.stats, err = simulate(ctx, r.Requests, p.Alone()) })
				mu.Lock()
				defer mu.Unlock()
				if done++; progress != nil {
					progress(done, total, p.Name)
				}
				return err
			})
		}
	}
	if err := group.Wait(); err != nil {
		return nil, simulator.Stats{}, err
	}
	var stats simulator.Stats
	for _, res := range seen {
		stats = stats.Add(res.stats) // sums and maxima: the order does not matter
	}
	for i, p := range points {
		out[i] = p
		out[i].Runs = nil
		for j, res := range results[i] {
			run := res.run
			run.Seed = p.Runs[j].Seed
			out[i].Runs = append(out[i].Runs, run)
		}
	}
	return out, stats, nil
}

// Points simulates every run of the points, as many at once as there are
// cores. A run that cannot be simulated is crashed, with its reason; the error
// is that of ctx alone. progress may be nil.
func (s embeddedRuns) Points(ctx context.Context, points []trace.Point, progress func(done, total float64, note string)) ([]trace.Point, simulator.Stats, error) {
	return eachRun(ctx, points, runtime.GOMAXPROCS(0), s.run, progress)
}

// run simulates one run.
func (s embeddedRuns) run(ctx context.Context, reqs []trace.Request, alone bool) (trace.Run, simulator.Stats, error) {
	simulate := simulator.Run
	if alone {
		simulate = simulator.RunAlone
	}
	run := trace.Run{Requests: reqs, State: trace.OK}
	rows, stats, err := simulate(ctx, reqs, s.Config, s.Model)
	switch {
	case ctx.Err() != nil:
		return run, stats, ctx.Err()
	case err != nil:
		run.State, run.Reason = trace.Crashed, err.Error()
		return run, simulator.Stats{}, nil
	}
	run.Rows, run.Window = rows, stats.End
	return run, stats, nil
}

// runKey is equal for runs that a simulator cannot tell apart.
type runKey [sha256.Size]byte

func sameRequests(reqs []trace.Request, alone bool) runKey {
	h := sha256.New()
	var b [25]byte
	if alone {
		b[24] = 1
	}
	for _, r := range reqs {
		binary.LittleEndian.PutUint64(b[:], uint64(r.Due))
		binary.LittleEndian.PutUint64(b[8:], uint64(r.Prompt))
		binary.LittleEndian.PutUint64(b[16:], uint64(r.Output))
		h.Write(b[:])
		if c := r.Content; c != nil {
			_ = binary.Write(h, binary.LittleEndian, []uint64{uint64(len(c.IDs)), uint64(c.Tokens)})
			_ = binary.Write(h, binary.LittleEndian, c.IDs)
		}
	}
	return runKey(h.Sum(nil))
}
