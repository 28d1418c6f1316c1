package pipeline

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"calrun/internal/failpoint"
	"calrun/pipeline/lock"
	"calrun/pipeline/state"
	"calrun/pipeline/store"
)

// Names in the folder of a store and of a run.
const (
	runsDir    = "runs"
	lockFile   = "lock"
	resultFile = "result.json"
	logFile    = "log"
	leasesDir  = "leases"
)

// inlineLimit is the size in bytes up to which a value stands in the journal.
const inlineLimit = 64 << 10

// Store is a folder `.calrun`: runs with their journals, and the objects
// (files, and listings of folder trees) that they share, each under its own
// digest. Nothing is created before something is written.
type Store struct {
	*store.Objects
	dir string
}

// OpenStore opens the store in a folder that may not exist yet.
func OpenStore(dir string) (*Store, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	info, err := os.Stat(abs)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("open store: %w", err)
	}
	if err == nil && !info.IsDir() {
		return nil, fmt.Errorf("open store: %s is a file; calrun needs a folder there, or another one by --dir", abs)
	}
	return &Store{Objects: store.NewObjects(abs), dir: abs}, nil
}

// Dir is the store's folder, absolute.
func (s *Store) Dir() string { return s.dir }

// RunDir is the folder of a run.
func (s *Store) RunDir(id string) string { return filepath.Join(s.dir, runsDir, id) }

// runID is the form of a run's name: sortable by its start in UTC.
var runID = regexp.MustCompile(`^\d{8}-\d{6}-[0-9a-f]{4}$`)

// Runs returns the ids of all runs, oldest first.
func (s *Store) Runs() ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(s.dir, runsDir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list runs: %w", err)
	}
	var ids []string
	for _, e := range entries {
		if e.IsDir() && runID.MatchString(e.Name()) {
			ids = append(ids, e.Name())
		}
	}
	return ids, nil
}

// createRun makes the folder of a new run and returns its id.
func (s *Store) createRun(now time.Time) (string, error) {
	if err := os.MkdirAll(filepath.Join(s.dir, runsDir), 0o755); err != nil {
		return "", fmt.Errorf("create run: %w", err)
	}
	for {
		var tail [2]byte
		if _, err := rand.Read(tail[:]); err != nil {
			return "", fmt.Errorf("create run: %w", err)
		}
		id := now.UTC().Format("20060102-150405") + "-" + hex.EncodeToString(tail[:])
		err := os.Mkdir(s.RunDir(id), 0o755)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return "", fmt.Errorf("create run: %w", err)
		}
		failpoint.At("run.made")
		return id, store.Sync(filepath.Join(s.dir, runsDir))
	}
}

// lockRun takes a run for this process.
func (s *Store) lockRun(id string) (*lock.Lock, error) {
	failpoint.At("run.lock")
	l, err := lock.Try(filepath.Join(s.RunDir(id), lockFile))
	failpoint.At("run.locked")
	if errors.Is(err, lock.ErrHeld) {
		return nil, fmt.Errorf("run %s is being worked on by another process; wait for it or stop it", id)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("no run %s in %s", id, s.dir)
	}
	return l, err
}

// Working says whether a process works on a run.
func (s *Store) Working(id string) bool { return lock.Taken(filepath.Join(s.RunDir(id), lockFile)) }

// value returns a JSON document as the journal keeps it.
func (s *Store) value(doc json.RawMessage) (*state.Value, error) {
	if len(doc) <= inlineLimit {
		return &state.Value{Digest: store.Digest(doc), JSON: doc}, nil
	}
	digest, err := s.PutBytes(doc)
	return &state.Value{Digest: digest}, err
}

// load fills in what a value left to the store.
func (s *Store) load(v *state.Value) error {
	if v == nil || v.JSON != nil {
		return nil
	}
	data, err := s.Bytes(v.Digest)
	v.JSON = data
	return err
}
