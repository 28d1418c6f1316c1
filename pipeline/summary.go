package pipeline

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"calrun/pipeline/canonical"
	"calrun/pipeline/state"
	"calrun/pipeline/store"
)

// Summary is a run in few words: what a list of runs shows, and which keys and
// parts its journal holds.
type Summary struct {
	Run         string            `json:"run"`
	Plan        string            `json:"plan,omitempty"`
	Verdict     Verdict           `json:"verdict,omitempty"`
	Exit        int               `json:"exit"`
	Rounds      int               `json:"rounds"`
	Opened      time.Time         `json:"opened"`
	Seconds     float64           `json:"seconds"` // worked on it
	Closed      bool              `json:"closed,omitempty"`
	Interrupted bool              `json:"interrupted,omitempty"`
	Error       string            `json:"error,omitempty"`  // why it cannot be read
	Empty       bool              `json:"empty,omitempty"`  // its process died before it was opened
	Keys        []string          `json:"keys,omitempty"`   // of steps with a result, shortened
	Parts       map[string]string `json:"parts,omitempty"`  // id → digest, of those that other runs may use
	Size        int64             `json:"size"`             // of the journal that this was read from, in bytes
	Changed     int64             `json:"changed_unix_ns"`  // when it was last written
	Format      int               `json:"format,omitempty"` // of the summary
}

// Unfinished says whether there is something for a resume to do.
func (r Summary) Unfinished() bool {
	return r.Error == "" && !r.Empty && (!r.Closed || r.Exit == ExitError)
}

// summaryFormat is raised when a summary holds what an older calrun did not
// write: those are made again.
const summaryFormat = 1

// indexFile keeps the summaries of runs, in the folder of the runs. It is a
// cache: a line counts only while the journal that it was read from has the
// same size and time, and without the file everything is read again.
const indexFile = "index.jsonl"

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
	known := s.readIndex(len(ids))
	all = make([]Summary, len(ids))
	news := make([]bool, len(ids))
	var workers sync.WaitGroup
	share := (len(ids) + runtime.GOMAXPROCS(0) - 1) / max(1, runtime.GOMAXPROCS(0))
	for from := 0; from < len(ids); from += share {
		workers.Go(func() {
			for i := from; i < min(from+share, len(ids)); i++ {
				all[i], news[i] = s.summary(ids[i], known)
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

// summary is that of one run, from the index if the journal is as it was.
func (s *Store) summary(id string, known map[string]Summary) (r Summary, fresh bool) {
	size, changed := int64(-1), int64(0)
	if info, err := os.Stat(filepath.Join(s.RunDir(id), journalFile)); err == nil {
		size, changed = info.Size(), info.ModTime().UnixNano()
	}
	if r, there := known[id]; there && r.Size == size && r.Changed == changed {
		return r, false
	}
	r = s.summarise(id)
	r.Size, r.Changed, r.Format = size, changed, summaryFormat
	return r, true
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
	st := p.State
	r := Summary{
		Run: st.Run, Plan: st.Plan, Verdict: st.Verdict, Exit: st.Exit, Rounds: len(st.Rounds), Opened: st.Opened,
		Seconds: st.Active.Seconds(), Closed: !st.Closed.IsZero(), Interrupted: st.Interrupted,
	}
	seen := map[string]bool{}
	for _, res := range resolutionsOf(st.Run, p.Events) {
		if key := shortKey(res.resolved.Key); res.value != nil && !seen[key] {
			r.Keys, seen[key] = append(r.Keys, key), true
		}
	}
	for _, e := range p.Events {
		if e.Type == state.EventPart && e.Part.Digest != "" {
			if r.Parts == nil {
				r.Parts = map[string]string{}
			}
			r.Parts[e.Part.ID] = e.Part.Digest
		}
	}
	return r
}

// readIndex reads what the index says, run by run; the last line of a run
// counts. What cannot be read is not known.
func (s *Store) readIndex(runs int) map[string]Summary {
	known := make(map[string]Summary, runs)
	data, err := os.ReadFile(filepath.Join(s.dir, runsDir, indexFile))
	if err != nil {
		return known
	}
	lines := bytes.Split(data, []byte("\n"))
	parsed := make([]Summary, len(lines))
	var workers sync.WaitGroup
	share := (len(lines) + runtime.GOMAXPROCS(0) - 1) / max(1, runtime.GOMAXPROCS(0))
	for from := 0; from < len(lines); from += share {
		workers.Go(func() {
			for i := from; i < min(from+share, len(lines)); i++ {
				if json.Unmarshal(lines[i], &parsed[i]) != nil {
					parsed[i].Run = "" // torn, or of another time
				}
			}
		})
	}
	workers.Wait()
	for _, r := range parsed {
		if r.Run != "" && r.Format == summaryFormat {
			known[r.Run] = r
		}
	}
	return known
}

// keepIndex writes the index anew.
func (s *Store) keepIndex(all []Summary) error {
	dir := filepath.Join(s.dir, runsDir)
	f, err := os.CreateTemp(dir, ".index-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }() // gone already once it has its name
	w := bufio.NewWriter(f)
	for _, r := range all {
		line, err := canonical.Encode(r)
		if err != nil {
			return errors.Join(err, f.Close())
		}
		_, _ = w.Write(append(line, '\n')) // Flush has its error
	}
	if err := errors.Join(w.Flush(), f.Chmod(0o644), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), filepath.Join(dir, indexFile))
}

// remember adds a run to the index, which is a cache: what cannot be added
// costs the next reader time, and nothing else.
func (s *Store) remember(id string) {
	r, _ := s.summary(id, nil)
	line, err := canonical.Encode(r)
	if err != nil {
		return
	}
	f, err := os.OpenFile(filepath.Join(s.dir, runsDir, indexFile), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return
	}
	_, _ = f.Write(append(line, '\n'))
	_ = f.Close()
}
