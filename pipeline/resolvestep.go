package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"calrun/pipeline/field"
	"calrun/pipeline/kind"
	"calrun/pipeline/state"
)

// resolve finds out what a step will work on, whose result that may be
// already, and under which key.
func (j *job) resolve(ctx context.Context) []*Event {
	if err := sleep(ctx, j.jittered(j.cmd.Wait)); err != nil {
		return nil // interrupted while waiting: nothing happened
	}
	res := &state.Resolved{Kind: j.decl.Kind.Name, Imported: map[string]string{}}
	step, err := j.prepare(res)
	if err != nil {
		return []*Event{j.failed(as(state.ClassPlan, err))}
	}
	j.repeat = j.decl.Kind.RepeatOf(step)
	res.Repeat = j.repeat.String()
	identity, idErr := kind.Identify(ctx, step)
	if cancelled(ctx, idErr) {
		return []*Event{j.stopped()}
	}
	if idErr == nil {
		if err = j.seal(res, identity); err == nil {
			err = j.reuse(res)
		}
	} else {
		err = j.trust(res, idErr)
	}
	if err != nil {
		return []*Event{j.failed(err)}
	}
	return []*Event{{Type: state.EventResolved, Round: j.cmd.Round, Step: j.cmd.Step, Resolved: res}}
}

// sleep waits, or returns the context's error.
func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// prepare resolves `with`, takes its literal files into the store and makes
// the step.
func (j *job) prepare(res *state.Resolved) (Step, error) {
	with, err := j.e.plan.Resolve(j.decl, j.env, j.over)
	if err != nil {
		return nil, err
	}
	if res.With, err = j.importPaths(with, res.Imported); err != nil {
		return nil, err
	}
	return j.make(res.With)
}

// make makes the step from its resolved `with`, its artefacts in place.
func (j *job) make(with json.RawMessage) (Step, error) {
	step, err := j.decl.Kind.Make(with, j.e.plan.Dir)
	if err != nil {
		return nil, err
	}
	err = field.EachArtefact(step, func(a *Artefact) error {
		if a.Digest == "" {
			return nil
		}
		path, err := j.open(*a)
		a.Path = path
		return err
	})
	return step, errors.Join(err, j.e.secrets.reveal(step))
}

// open makes an artefact available, under the name that the plan or its user
// gave it.
func (j *job) open(a Artefact) (string, error) {
	return j.e.runner.Store.Materialise(a.Digest, filepath.Join(j.e.dir, artefactDir), j.e.imports.name(a.Digest))
}

// named replaces, in what is said to the user, the place of a file or folder
// in the run by the one where the user has it.
func (j *job) named(text string) string {
	for path, digest := range j.e.imports.all() {
		place := j.e.runner.Store.Place(digest, filepath.Join(j.e.dir, artefactDir), filepath.Base(path))
		text = strings.ReplaceAll(text, place, path)
	}
	return text
}

// seal takes down what the key is made of, and the key.
func (j *job) seal(res *state.Resolved, identity map[string]string) error {
	made, err := j.decl.Kind.Ingredients(res.With, identity, j.visit)
	if err != nil {
		return err
	}
	res.Version, res.Basis, res.ID, res.Visit = made.Version, made.With, identity, made.Visit
	res.Key, err = made.Key()
	return err
}

// importPaths puts files and folders that the plan names by path into the
// store. imported gets those that the journal does not have.
func (j *job) importPaths(with json.RawMessage, imported map[string]string) (json.RawMessage, error) {
	return field.ImportPaths(j.decl.Kind.New(), with, func(path string) (string, error) {
		digest, known, err := j.e.imports.take(path, func() (string, error) { return j.e.secrets.put(j.e.runner.Store, path) })
		if err == nil && !known {
			imported[path] = digest
		}
		return digest, err
	})
}

// reuse finds a result that has the same key.
func (j *job) reuse(res *state.Resolved) error {
	for _, st := range j.earlier {
		if st.Key != res.Key {
			continue
		}
		v, err := j.e.runner.Store.value(st.Result)
		res.From, res.Result, res.Dir = st.From, v, st.Dir
		return err
	}
	var found *resolution
	var err error
	switch {
	case j.repeat != Measured && j.visit == 0:
		found, err = j.e.results.byKey(j.e.runner.Store, j.e.id, "", res.Key)
	case j.repeat == Measured && j.from != "":
		found, err = j.e.results.byKey(j.e.runner.Store, j.e.id, j.from, res.Key)
	}
	if found != nil {
		res.From, res.Result = "run "+found.run, found.value
	}
	return err
}

// trust reuses a measured result of the run named by --from although nobody
// can say whether the engine is still the same: it does not answer.
func (j *job) trust(res *state.Resolved, why error) error {
	if j.repeat != Measured || j.from == "" {
		return why
	}
	found, err := j.e.results.matching(j.e.runner.Store, j.e.id, j.from, func(past *state.Resolved) bool {
		same := *res
		return j.seal(&same, past.ID) == nil && same.Key == past.Key
	})
	if err != nil || found == nil {
		return errors.Join(why, err)
	}
	if err := j.seal(res, maps.Clone(found.resolved.ID)); err != nil {
		return err
	}
	res.From, res.Result = "run "+found.run+", on trust ("+why.Error()+")", found.value
	return nil
}

// place is the folder of a step in its run, relative to the run's.
func (j *job) place() string {
	name := j.cmd.Step
	if j.visit > 0 {
		name += "." + strconv.Itoa(j.visit)
	}
	return filepath.Join(strconv.Itoa(j.cmd.Round), name)
}
