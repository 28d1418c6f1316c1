package steps

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"calrun/internal/engine"
	"calrun/internal/fit"
	"calrun/internal/process"
	"calrun/internal/trace"
	"calrun/pipeline"
	"calrun/pipeline/suggest"
)

var tuneKind = pipeline.Kind{
	Name: "tune", Doc: "Fit declared parameters of the simulator to some measured points; the others stay held out.",
	Version: 3, Repeat: pipeline.Seeded,
	New: func() pipeline.Step { return &Tune{Simulator: embedded, Seed: 1} }, Result: TuneResult{},
}

// Tune turns declared knobs of the simulator until it agrees with the measured
// points named in fit_on. Where nothing beats the start, the start is its
// result, unchanged.
type Tune struct {
	Measured   pipeline.Artefact    `yaml:"measured" artefact:"measurement" required:"true" doc:"measurement to fit to"`
	Profiles   pipeline.Artefact    `yaml:"profiles" artefact:"profiles" required:"true" doc:"profiles that the simulator reads"`
	Start      Params               `yaml:"start" doc:"parameters to start from: the effective ones of simulate"`
	FitOn      []string             `yaml:"fit_on" required:"true" doc:"points to fit on, as rps-2; probes means all probes. Other points stay held out"`
	Knobs      map[string]KnobRange `yaml:"knobs" required:"true" doc:"parameters to turn and how far: name: [lo, hi]"`
	Deployment Deployment           `yaml:"deployment" doc:"what was deployed"`
	Simulator  string               `yaml:"simulator" enum:"embedded,vidur" default:"embedded" doc:"the simulator to tune: embedded, or vidur for the real one"`
	Vidur      VidurPlace           `yaml:"vidur" doc:"which Vidur, where simulator is vidur"`
	Budget     int                  `yaml:"budget" min:"0" doc:"most simulations of all the points; 0 is 60 for each knob and 20 besides, of Vidur 3 for each knob and 4 besides"`
	Seed       int                  `yaml:"seed" default:"1" min:"0" doc:"moves the grid of starting places"`
}

// Outside implements [pipeline.Outsider]: Vidur is installed, not brought along.
func (s *Tune) Outside() bool { return s.Simulator == realVidur }

// Identity implements [pipeline.Identifier]: the sources of the simulator and
// of the fit.
func (s *Tune) Identity(ctx context.Context) (map[string]string, error) {
	return whatIfIdentity(ctx, s.Simulator, s.Vidur)
}

// Check implements [pipeline.Checker]: points and knobs must exist, and
// something should stay held out.
func (s *Tune) Check(in pipeline.Static) []pipeline.FieldProblem {
	ps := s.checkPoints(in)
	if in.Dynamic("knobs") {
		return ps
	}
	if len(s.Knobs) == 0 {
		ps = append(ps, pipeline.FieldProblem{Field: "knobs", Message: "there is no knob to turn", Suggest: "knobs: " + strings.Join(knobNames(), ", ")})
	}
	for _, name := range slices.Sorted(maps.Keys(s.Knobs)) {
		field := "knobs." + name
		k, ok := lookupKnob(name)
		if !ok {
			ps = append(ps, pipeline.FieldProblem{Field: field, Message: fmt.Sprintf("the simulator has no parameter %q", name), Suggest: suggest.DidYouMeanOr(name, knobNames(), "knobs")})
			continue
		}
		if in.Dynamic(field) {
			continue
		}
		if err := k.check(s.Knobs[name]); err != nil {
			ps = append(ps, pipeline.FieldProblem{Field: field, Message: err.Error()})
		}
		if s.Simulator == realVidur {
			ps = append(ps, k.strange(field)...)
		}
	}
	return ps
}

// Cost implements [pipeline.Costly]: each simulation by Vidur takes seconds,
// and training before it half a minute where a knob changes what a step costs.
func (s *Tune) Cost(in pipeline.Static) string {
	if s.Simulator != realVidur {
		return ""
	}
	for _, field := range []string{"simulator", "fit_on", "knobs", "budget"} {
		if in.Dynamic(field) {
			return "simulations by Vidur, how many is known when it runs"
		}
	}
	var points []string
	for _, name := range s.FitOn {
		points = append(points, resolve(name, in.Names("measured"))...)
	}
	of := strings.Join(s.FitOn, ", ")
	if len(points) > 0 {
		of = fmt.Sprintf("%d of its points (%s)", len(points), of)
	}
	return fmt.Sprintf("at most %d simulations by Vidur, each of %s in every seed", s.vidurs(len(s.Knobs)), of)
}

// vidurs is the most simulations by Vidur for so many knobs.
func (s *Tune) vidurs(knobs int) int {
	if s.Budget > 0 {
		return s.Budget
	}
	return 4 + 3*knobs
}

func (s *Tune) checkPoints(in pipeline.Static) []pipeline.FieldProblem {
	if in.Dynamic("fit_on") {
		return nil
	}
	if len(s.FitOn) == 0 {
		return []pipeline.FieldProblem{{Field: "fit_on", Message: "there is no point to fit on", Suggest: "name a few, as [probes, rps-2]; the others stay held out"}}
	}
	known := in.Names("measured")
	if known == nil {
		return nil
	}
	var ps []pipeline.FieldProblem
	for i, name := range s.FitOn {
		if in.Dynamic(fmt.Sprintf("fit_on[%d]", i)) || len(resolve(name, known)) > 0 {
			continue
		}
		message := fmt.Sprintf("the measurement has no point %q", name)
		if name == allProbes {
			message = "the measurement has no probes"
		}
		ps = append(ps, pipeline.FieldProblem{
			Field: fmt.Sprintf("fit_on[%d]", i), Message: message,
			Suggest: suggest.DidYouMeanOr(name, append(slices.Clone(known), allProbes), "points"),
		})
	}
	held := slices.ContainsFunc(known, func(name string) bool {
		return !isProbe(name) && !slices.ContainsFunc(s.FitOn, func(f string) bool { return f == name })
	})
	if len(ps) == 0 && !held {
		ps = append(ps, pipeline.FieldProblem{
			Field: "fit_on", Warning: true, Message: "every point but probes is fitted on, so that nothing is held out and no gate can pass afterwards",
			Suggest: "leave a rate out",
		})
	}
	return ps
}

// allProbes stands for all points that are probes.
const allProbes = "probes"

func isProbe(name string) bool { return strings.HasPrefix(name, "probe-") }

// resolve is the points that a name in fit_on means.
func resolve(name string, known []string) []string {
	var points []string
	for _, k := range known {
		if k == name || name == allProbes && isProbe(k) {
			points = append(points, k)
		}
	}
	return points
}

// Run implements [pipeline.Step].
func (s *Tune) Run(ctx context.Context, rt *pipeline.Runtime) (any, error) {
	ctx = process.WithLease(ctx, rt.Lease())
	points, err := trace.ReadPoints(s.Measured.Path)
	if err != nil {
		return nil, fmt.Errorf("tune: %w", err)
	}
	facts, err := readFacts(s.Measured.Path)
	if err != nil {
		return nil, fmt.Errorf("tune: %w", err)
	}
	if s.Simulator == realVidur {
		v, err := openVidur(ctx, rt, s.Vidur, s.Profiles.Path, s.Deployment, facts)
		if err != nil {
			return nil, fmt.Errorf("tune: %w", err)
		}
		most := longest(points)
		return s.tune(ctx, rt, points, facts, tuned{sim: v.near(most), slow: v.whatIf(most)})
	}
	sim, err := openWhatIf(s.Simulator, s.Profiles.Path, s.Deployment, facts)
	if err != nil {
		return nil, fmt.Errorf("tune: %w", err)
	}
	return s.tune(ctx, rt, points, facts, tuned{sim: sim})
}

// tuned is the simulator that is tuned.
type tuned struct {
	sim  whatIf // asked hundreds of times
	slow whatIf // the one that is meant, where sim is but like it; else nil
}

// tune is Run once everything is read.
func (s *Tune) tune(ctx context.Context, rt *pipeline.Runtime, measured []trace.Point, facts engine.Facts, by tuned) (*TuneResult, error) {
	on, err := s.points(measured)
	if err != nil {
		return nil, fmt.Errorf("tune: %w", err)
	}
	on, overloaded := markOverloaded(on, unstable)
	r := &TuneResult{
		Params: s.Start, FittedOn: slices.Clone(s.Start.FittedOn), Knobs: []TunedKnob{}, Pinned: []PinnedKnob{},
		AtBound: []string{}, Idle: []string{}, Residuals: []TuneResidual{}, Notes: []string{},
	}
	if len(overloaded) > 0 {
		r.Notes = append(r.Notes, "the engine did not keep up at "+strings.Join(overloaded, ", ")+": only the time per token was fitted there")
	}
	turn, err := s.turnable(facts, r)
	if err != nil {
		return nil, fmt.Errorf("tune: %w", err)
	}
	if len(turn) == 0 {
		r.Notes = append(r.Notes, "every knob is pinned to what the engine states; write free: true to turn one all the same")
		return r, nil
	}
	problem := fit.Problem{Measured: on, Knobs: turn, ProbeWeight: probesWeigh, Tolerance: held}
	f, besides, err := s.calibrate(ctx, rt, problem, by)
	if err != nil {
		return nil, fmt.Errorf("tune: %w", err)
	}
	if err := s.report(r, f, on); err != nil {
		return nil, fmt.Errorf("tune: %w", err)
	}
	advice, err := s.advise(ctx, problem, f, besides)
	if err != nil {
		return nil, fmt.Errorf("tune: %w", err)
	}
	r.Notes = append(r.Notes, advice...)
	rt.Log().Info().Bool("improved", r.Improved).Float64("loss_before", r.LossBefore).Float64("loss_after", r.LossAfter).
		Int("simulations", r.Simulated).Msg("tuned: " + f.Values.String())
	return r, nil
}

// calibrate fits the problem's knobs. What it fitted by answers for other points
// besides.
func (s *Tune) calibrate(ctx context.Context, rt *pipeline.Runtime, problem fit.Problem, by tuned) (*fit.Fit, elsewhere, error) {
	options := fit.Options{Budget: s.Budget, Seed: uint64(s.Seed)}
	if by.slow != nil {
		budget := s.vidurs(len(problem.Knobs))
		c := &slowly{
			problem: problem, slow: by.slow, budget: budget,
			twin: &twin{start: s.Start, knobs: problem.Knobs, near: by.sim},
			told: func(done int, values fit.Params) {
				rt.Progress(float64(done), float64(budget), "simulating with "+values.String())
			},
		}
		options.Budget = 0 // of the twin
		f, err := c.calibrate(ctx, options)
		return f, c.twin.elsewhere, err
	}
	ask := func(ctx context.Context, points []trace.Point, values fit.Params) ([]trace.Point, error) {
		p, err := over(s.Start, values)
		if err != nil {
			return nil, err
		}
		return by.sim(ctx, points, p)
	}
	done := 0
	problem.Simulate = func(ctx context.Context, values fit.Params) ([]trace.Point, error) {
		done++
		rt.Progress(float64(done), 0, "simulated with "+values.String())
		return ask(ctx, problem.Measured, values)
	}
	f, err := fit.Calibrate(ctx, problem, options)
	return f, func(ctx context.Context, x proposal, values fit.Params) ([]trace.Point, error) {
		return ask(ctx, []trace.Point{x.point}, values)
	}, err
}

// probesWeigh is the weight of all probes beside 1 for a rate: what is tuned for is a busy engine.
const probesWeigh = 0.25

// held is the error of a fitted median or mean, as |ln(simulated/measured)|,
// up to which it counts as right: one that is right before must be right after.
const held = 0.05

// points are the measured points that fit_on names, in their order.
func (s *Tune) points(measured []trace.Point) ([]trace.Point, error) {
	known := make([]string, len(measured))
	for i, p := range measured {
		known[i] = p.Name
	}
	var chosen []string
	for _, name := range s.FitOn {
		found := resolve(name, known)
		if len(found) == 0 {
			return nil, fmt.Errorf("fit_on: the measurement has no point %q; %s", name, suggest.DidYouMeanOr(name, append(known, allProbes), "points"))
		}
		chosen = append(chosen, found...)
	}
	var on []trace.Point
	for _, p := range measured {
		if slices.Contains(chosen, p.Name) {
			on = append(on, p)
		}
	}
	if len(on) == 0 {
		return nil, fmt.Errorf("fit_on names no point; the measurement has %s", strings.Join(known, ", "))
	}
	return on, nil
}

// turnable are the knobs to turn, sorted by name; those that the engine states
// and nobody freed go to the result's pinned list.
func (s *Tune) turnable(facts engine.Facts, r *TuneResult) ([]fit.Knob, error) {
	var turn []fit.Knob
	for _, name := range slices.Sorted(maps.Keys(s.Knobs)) {
		k, ok := lookupKnob(name)
		if !ok {
			return nil, fmt.Errorf("knobs: the simulator has no parameter %q; %s", name, suggest.DidYouMeanOr(name, knobNames(), "knobs"))
		}
		bounds := s.Knobs[name]
		if err := k.check(bounds); err != nil {
			return nil, fmt.Errorf("knobs: %w", err)
		}
		start, set := k.of(s.Start)
		if v := engineStates(name, facts); v != nil && !bounds.Free {
			pinned := PinnedKnob{Name: name, Engine: float64(*v)}
			if set {
				pinned.Start = &start
			}
			r.Pinned = append(r.Pinned, pinned)
			if set && start != float64(*v) {
				r.Notes = append(r.Notes, fmt.Sprintf("%s is pinned at %g, but the engine states %d: set it in simulate before anything is tuned", name, start, *v))
			}
			continue
		}
		if !set {
			start = k.idleValue(bounds.Hi)
		}
		turn = append(turn, k.turn(bounds, start))
	}
	return turn, nil
}

var (
	_ pipeline.Step       = (*Tune)(nil)
	_ pipeline.Identifier = (*Tune)(nil)
	_ pipeline.Checker    = (*Tune)(nil)
	_ pipeline.Costly     = (*Tune)(nil)
)
