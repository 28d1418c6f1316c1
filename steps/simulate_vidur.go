package steps

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"

	"calrun/internal/engine"
	"calrun/internal/profile"
	"calrun/internal/simulator"
	"calrun/internal/trace"
	"calrun/internal/vidur"
	"calrun/pipeline"
)

// realVidur names the real Vidur as a simulator.
const realVidur = "vidur"

// VidurPlace says where the real Vidur is.
type VidurPlace struct {
	Python string `yaml:"python" key:"-" doc:"interpreter that has Vidur; if it is not given, calrun installs one into the cache folder, once"`
}

// find says which Vidur it would be; install makes it ready to run.
func (p VidurPlace) find(ctx context.Context) (py vidur.Python, install func(ctx context.Context, rt *pipeline.Runtime) error, err error) {
	if p.Python != "" {
		py, err = vidur.Probe(ctx, p.Python)
		return py, func(context.Context, *pipeline.Runtime) error { return nil }, err
	}
	cache, err := vidur.CacheDir()
	if err != nil {
		return py, nil, err
	}
	m, err := vidur.FindManaged(ctx, cache)
	return m.Python, func(ctx context.Context, rt *pipeline.Runtime) (err error) {
		rt.Progress(0, 0, "looking for Vidur "+m.Python.Version+", and installing it where it is missing")
		log, err := os.Create(filepath.Join(rt.Dir(), "install.log"))
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, log.Close()) }()
		return m.Install(ctx, log)
	}, err
}

// identity is what a simulation depends on beside its fields.
func (p VidurPlace) identity(ctx context.Context) (map[string]string, error) {
	py, _, err := p.find(ctx)
	if err != nil {
		return nil, err
	}
	return map[string]string{"simulator": py.String(), "adapter": vidur.Digest()}, nil
}

// checkVidur says at load time what Vidur cannot take.
func (s *Simulate) checkVidur(in pipeline.Static) []pipeline.FieldProblem {
	var ps []pipeline.FieldProblem
	if !in.Dynamic("params") {
		ps = append(ps, strangeToVidur(s.Params)...)
	}
	if s.Deployment.PP > 1 && !in.Dynamic("deployment") {
		ps = append(ps, pipeline.FieldProblem{
			Field:   "deployment.pipeline_parallel",
			Message: fmt.Sprintf("%d pipeline stages; calrun gives Vidur profiles of one stage only", s.Deployment.PP),
			Suggest: "set pipeline_parallel to 1",
		})
	}
	return ps
}

// strangeToVidur names the parameters that Vidur has no place for.
func strangeToVidur(p Params) (ps []pipeline.FieldProblem) {
	for _, x := range []struct {
		set                     bool
		field, message, suggest string
	}{
		{orZero(p.PerSequence) != 0, "per_sequence_s", "a time per sequence: attention of several prefills is not a sum in its tables", "use cpu_overhead_s"},
		{p.Scheduler == simulator.V1.String(), "scheduler", "vLLM's own scheduler", "sarathi comes closest"},
		{p.LookAhead != nil && *p.LookAhead, "look_ahead", "look-ahead", "leave it out"},
		{p.Graphs != nil && *p.Graphs > 0, "cuda_graphs", "captured sizes", "leave it out"},
	} {
		if x.set {
			ps = append(ps, pipeline.FieldProblem{
				Field: "params." + x.field, Message: "Vidur has no place for " + x.message, Suggest: x.suggest + ", or simulator: embedded",
			})
		}
	}
	return ps
}

// vidur simulates with the real Vidur.
func (s *Simulate) vidur(ctx context.Context, rt *pipeline.Runtime, points []trace.Point, facts engine.Facts) (*simulation, error) {
	v, err := openVidur(ctx, rt, s.Vidur, s.Profiles.Path, s.Deployment, facts)
	if err != nil {
		return nil, err
	}
	return v.simulate(ctx, points, s.Params, longest(points), rt.Progress)
}

// vidurReady is a Vidur that is installed, with a profile that it can read and
// an engine to be like.
type vidurReady struct {
	rt         *pipeline.Runtime
	py         vidur.Python
	cache      string // of its predictors
	prof       *profile.Profile
	sheets     profile.Sheets
	facts      engine.Facts
	deployment Deployment

	install func(ctx context.Context, rt *pipeline.Runtime) error
}

func openVidur(ctx context.Context, rt *pipeline.Runtime, place VidurPlace, profiles string, d Deployment, facts engine.Facts) (*vidurReady, error) {
	prof, err := openProfile(profiles, d)
	if err != nil {
		return nil, fmt.Errorf("the profiles: %w", err)
	}
	v := &vidurReady{rt: rt, prof: prof, facts: facts, deployment: d}
	if v.sheets, err = prof.Sheets(); err != nil {
		return nil, fmt.Errorf("the profiles: %w; simulator: embedded reads it", err)
	}
	if v.py, v.install, err = place.find(ctx); err != nil {
		return nil, err
	}
	v.cache, err = vidur.CacheDir()
	return v, err
}

// plan decides Vidur's setup for parameters. most is the longest request that
// any simulation of this engine has: tables that reach to it serve them all.
func (v *vidurReady) plan(p Params, most int) (*vidurPlan, vidur.Setup, error) {
	set, err := decide(p, v.facts, v.deployment)
	if err != nil {
		return nil, vidur.Setup{}, err
	}
	plan := &vidurPlan{params: p, set: set, facts: v.facts, deployment: v.deployment, prof: v.prof}
	setup, err := plan.setup(v.py.Dialect, v.sheets.Node, most)
	return plan, setup, err
}

// simulate simulates points: each run is a process and a durable part, so that
// finished ones outlive a crash of any other. progress may be nil.
func (v *vidurReady) simulate(ctx context.Context, points []trace.Point, p Params, most int, progress func(done, total float64, note string)) (*simulation, error) {
	plan, setup, err := v.plan(p, most)
	if err != nil {
		return nil, err
	}
	if v.install != nil {
		if err := v.install(ctx, v.rt); err != nil {
			return nil, err
		}
		v.install = nil
	}
	if progress != nil {
		progress(0, 0, "training Vidur's predictors, where this profile is new")
	}
	sim, trained, err := v.py.Predict(ctx, v.cache, setup, vidur.Source{Sheets: v.sheets, Layers: v.prof.Dims.Layers})
	if err != nil {
		return nil, err
	}
	v.rt.Log().Info().Bool("trained", trained).Str("scheduler", string(setup.Scheduler)).Msg(v.py.String())
	runs := vidurRuns{rt: v.rt, sim: sim}
	// One run that the machine ends does not call off the others: what they
	// finish is kept, and the next attempt has less to do.
	own := func(_ context.Context, reqs []trace.Request, alone bool) (trace.Run, simulator.Stats, error) {
		return runs.run(ctx, reqs, alone)
	}
	got, stats, err := eachRun(ctx, points, min(runtime.GOMAXPROCS(0), vidursAtOnce), own, progress)
	if err != nil {
		return nil, err
	}
	misfits, err := sim.Misfits()
	if err != nil {
		return nil, err
	}
	return &simulation{got, stats, plan.set.Params, nil, v.py.String(), plan.set.Doubts, misfits}, nil
}

// whatIf asks Vidur itself.
func (v *vidurReady) whatIf(most int) whatIf {
	return func(ctx context.Context, points []trace.Point, p Params) ([]trace.Point, error) {
		out, err := v.simulate(ctx, points, p, most, nil)
		if err != nil {
			return nil, err
		}
		return out.points, nil
	}
}

// near is the embedded simulator, as like Vidur as it can be: its scheduler,
// its profile, the parameters that take effect there.
func (v *vidurReady) near(most int) whatIf {
	var sim embeddedRuns
	var scale profile.Scale
	return func(ctx context.Context, points []trace.Point, p Params) ([]trace.Point, error) {
		plan, _, err := v.plan(p, most)
		if err != nil {
			return nil, err
		}
		set, err := settle(plan.set.Params, v.facts, v.deployment)
		if err != nil {
			return nil, err
		}
		if sim.Model == nil || scale != set.Scale { // tables are costly to make
			if sim, err = newEmbedded(v.prof, set); err != nil {
				return nil, fmt.Errorf("the profiles: %w", err)
			}
			scale = set.Scale
		}
		out, _, err := embeddedRuns{Config: set.Config, Model: sim.Model}.Points(ctx, points, nil)
		return out, err
	}
}

// vidursAtOnce bounds the processes: each holds half a gigabyte.
const vidursAtOnce = 4

// vidurPlan is what decides Vidur's setup.
type vidurPlan struct {
	params     Params // as the plan has them
	set        settled
	facts      engine.Facts
	deployment Deployment
	prof       *profile.Profile
}

// setup translates into Vidur's terms. node is the folder of the network
// profile, longest the most tokens of one request.
func (p *vidurPlan) setup(d vidur.Dialect, node string, longest int) (vidur.Setup, error) {
	s, c := vidur.Defaults(), p.set.Config
	var err error
	models := []string{p.deployment.Model, p.facts.Model, p.prof.Identity.Model}
	if s.Model, err = firstKnown(d.Model, models...); err != nil {
		i := slices.IndexFunc(models, func(m string) bool { return m != "" })
		if i < 0 {
			return s, err
		}
		if err := s.Describe(models[i], p.prof.Dims); err != nil {
			return s, err
		}
	}
	device := func(gpu string) (string, error) {
		name, at, err := d.Device(gpu, node)
		s.Node = at
		return name, err
	}
	gpus := []string{p.deployment.GPU, p.facts.GPU, p.prof.Identity.GPU}
	if s.Device, err = firstKnown(device, gpus...); err != nil {
		i := slices.IndexFunc(gpus, func(g string) bool { _, ok := profile.KnownCard(g); return ok })
		if i < 0 {
			return s, err
		}
		card, _ := profile.KnownCard(gpus[i])
		s.DescribeCard(card)
	}
	if p.deployment.PP > 1 {
		return s, fmt.Errorf("%d pipeline stages; calrun gives Vidur profiles of one stage only", p.deployment.PP)
	}
	s.TP = max(1, p.prof.Identity.TP)
	if strange := strangeToVidur(p.params); len(strange) > 0 {
		return s, &strange[0]
	}
	if mark := p.params.Watermark; mark != nil {
		s.Watermark = *mark
	}
	if asked := p.params.Scheduler; asked != "" {
		s.Scheduler = vidur.Scheduler(asked)
	} else if p.facts.Chunked == nil {
		p.set.doubt("nobody states whether prefills are chunked; they are taken to be (scheduler %s)", vidur.Sarathi)
	} else if !*p.facts.Chunked {
		s.Scheduler = vidur.VLLM
	}
	if p.facts.PrefixCache != nil && *p.facts.PrefixCache {
		p.set.doubt("the engine caches prefixes and Vidur does not; the same only while no two prompts share one")
	}
	if p.facts.Async != nil && *p.facts.Async {
		p.set.doubt("the engine schedules one step ahead (async_scheduling) and Vidur does not")
	}
	p.set.Params.Scheduler, p.set.Params.Watermark = string(s.Scheduler), &s.Watermark
	s.MaxSeqs, s.MaxTokens, s.BlockSize, s.Blocks = c.MaxNumSeqs, c.MaxTokens, c.BlockSize, c.Blocks
	if share := p.facts.MemoryShare; share != nil {
		s.Margin = 1 - *share
	} else if p.deployment.MemoryShare > 0 {
		s.Margin = 1 - p.deployment.MemoryShare
	}
	s.Scale, s.FrontEnd = p.prof.Corrected(p.set.Scale), c.FrontEnd
	s.Reach(longest)
	if s.Blocks == 0 { // without bounds: as many as could ever be held at once
		most := s.MaxSeqs * ((s.Longest + s.BlockSize - 1) / s.BlockSize)
		s.Blocks = int(math.Ceil(float64(most)/(1-s.Watermark))) + 1
	}
	return s, s.Check()
}

// firstKnown tries the names that are given, and returns the first that is
// known, or the error of the first.
func firstKnown(lookup func(string) (string, error), names ...string) (string, error) {
	var first error
	for _, n := range names {
		if n == "" {
			continue
		}
		got, err := lookup(n)
		if err == nil {
			return got, nil
		}
		if first == nil {
			first = err
		}
	}
	if first == nil {
		_, first = lookup("")
	}
	return "", first
}

// vidurRuns simulates runs with a Vidur that is ready.
type vidurRuns struct {
	rt  *pipeline.Runtime
	sim *vidur.Simulator
}

// The content of a run's part, beside the files of the run itself.
const (
	vidurDir  = "vidur"      // what Vidur was given and said
	statsFile = "stats.json" // simulator.Stats
)

// run simulates one run, or takes it from an earlier attempt. A run that
// Vidur itself ended is crashed, with its log in the part; what the machine
// ended is an error, and tried again.
func (r vidurRuns) run(ctx context.Context, reqs []trace.Request, alone bool) (trace.Run, simulator.Stats, error) {
	dir, _, err := r.rt.Part(r.sim.Key(reqs, alone), func(dir string) error {
		return r.make(ctx, dir, reqs, alone)
	})
	if err != nil {
		return trace.Run{}, simulator.Stats{}, err
	}
	run, err := trace.ReadRun(dir)
	if err != nil {
		return run, simulator.Stats{}, err
	}
	run.Requests = reqs // to the ID
	var stats simulator.Stats
	if err := readJSON(filepath.Join(dir, statsFile), &stats); err != nil {
		return run, stats, fmt.Errorf("read a simulated run: %w", err)
	}
	if run.State == trace.Crashed {
		r.rt.Log().Warn().Str("log", filepath.Join(dir, vidurDir, vidur.LogFile)).Msg(run.Reason)
	}
	return run, stats, nil
}

func (r vidurRuns) make(ctx context.Context, dir string, reqs []trace.Request, alone bool) error {
	own := filepath.Join(dir, vidurDir)
	if err := os.Mkdir(own, 0o755); err != nil {
		return err
	}
	run := trace.Run{Requests: reqs, State: trace.OK}
	var stats simulator.Stats
	res, err := r.sim.Run(ctx, own, reqs, alone)
	var crash *vidur.Crash
	switch {
	case errors.As(err, &crash):
		run.State, run.Reason = trace.Crashed, crash.Reason
	case err != nil:
		return err
	default:
		run.Rows, run.Window = res.Rows, res.Stats.End
		stats = simulator.Stats{
			Steps: res.Stats.Steps, Preemptions: res.Stats.Preemptions,
			PeakBlocks: res.Stats.PeakBlocks, PeakSeqs: res.Stats.PeakSeqs, End: res.Stats.End,
		}
	}
	if err := trace.WriteRun(dir, run); err != nil {
		return err
	}
	return writeJSON(filepath.Join(dir, statsFile), stats)
}
