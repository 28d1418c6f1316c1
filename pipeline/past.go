package pipeline

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"calrun/pipeline/plan"
	"calrun/pipeline/state"
	"calrun/pipeline/store"
)

// Past is a run as its journal tells it, finished or not.
type Past struct {
	State      *State
	PlanSource []byte
	Events     []Event

	store *Store
}

// ReadRun reads a run without touching it; another process may be working on
// it.
func (s *Store) ReadRun(id string) (*Past, error) {
	events, err := s.readJournal(id)
	if err != nil {
		return nil, err
	}
	return s.fold(id, events)
}

func (s *Store) readJournal(id string) ([]Event, error) {
	path := filepath.Join(s.RunDir(id), journalFile)
	lines, err := store.ReadJournal(path)
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat(s.RunDir(id)); err == nil {
			return nil, nil // no event was written
		}
		return nil, fmt.Errorf("no run %s in %s", id, s.dir)
	}
	if err != nil {
		return nil, fmt.Errorf("read run %s: %w", id, err)
	}
	return readEvents(path, lines)
}

// ErrUnopened says that a run's process died, or that the disk was full, before
// the first event was written: its folder is all there is.
var ErrUnopened = errors.New("died before it was opened")

// fold makes a run's state of its events.
func (s *Store) fold(id string, events []Event) (*Past, error) {
	if len(events) == 0 || events[0].Type != state.EventOpened || events[0].Opened == nil {
		return nil, fmt.Errorf("run %s %w; there is nothing to read or to resume", id, ErrUnopened)
	}
	past := &Past{State: &State{}, PlanSource: []byte(events[0].Opened.Source), Events: events, store: s}
	for i := range events {
		if err := s.inflate(&events[i]); err != nil {
			return nil, fmt.Errorf("run %s: event %d: %w", id, events[i].Seq, err)
		}
		past.State.Apply(events[i])
	}
	return past, nil
}

// inflate fills in what an event left to the store.
func (s *Store) inflate(e *Event) error {
	if e.Resolved != nil {
		if err := s.load(e.Resolved.Result); err != nil {
			return err
		}
	}
	return s.load(e.Result)
}

// Artefact makes an artefact of the run available and returns its path,
// read-only.
func (p *Past) Artefact(a Artefact) (string, error) {
	return p.store.Materialise(a.Digest, filepath.Join(p.Dir(), artefactDir), newImports(p.State.Imported).name(a.Digest))
}

// Given are the inputs of the run as a command line gives them, secrets by
// where they are read: with them its plan is loaded as it was.
func (p *Past) Given() map[string]string { return plan.Given(p.State.Inputs, p.State.Secrets) }

// Dir is the run's folder.
func (p *Past) Dir() string { return p.store.RunDir(p.State.Run) }

// artefactDir holds the folders that steps read, in a run's folder.
const artefactDir = "artefacts"
