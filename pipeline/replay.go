package pipeline

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"calrun/pipeline/field"
	"calrun/pipeline/kind"
	"calrun/pipeline/lock"
	"calrun/pipeline/plan"
	"calrun/pipeline/state"
	"calrun/pipeline/store"
)

// Finding is what a [Check] came to.
type Finding string

// The findings.
const (
	Same      Finding = "same"       // found again, byte for byte
	Recorded  Finding = "recorded"   // not made again; its digest was checked
	NotRerun  Finding = "not re-run" // cannot be made again here; its digest was checked
	Different Finding = "different"
	Stale     Finding = "STALE" // the engine is another one than the accepted run's
	Alike     Finding = "equivalent"
	Undecided Finding = "inconclusive" // whether an engine is still the same, or a new measurement equivalent
)

// Check is one thing that a reproduction looked at.
type Check struct {
	What    string       `json:"what"` // lock, plan, a file, "round 1 sim", report
	Finding Finding      `json:"finding"`
	Note    string       `json:"note,omitempty"`
	First   *Difference  `json:"first,omitempty"` // the first differing field
	Fields  int          `json:"fields,omitempty"`
	Changed []Difference `json:"changed,omitempty"` // of a plan: all of its fields that differ
	Cells   any          `json:"cells,omitempty"`   // of a measurement that was made again: what the finding rests on
}

// replay goes through a recorded run once more. It asks no route and no
// engine: what was decided and measured is taken from the journal.
type replay struct {
	engine   *engine
	recorded *Past
	now      *Past // the same run with what this replay found
	over     map[int]state.Overrides
	known    map[string]json.RawMessage // step and key → result of this replay
	changed  map[string]bool            // steps whose result differs
	tell     func(Check)
	ask      bool    // measured steps whether their engine is still the same
	measure  bool    // again, and judge by the margin
	margin   float64 // see [ReproduceOptions]
}

// newReplay makes ready to go through the run that lies in a scratch store.
// dir is where the plan's commands run.
func newReplay(r *Runner, id, dir string, tell func(Check)) (*replay, error) {
	recorded, err := r.Store.ReadRun(id)
	if err != nil {
		return nil, err
	}
	now, err := r.Store.ReadRun(id)
	if err != nil {
		return nil, err
	}
	p, err := recordedPlan(recorded, r.Kinds, recorded.Given())
	if err != nil {
		return nil, err
	}
	p.Dir = dir
	e, err := r.engine(p, nil, now.State)
	if err != nil {
		return nil, err
	}
	rp := &replay{
		engine: e, recorded: recorded, now: now, tell: tell,
		over: map[int]state.Overrides{}, known: map[string]json.RawMessage{}, changed: map[string]bool{},
	}
	for _, ev := range recorded.Events {
		if ev.Type == state.EventProgress {
			rp.over[ev.Round+1] = ev.Over
		}
	}
	return rp, nil
}

// run replays round by round, in the order of the graph.
func (rp *replay) run(ctx context.Context) error {
	defer rp.engine.leases.Close()
	for i, r := range rp.recorded.State.Rounds {
		now := rp.now.State.Rounds[i]
		if rp.over[r.N] == nil {
			rp.over[r.N] = rp.over[r.N-1]
		}
		for _, d := range rp.engine.plan.Order() {
			if err := ctx.Err(); err != nil {
				return context.Cause(ctx)
			}
			switch {
			case d.Gate != nil && r.Gates[d.Name] != nil:
				rp.judge(ctx, r, now, d)
			case d.Gate == nil && r.Steps[d.Name] != nil && r.Steps[d.Name].Result != nil:
				if err := rp.step(ctx, now, d, r.Steps[d.Name], now.Steps[d.Name]); err != nil {
					return err
				}
			}
		}
		routes := r.Routes()
		for k, t := range now.Routes() {
			if t.Remedy == nil || t.Remedy.Result == nil {
				continue
			}
			if err := rp.step(ctx, now, rp.engine.plan.Decl(t.Run), routes[k].Remedy, t.Remedy); err != nil {
				return err
			}
		}
	}
	rp.verdict()
	return nil
}

// verdict holds how the run closed against what its rounds, as the replay
// found them, come to.
func (rp *replay) verdict() {
	then, now := rp.recorded.State, *rp.now.State
	now.Closed = time.Time{}
	var closed *state.Closed
	for _, c := range state.Decide(rp.engine.plan, &now) {
		closed = c.Closed
	}
	rp.compare("verdict", asJSON(&state.Closed{Verdict: then.Verdict, Exit: then.Exit, Reasons: then.Reasons}), asJSON(closed), "")
}

// judge judges a gate over what the replay found.
func (rp *replay) judge(ctx context.Context, r, now *Round, d *plan.Decl) {
	j := &job{e: rp.engine, decl: d}
	if st := now.Steps[d.Gate.Of]; st != nil {
		j.step = *st
	}
	g := j.judge(ctx)
	now.Gates[d.Name] = g
	rp.compare(fmt.Sprintf("round %d gate %s", r.N, d.Name), asJSON(r.Gates[d.Name]), asJSON(g), "")
}

// compare tells whether two documents are the same.
func (rp *replay) compare(what string, old, now json.RawMessage, note string) bool {
	ds, err := Differences(old, now)
	c := Check{What: what, Finding: Same, Note: note, Fields: len(ds)}
	if err != nil {
		c.Finding, c.Note = Different, err.Error()
	} else if len(ds) > 0 {
		c.Finding, c.First = Different, rp.inside(ds[0])
	}
	rp.tell(c)
	return c.Finding == Same
}

// inside names the file where two artefacts begin to differ.
func (rp *replay) inside(d Difference) *Difference {
	var old, now string
	if json.Unmarshal([]byte(d.Old), &old) != nil || json.Unmarshal([]byte(d.New), &now) != nil {
		return &d
	}
	files, err := rp.engine.runner.Store.Diff(old, now)
	if err != nil {
		return &d
	}
	for _, f := range files {
		if f.Path != "" && f.Old != f.New {
			return &Difference{At: d.At + ": file " + f.Path, Old: cmp.Or(f.Old, "(absent)"), New: cmp.Or(f.New, "(absent)")}
		}
	}
	return &d
}

// step makes a result again, or takes the recorded one where that cannot be.
func (rp *replay) step(ctx context.Context, r *Round, d *plan.Decl, old, now *StepState) error {
	what := fmt.Sprintf("round %d %s", r.N, d.Name)
	memo := d.Name + " " + old.Key + " " + store.Digest(old.Result) // one key with two results is none that was reused
	if result, ok := rp.known[memo]; ok && !d.Remedy {
		now.Result = result
		return nil
	}
	defer func() { rp.known[memo] = now.Result }()
	if old.Repeat == Measured.String() {
		c := Check{What: what, Finding: Recorded, Note: "measured"}
		if rp.ask {
			rp.askAgain(ctx, &c, r, d, old)
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		rp.keep(c, old)
		return nil
	}
	result, why, err := rp.again(ctx, r, d, old)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, errNotHere):
		rp.keep(Check{What: what, Finding: NotRerun, Note: err.Error()}, old)
		return nil
	case err != nil:
		rp.tell(Check{What: what, Finding: Different, Note: "it worked then, and does not now: " + err.Error()})
		rp.changed[d.Name] = true
		return nil
	}
	now.Result = result
	if !rp.compare(what, old.Result, result, why) {
		rp.changed[d.Name] = true
	}
	return nil
}

// errNotHere says that a step cannot be run again on this machine.
var errNotHere = errors.New("its program is not here as it was")

// keep tells of a step whose recorded result stands, unless something of that
// is missing.
func (rp *replay) keep(c Check, old *StepState) {
	if err := rp.whole(old.Result); err != nil {
		c.Finding, c.Note = Different, err.Error()
	}
	rp.tell(c)
}

// whole says what is missing of a recorded result's artefacts. What is in the
// store has the digest of its name: that was checked when it was unpacked.
func (rp *replay) whole(result json.RawMessage) error {
	artefacts := digestSet{}
	artefacts.addIn(result)
	for _, digest := range artefacts.sorted() {
		if !rp.engine.runner.Store.Has(digest) {
			return fmt.Errorf("artefact %s is not in the pack", digest)
		}
	}
	return nil
}

// again runs a step as the journal says that it was run. why says what of it
// is not as it was then.
func (rp *replay) again(ctx context.Context, r *Round, d *plan.Decl, old *StepState) (result json.RawMessage, why string, err error) {
	e := rp.engine
	reads := e.plan.After(d.Name)
	env, err := environment(r, e.inputs, reads...)
	if err != nil {
		return nil, "", err
	}
	j := &job{e: e, decl: d, cmd: state.Command{Step: d.Name}, env: env, over: overFor(rp.over[r.N], d.Name)}
	with, err := rp.with(j, old)
	if err != nil {
		return nil, "", err
	}
	step, err := j.make(with)
	if err != nil {
		return nil, "", err
	}
	id, err := kind.Identify(ctx, step)
	switch {
	case outside(step) && err != nil:
		return nil, "", fmt.Errorf("%w: %w", errNotHere, err)
	case err != nil:
		return nil, "", err
	}
	for _, diff := range differences(old.ID, id) {
		if why = fmt.Sprintf("%s changed: %s → %s", diff.At, diff.Old, diff.New); outside(step) {
			return nil, "", fmt.Errorf("%w: %s", errNotHere, why)
		}
	}
	dir, err := os.MkdirTemp(e.dir, "again-*")
	if err != nil {
		return nil, why, err
	}
	parts := filepath.Join(dir, "parts")
	held := &lock.Held{}
	rt := kind.Lend(kind.Loan{
		Open: j.open, Dir: dir, Plan: e.plan.Name, Run: e.id, Step: d.Name, Parts: kind.NewParts(parts), Log: e.runner.Log,
		Mask: e.secrets.mask, Lease: &lock.Lease{In: &e.leases, Mark: dir, Held: held},
	})
	if err := j.lock(ctx, rt, step, held); err != nil {
		return nil, why, err
	}
	defer held.Release()
	out, err := j.runStep(ctx, step, rt)
	if err != nil {
		return nil, why, err
	}
	if result, err = e.runner.Store.takeResult(out, dir, parts); err != nil {
		return nil, why, err
	}
	result, err = e.secrets.result(result, &e.runner.Log)
	return result, why, err
}

// with resolves a step's fields. Where nothing above it changed they must be
// the recorded ones.
func (rp *replay) with(j *job, old *StepState) (json.RawMessage, error) {
	with, err := j.e.plan.Resolve(j.decl, j.env, j.over)
	if err != nil {
		return nil, err
	}
	with, err = field.ImportPaths(j.decl.Kind.New(), with, func(path string) (string, error) {
		digest := rp.recorded.State.Imported[path]
		if digest == "" {
			return "", fmt.Errorf("%s was not read in the run", path)
		}
		return digest, nil
	})
	if err != nil || len(rp.changed) > 0 {
		return with, err
	}
	ds, err := Differences(old.With, with)
	if err == nil && len(ds) > 0 {
		err = fmt.Errorf("its fields are not the recorded ones: with%s", ds[0])
	}
	return with, err
}
