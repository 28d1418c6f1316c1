package pipeline

import (
	"context"
	"encoding/json"

	"calrun/pipeline/canonical"
	"calrun/pipeline/field"
	"calrun/pipeline/kind"
	"calrun/pipeline/plan"
)

// Forecast is what a run of a plan would do, as far as that can be known
// before it.
type Forecast struct {
	Plan    string          `json:"plan"`
	Steps   []StepForecast  `json:"steps"`             // steps and gates in the order of the graph, then remedies
	Routes  []RouteForecast `json:"routes"`            // in the order in which they are tried
	Rounds  int             `json:"rounds"`            // in the worst case
	Seconds float64         `json:"hardware_s"`        // of hardware time in the worst case, over the steps that can say
	Unknown []string        `json:"unknown,omitempty"` // measured steps that cannot say how long they take
	Missing []string        `json:"missing,omitempty"` // inputs without a value
}

// StepForecast is a step, gate or remedy in a [Forecast].
type StepForecast struct {
	Name    string   `json:"name"`
	Kind    string   `json:"kind"`
	Repeat  string   `json:"repeat,omitempty"`
	Remedy  bool     `json:"remedy,omitempty"`
	After   []string `json:"after"` // edges: what it waits for
	Action  Action   `json:"action"`
	Why     string   `json:"why"`
	From    string   `json:"from,omitempty"`       // the run whose result is reused
	Worst   int      `json:"worst_runs"`           // most runs over all rounds
	Seconds *float64 `json:"hardware_s,omitempty"` // of one run; nil if unknown or no hardware
	Cost    string   `json:"cost,omitempty"`       // what else one run takes at most, in words
	Locks   []string `json:"locks,omitempty"`      // host-wide, while it runs: the plan's, and the kind's own as far as the plan tells
}

// Action is what happens to a step in the first round.
type Action string

// The actions.
const (
	ActRun     Action = "run"
	ActReuse   Action = "reuse"
	ActUnknown Action = "unknown" // depends on what the run finds
	ActJudge   Action = "judge"   // a gate
	ActRouted  Action = "routed"  // a remedy: only when a route calls it
	ActBlock   Action = "block"   // a gate that it needs does not pass
)

// RouteForecast is a route in a [Forecast].
type RouteForecast struct {
	Gate    string   `json:"gate"`
	Index   int      `json:"index"`
	When    string   `json:"when"`
	Run     string   `json:"run,omitempty"`
	Sets    []string `json:"sets"` // "sim.params"
	Forgets []string `json:"forgets,omitempty"`
	Max     int      `json:"max"`
	Reruns  []string `json:"reruns"` // steps and gates of the next round that may change
}

// Preview says what a run of the plan would do in its first round: a step that
// is said to run runs, and one that is said to be reused is reused, as long as
// nothing changes between the two. It writes nothing. It asks exact steps for
// their identity, and measured ones, which means their engine, if a run is
// named from which they may be reused.
func Preview(ctx context.Context, plan *Plan, store *Store, opt RunOptions) (*Forecast, error) {
	f := &Forecast{Plan: plan.Name, Rounds: plan.WorstRounds()}
	for _, in := range plan.Inputs {
		if in.Value == nil {
			f.Missing = append(f.Missing, in.Name)
		}
	}
	p := &preview{plan: plan, store: store, from: opt.From, gates: map[string]*GateState{}, ends: map[string]Action{}, raw: map[string]json.RawMessage{}, env: Env{Steps: map[string]any{}, Inputs: plan.InputValues()}}
	for _, d := range plan.Order() {
		s := p.forecast(ctx, d)
		f.add(s, d)
	}
	for _, d := range plan.Remedies {
		s := p.base(d)
		s.Action, s.Why = ActRouted, "only when a route calls it"
		f.add(s, d)
	}
	for _, r := range plan.Routes() {
		f.Routes = append(f.Routes, routeForecast(plan, r))
	}
	return f, ctx.Err()
}

func (f *Forecast) add(s StepForecast, d *plan.Decl) {
	f.Steps = append(f.Steps, s)
	switch {
	case d.Kind == nil || s.Worst == 0:
	case s.Seconds != nil:
		f.Seconds += *s.Seconds * float64(s.Worst)
	case s.Repeat == Measured.String():
		f.Unknown = append(f.Unknown, d.Name)
	}
}

func routeForecast(p *Plan, r *Route) RouteForecast {
	out := RouteForecast{Gate: r.Gate, Index: r.Index, When: r.When.Source(), Run: r.Run, Max: r.Max}
	for _, o := range r.Set {
		out.Sets = append(out.Sets, o.Target())
	}
	if d := p.Decl(r.Run); d != nil {
		for _, o := range d.Sets {
			out.Sets = append(out.Sets, o.Target())
		}
		out.Forgets = d.Forget
	}
	out.Reruns = p.Descendants(r.Targets(p)...)
	return out
}

// preview walks the graph with what is known already.
type preview struct {
	plan  *Plan
	store *Store
	env   Env
	raw   map[string]json.RawMessage // results that will be reused
	past  results
	from  string                // the run whose measured results may be reused
	gates map[string]*GateState // that can be judged already
	ends  map[string]Action     // what becomes of each step
}

func (p *preview) base(d *plan.Decl) StepForecast {
	s := StepForecast{Name: d.Name, Kind: d.Uses, Remedy: d.Remedy, After: p.plan.After(d.Name), Worst: p.plan.WorstRuns(d.Name)}
	if d.Kind == nil {
		return s
	}
	s.Repeat = p.repeat(d).String()
	if sec, ok := estimate(p.plan, d); ok {
		s.Seconds = &sec
	}
	step, in := p.plan.Static(d.Name)
	s.Locks = kind.LocksOf(step, d.Locks)
	if c, can := step.(Costly); can {
		s.Cost = c.Cost(in)
	}
	return s
}

func (p *preview) repeat(d *plan.Decl) Repeat {
	step, _ := p.plan.Static(d.Name)
	return d.Kind.RepeatOf(step)
}

func (p *preview) forecast(ctx context.Context, d *plan.Decl) StepForecast {
	s := p.base(d)
	switch {
	case d.Gate != nil:
		s.Action, s.Why = ActJudge, "judges "+d.Gate.Of
		p.judge(ctx, d)
		if g := p.gates[d.Name]; g != nil && g.Error == "" {
			s.Why += ", whose result is known: " + string(g.Verdict)
		}
	case p.waits(&s):
	case p.repeat(d) == Measured && p.from == "":
		s.Action, s.Why = ActRun, "it measures: only --from reuses its result in another run"
	default:
		if p.find(ctx, d, &s); s.Action == ActReuse {
			s.Worst-- // a route may make it run in a later round all the same
		}
	}
	p.ends[d.Name] = s.Action
	return s
}

// waits says whether what the step waits for keeps it from being known, or
// from running.
func (p *preview) waits(s *StepForecast) bool {
	for _, name := range s.After {
		if up := p.ends[name]; up == ActBlock {
			s.Action, s.Why = ActBlock, name+" has no result"
			return true
		}
		if g := p.gates[name]; g != nil && g.Verdict != Pass {
			s.Action, s.Why = ActBlock, "gate "+name+" does not pass ("+string(g.Verdict)+")"
			return true
		}
	}
	for _, name := range s.After {
		switch up := p.plan.Decl(name); {
		case up.Gate != nil && p.gates[name] == nil:
			s.Action, s.Why = ActUnknown, "depends on the gate "+name
			return true
		case up.Gate == nil && p.env.Steps[name] == nil:
			s.Action, s.Why = ActUnknown, "depends on the result of "+name
			return true
		}
	}
	return false
}

// judge judges a gate over a result that will be reused: the run will come to
// the same verdict.
func (p *preview) judge(ctx context.Context, d *plan.Decl) {
	if p.ends[d.Gate.Of] == ActBlock {
		p.gates[d.Name] = &GateState{Name: d.Name, Blocked: true, Verdict: Inconclusive}
		return
	}
	if p.raw[d.Gate.Of] == nil {
		return
	}
	g := judgeGate(ctx, d, p.raw[d.Gate.Of], func(a Artefact) (string, error) { return p.store.Open(a.Digest) })
	if ctx.Err() == nil {
		p.gates[d.Name] = g
	}
}

// estimate asks a step how long it will keep the hardware busy.
func estimate(plan *Plan, d *plan.Decl) (seconds float64, ok bool) {
	step, in := plan.Static(d.Name)
	if e, can := step.(Estimator); can {
		return e.Estimate(in)
	}
	return 0, false
}

// find looks for a result with the key that the step would have.
func (p *preview) find(ctx context.Context, d *plan.Decl, s *StepForecast) {
	found, err := p.search(ctx, d)
	switch {
	case err != nil:
		s.Action, s.Why = ActUnknown, err.Error()
	case found == nil && p.repeat(d) == Measured:
		s.Action, s.Why = ActRun, "run "+p.from+" has no result with its key"
	case found == nil:
		s.Action, s.Why = ActRun, "no earlier run has a result with its key"
	default:
		s.Action, s.From, s.Why = ActReuse, found.run, "run "+found.run+" has a result with its key"
	}
}

func (p *preview) search(ctx context.Context, d *plan.Decl) (*resolution, error) {
	with, err := p.plan.Resolve(d, p.env, nil)
	if err != nil {
		return nil, err
	}
	if with, err = field.ImportPaths(d.Kind.New(), with, DigestPath); err != nil {
		return nil, err
	}
	step, err := d.Kind.Make(with, p.plan.Dir)
	if err != nil {
		return nil, err
	}
	identity, err := kind.Identify(ctx, step)
	if err != nil {
		return nil, err
	}
	made, err := d.Kind.Ingredients(with, identity, 0)
	if err != nil {
		return nil, err
	}
	key, err := made.Key()
	if err != nil {
		return nil, err
	}
	only := ""
	if d.Kind.RepeatOf(step) == Measured {
		only = p.from
	}
	found, err := p.past.byKey(p.store, "", only, key)
	if found == nil || err != nil {
		return nil, err
	}
	known := *found.value
	if err := p.store.load(&known); err != nil {
		return nil, err
	}
	result, err := canonical.DecodeFloats(known.JSON)
	p.env.Steps[d.Name], p.raw[d.Name] = result, known.JSON
	return found, err
}
