package pipeline

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"calrun/pipeline/state"
	"calrun/pipeline/store"

	"golang.org/x/sys/unix"
)

// Summary is a run in few words: what a list of runs shows, and which keys and
// parts its journal holds.
type Summary struct {
	Run         string
	Plan        string
	Verdict     Verdict
	Exit        int
	Rounds      int
	Opened      time.Time // UTC
	Seconds     float64   // worked on it
	Closed      bool
	Interrupted bool
	Error       string            // why it cannot be read
	Empty       bool              // its process died before it was opened
	Keys        []string          // of steps with a result, shortened
	Parts       map[string]string // id → digest, of those that other runs may use
	Size        int64             // of the journal that this was read from, in bytes
	Changed     int64             // when it was last written, in nanoseconds since 1970
}

// Unfinished says whether there is something for a resume to do.
func (r Summary) Unfinished() bool {
	return r.Error == "" && !r.Empty && (!r.Closed || r.Exit == ExitError)
}

// shortKey is a key as an index has it: it says which journal to open, and the
// journal has the whole key.
func shortKey(key string) string {
	key = strings.TrimPrefix(key, store.DigestPrefix)
	return key[:min(16, len(key))]
}

// Summaries returns all runs, oldest first. It writes nothing.
func (s *Store) Summaries() ([]Summary, error) {
	all, _, err := s.summaries()
	return all, err
}

// Index returns all runs, oldest first, and keeps what it had to read for the
// next time. That it cannot be kept, in a store that may only be read, is no
// error.
func (s *Store) Index() ([]Summary, error) {
	all, fresh, err := s.summaries()
	if err == nil && fresh > 0 {
		_ = s.keepIndex(all)
	}
	return all, err
}

// summaries returns the runs and how many of them the index did not have.
func (s *Store) summaries() (all []Summary, fresh int, err error) {
	ids, err := s.Runs()
	if err != nil {
		return nil, 0, err
	}
	if len(ids) == 0 {
		return nil, 0, nil
	}
	runs, err := os.Open(filepath.Join(s.dir, runsDir))
	if err != nil {
		return nil, 0, fmt.Errorf("list runs: %w", err)
	}
	defer runs.Close()
	at := int(runs.Fd())
	known := s.readIndex(len(ids))
	all = make([]Summary, len(ids))
	news := make([]bool, len(ids))
	var workers sync.WaitGroup
	share := (len(ids) + runtime.GOMAXPROCS(0) - 1) / max(1, runtime.GOMAXPROCS(0))
	for from := 0; from < len(ids); from += share {
		workers.Go(func() {
			for i := from; i < min(from+share, len(ids)); i++ {
				all[i], news[i] = s.summary(at, ids[i], known)
			}
		})
	}
	workers.Wait()
	for _, n := range news {
		if n {
			fresh++
		}
	}
	slices.SortStableFunc(all, older)
	return all, fresh, nil
}

// older sorts runs by the second in their id, then by when they were opened:
// an id does not tell runs of one second apart.
func older(a, b Summary) int {
	const second = len("20060102-150405")
	if c := strings.Compare(a.Run[:second], b.Run[:second]); c != 0 {
		return c
	}
	return a.Opened.Compare(b.Opened)
}

// summary is that of one run, from the index if the journal has the size and
// the time that it had then: one that somebody has written to is read again,
// and says so if it was changed. That of who sets the time back too only
// [Store.Verify] finds.
func (s *Store) summary(runs int, id string, known map[string]Summary) (r Summary, fresh bool) {
	r, there := known[id]
	size, changed := journalIs(runs, id)
	if there && r.Size == size && r.Changed == changed {
		return r, false
	}
	r = s.summarise(id)
	r.Size, r.Changed = size, changed
	return r, true
}

// journalIs is the size of a run's journal in bytes, -1 if there is none, and
// when it was last written, in nanoseconds since 1970. The run's folder is
// looked for in an open one: for 10,000 runs that takes half as long.
func journalIs(in int, run string) (size, changed int64) {
	var st unix.Stat_t
	if err := unix.Fstatat(in, run+"/"+journalFile, &st, 0); err != nil {
		return -1, 0
	}
	return st.Size, st.Mtim.Nano()
}

// summarise reads a run's journal.
func (s *Store) summarise(id string) Summary {
	events, err := s.readJournal(id)
	if err == nil {
		var past *Past
		if past, err = s.fold(id, events); err == nil {
			return summaryOf(past)
		}
	}
	return Summary{Run: id, Exit: ExitError, Error: err.Error(), Empty: errors.Is(err, ErrUnopened)}
}

func summaryOf(p *Past) Summary {
	var f finds
	for i := range p.Events {
		f.note(&p.Events[i])
	}
	return f.summary(p.State)
}

// finds are what other runs may use of a run: the keys with a result, and the
// parts. They are noted event by event, as a run goes on.
type finds struct {
	keys  []string
	found map[string]bool   // the keys
	open  map[string]string // step → the key that it was last resolved to
	parts map[string]string
}

func (f *finds) note(e *Event) {
	if f.found == nil {
		f.found, f.open = map[string]bool{}, map[string]string{}
	}
	switch {
	case e.Type == state.EventResolved && e.Resolved != nil:
		f.open[e.Step] = shortKey(e.Resolved.Key)
		if e.Resolved.Result != nil {
			f.find(e.Step)
		}
	case e.Type == state.EventDone && e.Result != nil:
		f.find(e.Step)
	case e.Type == state.EventPart && e.Part.Digest != "":
		if f.parts == nil {
			f.parts = map[string]string{}
		}
		f.parts[e.Part.ID] = e.Part.Digest
	}
}

func (f *finds) find(step string) {
	if key, there := f.open[step]; there && !f.found[key] {
		f.keys, f.found[key] = append(f.keys, key), true
	}
}

func (f *finds) summary(st *State) Summary {
	return Summary{
		Run: st.Run, Plan: st.Plan, Verdict: st.Verdict, Exit: st.Exit, Rounds: len(st.Rounds), Opened: st.Opened.UTC(),
		Seconds: st.Active.Seconds(), Closed: !st.Closed.IsZero(), Interrupted: st.Interrupted, Keys: f.keys, Parts: f.parts,
	}
}
