package pipeline

import (
	"context"
	"encoding/json"

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
	Worst   int      `json:"worst_runs"`           // most runs over all rounds
	Seconds *float64 `json:"hardware_s,omitempty"` // of one run; nil if unknown or no hardware
	Locks   []string `json:"locks,omitempty"`
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

// Preview says what a run of the plan would do. It writes nothing; it may ask
// exact steps for their identity.
func Preview(ctx context.Context, plan *Plan, store *Store) (*Forecast, error) {
	f := &Forecast{Plan: plan.Name, Rounds: plan.WorstRounds()}
	for _, in := range plan.Inputs {
		if in.Value == nil {
			f.Missing = append(f.Missing, in.Name)
		}
	}
	p := &preview{plan: plan, store: store, env: Env{Steps: map[string]any{}, Inputs: plan.InputValues()}}
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
	case d.Kind == nil || s.Action == ActReuse:
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
	past  results
}

func (p *preview) base(d *plan.Decl) StepForecast {
	s := StepForecast{Name: d.Name, Kind: d.Uses, Remedy: d.Remedy, After: p.plan.After(d.Name), Locks: d.Locks, Worst: p.plan.WorstRuns(d.Name)}
	if d.Kind == nil {
		return s
	}
	s.Repeat = p.repeat(d).String()
	if sec, ok := estimate(p.plan, d); ok {
		s.Seconds = &sec
	}
	return s
}

func (p *preview) repeat(d *plan.Decl) Repeat {
	step, _ := p.plan.Static(d.Name)
	return d.Kind.RepeatOf(step)
}

func (p *preview) forecast(ctx context.Context, d *plan.Decl) StepForecast {
	s := p.base(d)
	if d.Gate != nil {
		s.Action, s.Why = ActJudge, "judges "+d.Gate.Of
		return s
	}
	if p.repeat(d) == Measured {
		s.Action, s.Why = ActRun, "it measures: only --from reuses its result in another run"
		return s
	}
	for _, name := range s.After {
		if up := p.plan.Decl(name); up.Gate == nil && p.env.Steps[name] == nil {
			s.Action, s.Why = ActUnknown, "depends on the result of "+name
			return s
		}
	}
	found, err := p.find(ctx, d)
	switch {
	case err != nil:
		s.Action, s.Why = ActUnknown, err.Error()
	case found == nil:
		s.Action, s.Why = ActRun, "no earlier run has a result with its key"
	default:
		s.Action, s.Why = ActReuse, "run "+found.run+" has a result with its key"
	}
	return s
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
func (p *preview) find(ctx context.Context, d *plan.Decl) (*resolution, error) {
	with, err := p.plan.Resolve(d, p.env, nil)
	if err != nil {
		return nil, err
	}
	if with, err = field.ImportPaths(d.Kind.New(), with, DigestPath); err != nil {
		return nil, err
	}
	step, err := d.Kind.Decode(with)
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
	found, err := p.past.byKey(p.store, "", "", key)
	if found == nil || err != nil {
		return nil, err
	}
	var result any
	err = json.Unmarshal(found.value.JSON, &result)
	p.env.Steps[d.Name] = result
	return found, err
}
