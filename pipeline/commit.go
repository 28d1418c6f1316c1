package pipeline

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"calrun/pipeline/canonical"
	"calrun/pipeline/kind"
	"calrun/pipeline/state"
	"calrun/pipeline/store"

	"github.com/rs/zerolog"
)

// record is the file result.json of a finished step: enough to see, after a
// death between the folder's name and the journal's event, that it is
// finished.
type record struct {
	Step    string            `json:"step"`
	Kind    string            `json:"kind"`
	Key     string            `json:"key"`
	Attempt int               `json:"attempt"`
	ID      map[string]string `json:"id,omitempty"`
	With    json.RawMessage   `json:"with"`
	Result  json.RawMessage   `json:"result"`
}

// commit makes an attempt's folder durable and gives it the step's name.
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
	path := filepath.Join(dir, resultFile)
	final := filepath.Join(j.e.dir, j.place())
	err = os.WriteFile(path, pretty.Bytes(), 0o644)
	err = errors.Join(err, store.SyncPath(path), store.SyncDir(dir), os.RemoveAll(final))
	if err != nil {
		return nil, err
	}
	if err := os.Rename(dir, final); err != nil {
		return nil, err
	}
	return v, store.SyncDir(filepath.Dir(final))
}

// recover puts a run in order after a death: what was finished but not
// journalled is adopted, what was not finished is cleared away, except for
// the logs.
func (e *engine) recover() error {
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
		return fmt.Errorf("%s/%s: %w", j.place(), resultFile, err)
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
	return e.append(&Event{
		Type: state.EventDone, Round: round, Step: st.Name, Attempt: st.Attempt, Dir: j.place(), Result: v,
	})
}

// sweep removes what unfinished attempts and parts left, and keeps their logs.
func (e *engine) sweep() error {
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

// teeLog writes a step's log lines to its file and passes those from info up
// to the user's logger, with the step's name.
type teeLog struct {
	file io.Writer
	user zerolog.Logger
	step string
}

// Write is what zerolog calls for lines without a level.
func (t teeLog) Write(p []byte) (int, error) { return t.file.Write(p) }

// WriteLevel is what zerolog calls for all others.
func (t teeLog) WriteLevel(level zerolog.Level, p []byte) (int, error) {
	n, err := t.file.Write(p)
	if level < zerolog.InfoLevel {
		return n, err
	}
	var line map[string]any
	if json.Unmarshal(p, &line) != nil {
		return n, err
	}
	msg, _ := line[zerolog.MessageFieldName].(string)
	for _, name := range []string{zerolog.MessageFieldName, zerolog.LevelFieldName, zerolog.TimestampFieldName, "stack"} {
		delete(line, name)
	}
	t.user.WithLevel(level).Str("step", t.step).Fields(line).Msg(strings.TrimSpace(msg))
	return n, err
}

var _ zerolog.LevelWriter = teeLog{}
