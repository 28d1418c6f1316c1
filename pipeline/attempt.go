package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"sync"

	"calrun/internal/failpoint"
	"calrun/pipeline/field"
	"calrun/pipeline/kind"
	"calrun/pipeline/lock"
	"calrun/pipeline/state"

	"github.com/rs/zerolog"
)

// start runs an attempt of a step: in a folder of its own, which gets the
// step's name when everything in it is durable.
func (j *job) start(ctx context.Context) []*Event {
	if err := sleep(ctx, j.jittered(j.cmd.Wait)); err != nil {
		return nil
	}
	rel := j.place() + attemptMark + strconv.Itoa(j.cmd.Attempt)
	if err := j.e.report(j.cmd, &Event{
		Type: state.EventStarted, Round: j.cmd.Round, Step: j.cmd.Step, Attempt: j.cmd.Attempt, Dir: rel,
	}); err != nil {
		return []*Event{j.stopped()}
	}
	failpoint.At("attempt.started")
	result, err := j.attempt(ctx, filepath.Join(j.e.dir, rel))
	switch {
	case cancelled(ctx, err):
		return []*Event{j.stopped()}
	case err != nil:
		return []*Event{j.failed(err)}
	}
	return []*Event{{
		Type: state.EventDone, Round: j.cmd.Round, Step: j.cmd.Step, Attempt: j.cmd.Attempt, Dir: j.place(), Result: result,
	}}
}

// attemptMark stands between a step's place and the number of an attempt that
// is not finished.
const attemptMark = ".attempt-"

// attempt runs the step and makes its result durable.
func (j *job) attempt(ctx context.Context, dir string) (*state.Value, error) {
	if err := emptyDir(dir); err != nil {
		return nil, err
	}
	log := &lazyFile{path: filepath.Join(dir, logFile)}
	defer log.Close()
	masked := j.e.secrets.mask.Writer(log)
	held := &lock.Held{}
	rt := j.runtime(dir, masked, held)
	step, err := j.make(j.step.With)
	if err != nil {
		return nil, as(state.ClassPlan, err)
	}
	if err := j.lock(ctx, rt, step, held); err != nil {
		return nil, err
	}
	defer held.Release()
	failpoint.At("attempt.run")
	out, err := j.runStep(ctx, step, rt)
	err = j.e.secrets.mask.Error(err)
	err = errors.Join(err, masked.Flush(), j.e.secrets.scrub(dir, rt.Log()))
	if err != nil {
		only := teeLog{file: log, user: zerolog.Nop(), lost: new(sync.Once)} // the user is told by the event
		end := zerolog.New(only).With().Timestamp().Logger()
		if cancelled(ctx, err) {
			end.Info().Err(err).Msg("stopped")
		} else {
			end.Error().Err(err).Msg("ended with an error")
		}
		return nil, err
	}
	failpoint.At("attempt.ran")
	doc, err := j.e.runner.Store.takeResult(out, dir, j.partsDir())
	if err == nil {
		doc, err = j.e.secrets.result(doc, rt.Log())
	}
	if err != nil {
		return nil, err
	}
	failpoint.At("attempt.stored")
	return j.commit(dir, doc)
}

// lock takes the step's host-wide locks, and says whom it waits for.
func (j *job) lock(ctx context.Context, rt *Runtime, step Step, held *lock.Held) error {
	taken, err := lock.Host(ctx, lock.Claim{
		Dir: j.e.runner.Locks, Names: kind.LocksOf(step, j.decl.Locks),
		By: lock.Holder{Plan: j.e.plan.Name, Run: j.e.id, Step: j.cmd.Step}, Wait: waits(rt),
	})
	if err == nil {
		*held = *taken
	}
	return err
}

// waits tells the user whom a step waits for.
func waits(rt *Runtime) func(name string, by lock.Holder) {
	return func(name string, by lock.Holder) {
		rt.Progress(0, 0, fmt.Sprintf("waiting for the lock %s, held by %s", name, by))
		rt.Log().Info().Str("lock", name).Stringer("by", by).Msg("waiting: another process holds the lock")
	}
}

// emptyDir makes a new folder, in place of an old one if there is one.
func emptyDir(dir string) error {
	err := os.Mkdir(dir, 0o755)
	if err != nil { // it is there, or the folder above it is not
		err = errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o755))
	}
	failpoint.At("attempt.made")
	return err
}

// runStep calls the step, under its timeout and without letting it panic.
func (j *job) runStep(ctx context.Context, step Step, rt *Runtime) (any, error) {
	if j.decl.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, j.decl.Timeout)
		defer cancel()
	}
	out, err := guard(ctx, step, rt)
	if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return nil, as(state.ClassTimeout, fmt.Errorf("it did not finish within its timeout of %s: %w", j.decl.Timeout, err))
	}
	return out, err
}

// guard turns a panic of a step into its error, with the stack in its log.
func guard(ctx context.Context, step Step, rt *Runtime) (out any, err error) {
	defer func() {
		if p := recover(); p != nil {
			rt.Log().Error().Interface("panic", p).Bytes("stack", debug.Stack()).Msg("the step panicked")
			out, err = nil, as(state.ClassPanic, fmt.Errorf("it panicked: %v; the stack is in its log", p))
		}
	}()
	return step.Run(ctx, rt)
}

// runtime is what the step is lent.
func (j *job) runtime(dir string, log io.Writer, held *lock.Held) *Runtime {
	e := j.e
	parts := kind.NewParts(j.partsDir())
	k := j.decl.Kind
	parts.Scope = k.Name + " " + strconv.Itoa(k.Version)
	if j.step.Repeat == Measured.String() && j.visit > 1 {
		parts.Scope += " visit " + strconv.Itoa(j.visit) // called again, a remedy measures again
	}
	for _, key := range j.step.Parts {
		parts.Know(key)
	}
	parts.Record = func(p kind.Part) error {
		return e.report(j.cmd, &Event{Type: state.EventPart, Round: j.cmd.Round, Step: j.cmd.Step, Part: &p})
	}
	switch {
	case j.step.Repeat != Measured.String():
		parts.Share = func(dir string) (string, error) { return e.runner.Store.Put(dir, true) }
		parts.Fetch = j.fetchPart
	case j.from != "":
		parts.Fetch = j.fetchMeasured
	}
	text := zerolog.New(teeLog{file: log, user: e.runner.Log, step: j.cmd.Step, lost: new(sync.Once)}).With().Timestamp().Logger()
	parts.Seal = func(dir string) error { return e.secrets.scrub(dir, &text) }
	return kind.Lend(kind.Loan{
		Open: j.open, Mask: e.secrets.mask,
		Lease: &lock.Lease{In: &e.leases, Mark: dir, Held: held},
		Dir:   dir, Plan: e.plan.Name, Run: e.id, Step: j.cmd.Step, Parts: parts,
		Log: text,
		Progress: func(done, total float64, note string) {
			e.tell(Update{Run: e.id, Round: j.cmd.Round, Step: j.cmd.Step, Done: done, Total: total, Note: note})
		},
	})
}

// partsDir holds the durable parts of the step.
func (j *job) partsDir() string { return filepath.Join(j.e.dir, "parts", j.cmd.Step) }

// fetchPart takes a part that another run has finished.
func (j *job) fetchPart(id, to string) (bool, error) {
	s := j.e.runner.Store
	digest := j.e.results.part(s, j.e.id, id)
	if digest == "" {
		return false, nil
	}
	return true, j.materialise(digest, to)
}

// materialise makes an artefact of the store available under a name.
func (j *job) materialise(digest, to string) error {
	from, err := j.e.runner.Store.Materialise(digest, filepath.Dir(to), "")
	if err != nil {
		return err
	}
	return os.Rename(from, to)
}

// fetchMeasured takes a part that the run named by --from has measured. Its
// key holds all that decides it, the engine's fingerprint included.
func (j *job) fetchMeasured(id, to string) (bool, error) {
	s := j.e.runner.Store
	found, err := filepath.Glob(filepath.Join(s.RunDir(j.from), "parts", "*", id))
	if err != nil || len(found) == 0 {
		return false, err
	}
	digest, err := s.Put(found[0], true)
	if err != nil {
		return false, err
	}
	return true, j.materialise(digest, to)
}

// takeResult stores a result's artefacts and returns the result as JSON.
// Artefacts lie below dir (or below parts, made by [Runtime.Part]); one that
// already has a digest is passed on from the step's input.
func (s *Store) takeResult(out any, dir, parts string) (json.RawMessage, error) {
	return field.EncodeResult(out, func(a *Artefact) error {
		if a.IsZero() || a.Digest != "" && s.Has(a.Digest) {
			return nil
		}
		path := a.Path
		if !filepath.IsAbs(path) {
			path = filepath.Join(dir, path)
		}
		if !below(dir, path) && !below(parts, path) {
			return fmt.Errorf("artefact %s is not below the step's folder", a.Path)
		}
		digest, err := s.Put(path, true)
		a.Digest = digest
		return err
	})
}

func below(root, path string) bool {
	rel, err := filepath.Rel(root, path)
	return err == nil && filepath.IsLocal(rel)
}
