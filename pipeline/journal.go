package pipeline

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"

	"calrun/pipeline/canonical"
	"calrun/pipeline/state"
	"calrun/pipeline/store"
)

// journalFile is the name of a run's journal in the run's folder.
const journalFile = "journal.jsonl"

// journal records a run's events. One process holds a run at a time (see
// [Store.lockRun]), and one goroutine its journal.
type journal struct {
	file *store.Journal
	seq  int
}

// createJournal makes the journal of a new run.
func createJournal(dir string) (*journal, error) {
	f, err := store.CreateJournal(filepath.Join(dir, journalFile))
	return &journal{file: f}, err
}

// openJournal goes on with a journal and returns its events.
func openJournal(dir string) (*journal, []Event, error) {
	path := filepath.Join(dir, journalFile)
	f, lines, err := store.OpenJournal(path)
	if err != nil {
		return nil, nil, err
	}
	events, err := readEvents(path, lines)
	if err != nil {
		_ = f.Close()
		return nil, nil, err
	}
	return &journal{file: f, seq: len(events)}, events, nil
}

// append numbers the events and writes them, all at once. When it returns
// without error they are in the file, and on the disk if one of them must
// survive the machine's death and not only calrun's.
func (j *journal) append(events ...*Event) error {
	sync := false
	for _, e := range events {
		e.Seq = j.seq + 1
		raw, err := canonical.Encode(e)
		if err == nil {
			err = j.file.Add(raw)
		}
		if err != nil {
			return fmt.Errorf("journal: event %d (%s): %w", e.Seq, e.Type, err)
		}
		j.seq = e.Seq
		sync = sync || lasting(e)
	}
	err := j.file.Flush()
	if err == nil && sync {
		err = j.file.Sync()
	}
	if err != nil {
		return fmt.Errorf("journal: event %d (%s): %w", j.seq, events[len(events)-1].Type, err)
	}
	return nil
}

// lasting says whether an event must be on the disk before anything is done
// that builds on it. Of the others a death of the machine may take the last
// ones: they say what was about to be done, and it is decided again. None is
// lost from before an event that lasts, since the file is written in order.
func lasting(e *Event) bool {
	switch e.Type {
	case state.EventRound, state.EventResolved, state.EventStarted, state.EventBlocked:
		return false
	}
	return true
}

// close releases the file; every event is on the disk already.
func (j *journal) close() { _ = j.file.Close() }

// readEvents reads the lines of a journal.
func readEvents(path string, lines []json.RawMessage) ([]Event, error) {
	if err := readable(path, lines); err != nil {
		return nil, err
	}
	events := make([]Event, len(lines))
	for i, raw := range lines {
		if err := json.Unmarshal(raw, &events[i]); err != nil {
			return nil, fmt.Errorf("journal %s: line %d: %w", path, i+1, err)
		}
		if events[i].Seq != i+1 {
			return nil, fmt.Errorf("journal %s: line %d holds event %d", path, i+1, events[i].Seq)
		}
	}
	return events, nil
}

// ErrNewer says that a newer calrun wrote what is to be read.
var ErrNewer = errors.New("it was written by a newer calrun")

// readable refuses a journal of a format that this calrun does not know,
// before any of its events is half understood. A journal without a format is
// of the first.
func readable(path string, lines []json.RawMessage) error {
	var first struct {
		Opened struct {
			Format  int    `json:"format"`
			Version string `json:"version"`
		} `json:"opened"`
	}
	if len(lines) == 0 || json.Unmarshal(lines[0], &first) != nil || first.Opened.Format <= state.JournalFormat {
		return nil
	}
	return fmt.Errorf("journal %s: %w: format %d, of calrun %s, where this one reads up to %d; install that one or a newer one",
		path, ErrNewer, first.Opened.Format, first.Opened.Version, state.JournalFormat)
}
