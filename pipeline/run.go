package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"calrun/internal/failpoint"
	"calrun/pipeline/lock"
	"calrun/pipeline/secret"
	"calrun/pipeline/state"

	"github.com/rs/zerolog"
)

// Runner carries out plans on this machine.
type Runner struct {
	Kinds   *Kinds
	Store   *Store
	Log     zerolog.Logger
	Locks   string           // folder of the host-wide locks; default CALRUN_LOCKS, else one for the whole machine
	Now     func() time.Time // default time.Now
	Observe func(Update)     // told of everything that happens, one call at a time; must return soon
	Version string           // of calrun, for the journal
	Mask    *Mask            // learns the secrets of the run, so that its owner masks what it writes itself; nil: the run's own
}

// Update is something that happened in a run: an event, or progress.
type Update struct {
	Run         string
	Round       int
	Step        string
	Event       *Event  // just journalled; nil if this is progress
	Done, Total float64 // progress in the step's own units; Total 0 is unknown
	Note        string
}

// RunOptions are what a run may be told beside its plan.
type RunOptions struct {
	From string // the run whose measured results may be reused where nothing changed
}

// ErrInput says that an input of the plan has no value, or one that cannot
// be read.
var ErrInput = errors.New("an input is missing or unreadable")

// Run runs a plan from its beginning. A verdict, a step that could not work
// and an interruption by ctx are in the state; an error is something that
// keeps calrun itself from working: an input that is missing ([ErrInput]), a
// disk that cannot be written.
func (r *Runner) Run(ctx context.Context, plan *Plan, opt RunOptions) (*State, error) {
	writer, err := r.Store.Enter()
	if err != nil {
		return nil, err
	}
	defer writer.Unlock()
	secrets, err := r.secrets(plan)
	if err != nil {
		return nil, err
	}
	opened, err := r.open(plan, opt, secrets)
	if err != nil {
		return nil, err
	}
	id, err := r.Store.createRun(r.now())
	if err != nil {
		return nil, err
	}
	opened.Run = id
	lock, err := r.Store.lockRun(id)
	if err != nil {
		return nil, err
	}
	defer lock.Unlock()
	journal, err := createJournal(r.Store.RunDir(id))
	if err != nil {
		return nil, err
	}
	defer journal.close()
	e, err := r.engine(plan, journal, &State{Run: id, Inputs: opened.Inputs, Imported: opened.Imported})
	if err != nil {
		return nil, err
	}
	e.secrets = secrets
	failpoint.At("run.open")
	if err := e.append(&Event{Type: state.EventOpened, Opened: opened}); err != nil {
		return nil, err
	}
	defer e.remember()
	return e.run(ctx)
}

// open takes down what the run starts from; files and folders among the
// inputs go into the store.
func (r *Runner) open(plan *Plan, opt RunOptions, secrets *secrets) (*Opened, error) {
	if err := secrets.clean(plan); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInput, err)
	}
	o := &Opened{
		Format: state.JournalFormat,
		Plan:   plan.Name, File: plan.File, Dir: plan.Dir, Source: string(plan.Source), From: opt.From, Version: r.Version,
	}
	if len(plan.Inputs) > 0 {
		o.Inputs, o.Imported = map[string]json.RawMessage{}, map[string]string{}
	}
	if opt.From != "" {
		if _, err := os.Stat(r.Store.RunDir(opt.From)); err != nil {
			return nil, fmt.Errorf("reuse measured results: no run %s in %s", opt.From, r.Store.Dir())
		}
	}
	for _, in := range plan.Inputs {
		o.Inputs[in.Name] = in.Value
		if in.Source != (secret.Source{}) {
			if o.Secrets == nil {
				o.Secrets = map[string]secret.Source{}
			}
			o.Secrets[in.Name] = in.Source
		}
		if in.Type != "file" && in.Type != "dir" {
			continue
		}
		var path string
		if err := json.Unmarshal(in.Value, &path); err != nil {
			return nil, fmt.Errorf("%w: input %s: %s is not a path", ErrInput, in.Name, in.Value)
		}
		digest, err := secrets.put(r.Store, path)
		if err != nil {
			return nil, fmt.Errorf("%w: input %s: %w", ErrInput, in.Name, err)
		}
		o.Imported[path] = digest
	}
	return o, nil
}

// Resume goes on with a run, whatever ended it: a death, an interruption, a
// step that could not work. What is finished is not done again.
func (r *Runner) Resume(ctx context.Context, id string) (*State, error) {
	lock, err := r.Store.lockRun(id)
	if err != nil {
		return nil, err
	}
	defer lock.Unlock()
	writer, err := r.Store.Enter()
	if err != nil {
		return nil, err
	}
	defer writer.Unlock()
	dir := r.Store.RunDir(id)
	journal, events, err := openJournal(dir)
	if err != nil {
		return nil, err
	}
	defer journal.close()
	past, err := r.Store.fold(id, events)
	if err != nil {
		return nil, err
	}
	s := past.State
	if !s.Unfinished() {
		return s, fmt.Errorf("run %s is finished (%s); start a new one with run", id, s.Verdict)
	}
	plan, moved, err := r.reload(past)
	if err != nil {
		return nil, err
	}
	secrets, err := r.secrets(plan)
	if err != nil {
		return nil, fmt.Errorf("run %s asks for its secrets again: %w", id, err)
	}
	e, err := r.engine(plan, journal, s)
	if err != nil {
		return nil, err
	}
	for i := range events {
		e.finds.note(&events[i])
	}
	e.imports.journalled(moved)
	e.secrets = secrets
	failpoint.At("run.resume")
	if err := e.recover(); err != nil {
		return nil, err
	}
	if err := e.append(&Event{Type: state.EventResumed}); err != nil {
		return nil, err
	}
	failpoint.At("run.resumed")
	defer e.remember()
	return e.run(ctx)
}

// reload loads the plan that the run began with. An input file that is gone
// meanwhile is taken from the store; moved says where such files are now.
func (r *Runner) reload(past *Past) (plan *Plan, moved map[string]string, err error) {
	given := past.Given()
	moved = map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		digest := past.State.Imported[given[name]]
		if digest == "" {
			continue
		}
		if _, err := os.Stat(given[name]); err != nil {
			path, err := past.Artefact(Artefact{Digest: digest})
			if err != nil {
				return nil, nil, fmt.Errorf("input %s: %w", name, err)
			}
			moved[path] = digest
			given[name] = path
		}
	}
	plan, err = recordedPlan(past, r.Kinds, given)
	return plan, moved, err
}

func (r *Runner) now() time.Time {
	if r.Now != nil {
		return r.Now()
	}
	return time.Now()
}

// engine works on a run from a state of it on.
func (r *Runner) engine(plan *Plan, journal *journal, s *State) (*engine, error) {
	inputs, err := decodeInputs(s.Inputs)
	return &engine{
		runner: r, secrets: newSecrets(r.Mask), plan: plan, journal: journal, state: s, agenda: state.NewAgenda(plan, s), id: s.Run, dir: r.Store.RunDir(s.Run),
		slots: max(2, runtime.GOMAXPROCS(0)),
		inbox: make(chan message), flying: map[string]state.Command{},
		inputs: inputs, imports: newImports(s.Imported), results: results{keep: true},
		leases: lock.Leases{Dir: filepath.Join(r.Store.RunDir(s.Run), leasesDir)},
	}, err
}
