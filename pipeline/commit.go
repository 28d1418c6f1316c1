package pipeline

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"calrun/internal/failpoint"
	"calrun/pipeline/canonical"
	"calrun/pipeline/kind"
	"calrun/pipeline/lock"
	"calrun/pipeline/state"
)

// record is the file result.json of a finished step: a copy, for people, of
// what the journal is about to say, and enough to see, after a death between
// the folder's name and the journal's event, that it is finished. The folder
// itself need not survive the machine: the result stands in the journal, the
// artefacts in the store, and both are on the disk before anybody builds on
// them.
type record struct {
	Step    string            `json:"step"`
	Kind    string            `json:"kind"`
	Key     string            `json:"key"`
	Attempt int               `json:"attempt"`
	ID      map[string]string `json:"id,omitempty"`
	With    json.RawMessage   `json:"with"`
	Result  json.RawMessage   `json:"result"`
}

// commit gives an attempt's folder the step's name once it has its result.
func (j *job) commit(dir string, doc json.RawMessage) (*state.Value, error) {
	v, err := j.e.runner.Store.value(doc)
	if err != nil {
		return nil, err
	}
	raw, err := canonical.Encode(record{
		Step: j.cmd.Step, Kind: j.decl.Kind.Name, Key: j.step.Key, Attempt: j.cmd.Attempt,
		ID: j.step.ID, With: j.step.With, Result: doc,
	})
	if err != nil {
		return nil, err
	}
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, raw, "", "  "); err != nil {
		return nil, err
	}
	pretty.WriteByte('\n')
	failpoint.At("commit.record")
	err = errors.Join(failpoint.Err("commit.write"), os.WriteFile(filepath.Join(dir, resultFile), pretty.Bytes(), 0o644))
	if err != nil {
		return nil, err
	}
	final := filepath.Join(j.e.dir, j.place())
	failpoint.At("commit.rename")
	err = os.Rename(dir, final)
	if errors.Is(err, fs.ErrExist) { // of an attempt before that was not journalled
		if err = os.RemoveAll(final); err == nil {
			err = os.Rename(dir, final)
		}
	}
	failpoint.At("commit.renamed")
	return v, err
}

// recover puts a run in order after a death: what is still at work for it is
// ended, what was finished but not
// journalled is adopted, what was not finished is cleared away, except for
// the logs.
func (e *engine) recover() error {
	failpoint.At("recover.leases")
	if err := lock.End(filepath.Join(e.dir, leasesDir)); err != nil {
		return err
	}
	for _, r := range e.state.Rounds {
		for _, name := range slices.Sorted(maps.Keys(r.Steps)) {
			if err := e.adopt(r.N, r.Steps[name], 0); err != nil {
				return err
			}
		}
		if r.Route != nil && r.Route.Remedy != nil {
			if err := e.adopt(r.N, r.Route.Remedy, visits(e.state, r.Route.Run)); err != nil {
				return err
			}
		}
	}
	return e.sweep()
}

// adopt journals the end of an attempt that reached its final folder.
func (e *engine) adopt(round int, st *StepState, visit int) error {
	if st.Status != Running {
		return nil
	}
	j := &job{e: e, cmd: state.Command{Op: state.OpStart, Round: round, Step: st.Name}, visit: visit}
	data, err := os.ReadFile(filepath.Join(e.dir, j.place(), resultFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var rec record
	if err := json.Unmarshal(data, &rec); err != nil {
		return nil // the machine died: what was written last did not reach the disk
	}
	if rec.Key != st.Key || rec.Attempt != st.Attempt {
		return nil // of an attempt before
	}
	var doc bytes.Buffer
	if err := json.Compact(&doc, rec.Result); err != nil {
		return err
	}
	v, err := e.runner.Store.value(doc.Bytes())
	if err != nil {
		return err
	}
	failpoint.At("recover.adopt")
	return e.append(&Event{
		Type: state.EventDone, Round: round, Step: st.Name, Attempt: st.Attempt, Dir: j.place(), Result: v,
	})
}

// sweep removes what unfinished attempts and parts left, and keeps their logs.
func (e *engine) sweep() error {
	failpoint.At("recover.sweep")
	attempts, err := filepath.Glob(filepath.Join(e.dir, "*", "*"+attemptMark+"*"))
	if err != nil {
		return err
	}
	for _, dir := range attempts {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return err
		}
		for _, entry := range entries {
			failpoint.At("recover.clear")
			if entry.Name() != logFile {
				if err := os.RemoveAll(filepath.Join(dir, entry.Name())); err != nil {
					return fmt.Errorf("clear away an unfinished attempt: %w", err)
				}
			}
		}
	}
	for _, pattern := range []string{"parts/*/" + kind.StagingPrefix + "*", artefactDir + "/" + kind.StagingPrefix + "*"} {
		staged, err := filepath.Glob(filepath.Join(e.dir, pattern))
		if err != nil {
			return err
		}
		for _, dir := range staged {
			if err := os.RemoveAll(dir); err != nil {
				return fmt.Errorf("clear away an unfinished part: %w", err)
			}
		}
	}
	return nil
}
