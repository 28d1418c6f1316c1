package steps

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"calrun/internal/compare"
	"calrun/internal/simulator"
	"calrun/internal/trace"
	"calrun/pipeline"
)

// simulateKind runs the very requests that the engine was given through a
// simulator.
var simulateKind = pipeline.Kind{
	Name: "simulate", Doc: "Simulate the requests of a workload.", Version: 2, Repeat: pipeline.Exact,
	New: func() pipeline.Step { return &Simulate{Simulator: embedded} }, Result: SimulateResult{},
}

// embedded names the simulator that calrun brings along.
const embedded = "embedded"

// Simulate runs every point of a workload through a simulator. It sees what
// was asked, never a latency.
type Simulate struct {
	Workload   pipeline.Artefact `yaml:"workload" artefact:"workload" required:"true" doc:"what was asked of the engine, and the engine's own facts"`
	Profiles   pipeline.Artefact `yaml:"profiles" artefact:"profiles" required:"true" doc:"what the engine's steps cost: operator profiles or a step-time profile"`
	Simulator  string            `yaml:"simulator" enum:"embedded" default:"embedded" doc:"which simulator"`
	Deployment Deployment        `yaml:"deployment" doc:"what was deployed; gives what the engine does not state"`
	Params     Params            `yaml:"params" doc:"parameters of the simulator; they go before what the engine states"`
}

// SimulateResult is what the simulator said.
type SimulateResult struct {
	Simulation  pipeline.Artefact `json:"simulation" artefact:"simulation" doc:"every request of every point with its simulated times"`
	Params      Params            `json:"params" doc:"the parameters that took effect, defaults included"`
	Outside     float64           `json:"outside" doc:"share of steps outside the profile, in [0,1]"`
	Steps       int               `json:"steps" doc:"engine steps simulated"`
	Preemptions int               `json:"preemptions" doc:"times that a sequence gave up its KV blocks"`
	Refused     int               `json:"refused" doc:"requests that could never run in this configuration"`
	PeakBlocks  int               `json:"peak_blocks" doc:"most KV blocks held at once"`
	PeakSeqs    int               `json:"peak_sequences" doc:"most sequences in one step"`
	States      map[string]string `json:"states" doc:"each point's state: ok, overloaded or crashed; the worst over its seeds"`
	Reasons     map[string]string `json:"reasons" doc:"why a point is not ok"`
	Doubts      []string          `json:"doubts" doc:"what had to be assumed, because nobody states it"`
}

// simulationFile is simulation.json, beside the points.
type simulationFile struct {
	Simulator string  `json:"simulator"`
	Version   string  `json:"version"` // digest of the simulator's sources
	Params    Params  `json:"params"`
	Outside   float64 `json:"outside"`
}

// Identity implements [pipeline.Identifier]: the sources of the simulator.
func (s *Simulate) Identity(context.Context) (map[string]string, error) {
	return map[string]string{"simulator": s.Simulator + " " + simulator.Digest()}, nil
}

// Names implements [pipeline.Namer]: a simulation has the points of its
// workload.
func (s *Simulate) Names(in pipeline.Static) map[string][]string {
	names := in.Names("workload")
	if names == nil {
		return nil
	}
	return map[string][]string{"simulation": names, "states": names}
}

// Check implements [pipeline.Checker].
func (s *Simulate) Check(in pipeline.Static) []pipeline.FieldProblem {
	cap, chunk := s.Params.BatchSizeCap, s.Params.ChunkSize
	if cap == nil || chunk == nil || *cap <= *chunk || in.Dynamic("params") {
		return nil
	}
	return []pipeline.FieldProblem{{
		Field:   "params.chunk_size",
		Message: fmt.Sprintf("the token budget of a step is %d and its most sequences are %d; each needs one token", *chunk, *cap),
		Suggest: fmt.Sprintf("set chunk_size to %d or more, or batch_size_cap to %d or less", *cap, *chunk),
	}}
}

// Run simulates.
func (s *Simulate) Run(ctx context.Context, rt *pipeline.Runtime) (any, error) {
	points, err := trace.ReadPoints(s.Workload.Path)
	if err != nil {
		return nil, fmt.Errorf("simulate: the workload: %w", err)
	}
	facts, err := readFacts(s.Workload.Path)
	if err != nil {
		return nil, fmt.Errorf("simulate: %w", err)
	}
	set, err := settle(s.Params, facts, s.Deployment)
	if err != nil {
		return nil, fmt.Errorf("simulate: %w", err)
	}
	prof, err := openProfile(s.Profiles.Path, s.Deployment)
	if err != nil {
		return nil, fmt.Errorf("simulate: the profiles: %w", err)
	}
	sim, err := newEmbedded(prof, set)
	if err != nil {
		return nil, fmt.Errorf("simulate: the profiles: %w", err)
	}
	out, stats, err := sim.Points(ctx, points, rt.Progress)
	if err != nil {
		return nil, fmt.Errorf("simulate: %w", err)
	}
	res := &SimulateResult{
		Params: set.Params, Outside: stats.OutsideShare(),
		Steps: stats.Steps, Preemptions: stats.Preemptions, Refused: stats.Refused,
		PeakBlocks: stats.PeakBlocks, PeakSeqs: stats.PeakSeqs,
		Doubts: append([]string{}, set.Doubts...), // none is an empty list, not null
	}
	markGrowing(out)
	res.States, res.Reasons = judgeRuns(out)
	for _, d := range res.Doubts {
		rt.Log().Warn().Msg(d)
	}
	res.Simulation, err = s.write(filepath.Join(rt.Dir(), "simulation"), out, res)
	return res, err
}

func (s *Simulate) write(dir string, points []trace.Point, res *SimulateResult) (pipeline.Artefact, error) {
	a := pipeline.Artefact{Of: "simulation", Path: dir}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return a, fmt.Errorf("simulate: write: %w", err)
	}
	if err := trace.WritePoints(dir, points); err != nil {
		return a, fmt.Errorf("simulate: %w", err)
	}
	data, err := json.MarshalIndent(simulationFile{s.Simulator, simulator.Digest(), res.Params, res.Outside}, "", "  ")
	if err != nil {
		return a, fmt.Errorf("simulate: write: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "simulation.json"), append(data, '\n'), 0o644); err != nil {
		return a, fmt.Errorf("simulate: write: %w", err)
	}
	return a, nil
}

// Points simulates every run of the points, as many at once as there are
// cores. Runs of the same requests (repeats of a replay) are simulated once.
// A run that cannot be simulated is crashed, with its reason; the error is
// that of ctx alone. progress may be nil.
func (s embeddedRuns) Points(ctx context.Context, points []trace.Point, progress func(done, total float64, note string)) ([]trace.Point, simulator.Stats, error) {
	type result struct {
		once  sync.Once
		run   trace.Run
		stats simulator.Stats
	}
	out := make([]trace.Point, len(points))
	seen := map[[sha256.Size]byte]*result{}
	results := make([][]*result, len(points))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
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
				res.once.Do(func() { res.run, res.stats, err = s.run(ctx, r.Requests, p.Alone()) })
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

// sameRequests is equal for runs that a simulator cannot tell apart.
func sameRequests(reqs []trace.Request, alone bool) (key [sha256.Size]byte) {
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
	}
	return [sha256.Size]byte(h.Sum(nil))
}

// markGrowing marks the runs of a sweep in which the simulated engine did not
// keep up, by the rule that comparisons have for measured ones. It is for
// people: a comparison decides on the measured side which points it judges.
func markGrowing(points []trace.Point) {
	for _, p := range points {
		if p.Group != trace.Sweep {
			continue
		}
		for j, r := range p.Runs {
			one := p
			one.Runs = []trace.Run{r}
			if v := compare.StabilityOf(one, 0); r.State == trace.OK && !v.Stable {
				p.Runs[j].State, p.Runs[j].Reason = trace.Overloaded, v.Reason
			}
		}
	}
}

// judgeRuns sums up each point by its worst run.
func judgeRuns(points []trace.Point) (states, reasons map[string]string) {
	rank := []trace.State{trace.OK, trace.Overloaded, trace.Skipped, trace.Crashed}
	states, reasons = map[string]string{}, map[string]string{}
	for _, p := range points {
		worst := trace.OK
		for _, r := range p.Runs {
			if slices.Index(rank, r.State) > slices.Index(rank, worst) {
				worst = r.State
				reasons[p.Name] = r.Reason
			}
		}
		states[p.Name] = string(worst)
	}
	return states, reasons
}

var (
	_ pipeline.Step       = (*Simulate)(nil)
	_ pipeline.Identifier = (*Simulate)(nil)
	_ pipeline.Namer      = (*Simulate)(nil)
	_ pipeline.Checker    = (*Simulate)(nil)
)
