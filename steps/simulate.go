package steps

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"calrun/internal/compare"
	"calrun/internal/engine"
	"calrun/internal/process"
	"calrun/internal/simulator"
	"calrun/internal/trace"
	"calrun/internal/vidur"
	"calrun/pipeline"
)

// simulateKind runs the very requests that the engine was given through a
// simulator.
var simulateKind = pipeline.Kind{
	Name: "simulate", Doc: "Simulate the requests of a workload.", Version: 4, Repeat: pipeline.Exact,
	New: func() pipeline.Step { return &Simulate{Simulator: embedded} }, Result: SimulateResult{},
}

// embedded names the simulator that calrun brings along.
const embedded = "embedded"

// Simulate runs every point of a workload through a simulator. It sees what
// was asked, never a latency.
type Simulate struct {
	Workload   pipeline.Artefact `yaml:"workload" artefact:"workload" required:"true" doc:"what was asked of the engine, and the engine's own facts"`
	Profiles   pipeline.Artefact `yaml:"profiles" artefact:"profiles" doc:"what the engine's steps cost: operator profiles or a step-time profile; needed unless simulator is exec"`
	Simulator  string            `yaml:"simulator" enum:"embedded,vidur,exec" default:"embedded" doc:"which simulator: embedded, vidur for the real one, or exec for any other program"`
	Vidur      VidurPlace        `yaml:"vidur" doc:"which Vidur, where simulator is vidur"`
	Exec       ForeignSimulator  `yaml:"exec" doc:"which program, where simulator is exec"`
	Deployment Deployment        `yaml:"deployment" doc:"what was deployed; gives what the engine does not state"`
	Params     Params            `yaml:"params" doc:"parameters of the simulator; they go before what the engine states"`

	root string // the plan's folder
}

// SimulateResult is what the simulator said.
type SimulateResult struct {
	Simulation  pipeline.Artefact       `json:"simulation" artefact:"simulation" doc:"every request of every point with its simulated times"`
	Params      Params                  `json:"params" doc:"the parameters that took effect, defaults included"`
	Simulator   string                  `json:"simulator" doc:"the simulator: the digest of the embedded one's sources, which Vidur by dialect and version, or which program by command and digest"`
	Outside     *float64                `json:"outside,omitempty" doc:"share of steps outside the profile, in [0,1]; absent if the simulator does not say (vidur, exec)"`
	Steps       int                     `json:"steps" doc:"engine steps simulated; this and the next four are 0 where the simulator does not say (exec)"`
	Preemptions int                     `json:"preemptions" doc:"times that a sequence gave up its KV blocks"`
	Refused     int                     `json:"refused" doc:"requests that could never run in this configuration"`
	PeakBlocks  int                     `json:"peak_blocks" doc:"most KV blocks held at once"`
	PeakSeqs    int                     `json:"peak_sequences" doc:"most sequences in one step"`
	Cached      int                     `json:"cached_tokens,omitempty" doc:"prompt tokens found in the prefix cache; absent where none was"`
	States      map[string]string       `json:"states" doc:"each point's state: ok, overloaded or crashed; the worst over its seeds"`
	Reasons     map[string]string       `json:"reasons" doc:"why a point is not ok"`
	Predictor   map[string]vidur.Misfit `json:"predictor,omitempty" doc:"of vidur: how far its forests are from the profile's own rows, by operator. It prices steps by the forests, so an error may be theirs, and no remedy of the profile takes it away. Every row counts once, however often a step was priced by it"`
	Doubts      []string                `json:"doubts" doc:"what had to be assumed, because nobody states it"`
}

// simulationFile is simulation.json, beside the points.
type simulationFile struct {
	Simulator string   `json:"simulator"`
	Version   string   `json:"version"` // digest of the embedded simulator's sources, or which Vidur
	Params    Params   `json:"params"`
	Outside   *float64 `json:"outside,omitempty"`
}

// Identity implements [pipeline.Identifier]: the sources of the embedded
// simulator, which Vidur it is and the sources of its adapter, or the user's
// program.
func (s *Simulate) Identity(ctx context.Context) (map[string]string, error) {
	switch s.Simulator {
	case realVidur:
		return s.Vidur.identity(ctx)
	case ownProgram:
		return s.program().identity()
	}
	return map[string]string{"simulator": s.Simulator + " " + simulator.Digest()}, nil
}

// Outside implements [pipeline.Outsider]: Vidur is installed, not brought
// along, and a program of the user's may be another on another machine.
func (s *Simulate) Outside() bool { return s.Simulator != embedded }

// Root takes the folder in which a program of the user's runs.
func (s *Simulate) Root(dir string) { s.root = dir }

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
	ps := s.checkForeign(in)
	if s.Simulator == realVidur {
		ps = append(ps, s.checkVidur(in)...)
	}
	cap, chunk := s.Params.BatchSizeCap, s.Params.ChunkSize
	if cap == nil || chunk == nil || *cap <= *chunk || in.Dynamic("params") {
		return ps
	}
	return append(ps, pipeline.FieldProblem{
		Field:   "params.chunk_size",
		Message: fmt.Sprintf("the token budget of a step is %d and its most sequences are %d; each needs one token", *chunk, *cap),
		Suggest: fmt.Sprintf("set chunk_size to %d or more, or batch_size_cap to %d or less", *cap, *chunk),
	})
}

// simulation is what a simulator yields for a step.
type simulation struct {
	points  []trace.Point
	stats   simulator.Stats
	params  Params   // that took effect
	outside *float64 // share of steps outside the profile; nil if the simulator does not say
	version string   // the simulator by name and version
	doubts  []string
	misfits map[string]vidur.Misfit // of Vidur's forests
}

// Run simulates.
func (s *Simulate) Run(ctx context.Context, rt *pipeline.Runtime) (any, error) {
	ctx = process.WithLease(ctx, rt.Lease())
	points, err := trace.ReadPoints(s.Workload.Path)
	if err != nil {
		return nil, fmt.Errorf("simulate: the workload: %w", err)
	}
	facts, err := readFacts(s.Workload.Path)
	if err != nil {
		return nil, fmt.Errorf("simulate: %w", err)
	}
	simulate := s.embedded
	switch s.Simulator {
	case realVidur:
		simulate = s.vidur
	case ownProgram:
		simulate = s.foreign
	}
	sim, err := simulate(ctx, rt, points, facts)
	if err != nil {
		return nil, fmt.Errorf("simulate: %w", err)
	}
	res := &SimulateResult{
		Simulator: sim.version, Params: sim.params, Outside: sim.outside,
		Steps: sim.stats.Steps, Preemptions: sim.stats.Preemptions, Refused: sim.stats.Refused,
		PeakBlocks: sim.stats.PeakBlocks, PeakSeqs: sim.stats.PeakSeqs, Cached: sim.stats.Cached,
		Predictor: sim.misfits,
		Doubts:    append([]string{}, sim.doubts...), // none is an empty list, not null
	}
	markGrowing(sim.points)
	res.States, res.Reasons = judgeRuns(sim.points)
	for _, d := range res.Doubts {
		rt.Log().Warn().Msg(d)
	}
	res.Simulation, err = s.write(filepath.Join(rt.Dir(), "simulation"), sim.points, res)
	return res, err
}

// embedded simulates with the embedded simulator.
func (s *Simulate) embedded(ctx context.Context, rt *pipeline.Runtime, points []trace.Point, facts engine.Facts) (*simulation, error) {
	set, err := settle(s.Params, facts, s.Deployment)
	if err != nil {
		return nil, err
	}
	prof, err := openProfile(s.Profiles.Path, s.Deployment)
	if err != nil {
		return nil, fmt.Errorf("the profiles: %w", err)
	}
	sim, err := newEmbedded(prof, set)
	if err != nil {
		return nil, fmt.Errorf("the profiles: %w", err)
	}
	out, stats, err := sim.Points(ctx, points, rt.Progress)
	if err != nil {
		return nil, err
	}
	share := stats.OutsideShare()
	return &simulation{out, stats, set.Params, &share, simulator.Digest(), set.Doubts, nil}, nil
}

func (s *Simulate) write(dir string, points []trace.Point, res *SimulateResult) (pipeline.Artefact, error) {
	a := pipeline.Artefact{Of: "simulation", Path: dir}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return a, fmt.Errorf("simulate: write: %w", err)
	}
	if err := trace.WritePoints(dir, points); err != nil {
		return a, fmt.Errorf("simulate: %w", err)
	}
	if err := writeJSON(filepath.Join(dir, "simulation.json"), simulationFile{s.Simulator, res.Simulator, res.Params, res.Outside}); err != nil {
		return a, fmt.Errorf("simulate: write: %w", err)
	}
	return a, nil
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
			if v := compare.StabilityOf(one); r.State == trace.OK && !v.Stable {
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
	_ pipeline.Rooted     = (*Simulate)(nil)
)
