package kind

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"calrun/internal/failpoint"
	"calrun/pipeline/store"
)

// Part is a durable piece of a step.
type Part struct {
	ID     string `json:"id"` // its folder is parts/<step>/<id> in the run's
	Key    string `json:"key"`
	Digest string `json:"digest,omitempty"` // of the folder's tree, for kinds whose parts other runs may use
}

// Parts keep the durable parts of one step, each a folder named by the
// hash of its key. A folder gets that name when its content is on the disk:
// its presence is its completion.
type Parts struct {
	Root   string
	Scope  string                                      // what beside the key decides the content: the kind and its version
	Seal   func(dir string) error                      // looks at a new part's files before they become durable; nil: nobody does
	Record func(p Part) error                          // tells the journal; nil without one
	Share  func(dir string) (digest string, err error) // stores a part for other runs; nil if they may not use it
	Fetch  func(id, to string) (found bool, err error) // takes what another run has made; nil if this one may not use it

	mu      sync.Mutex
	known   map[string]bool // ids the journal has
	locking map[string]*sync.Mutex
}

// NewParts keeps parts below root.
func NewParts(root string) *Parts {
	return &Parts{Root: root, known: map[string]bool{}, locking: map[string]*sync.Mutex{}}
}

// Know says that the journal has the part with that key.
func (p *Parts) Know(key string) { p.known[partID(p.Scope, key)] = true }

// partID is the name of a part's folder.
func partID(scope, key string) string {
	return store.Digest([]byte(scope + "\x00" + key))[len(store.DigestPrefix):][:32]
}

func (p *Parts) get(key string, make func(string) error) (string, bool, error) {
	id := partID(p.Scope, key)
	unlock := p.lock(id)
	defer unlock()
	dir := filepath.Join(p.Root, id)
	reused := true
	if _, err := os.Stat(dir); err != nil {
		if err := os.MkdirAll(p.Root, 0o755); err != nil {
			return "", false, fmt.Errorf("part %q: %w", key, err)
		}
		if reused, err = p.fetched(id, dir); err != nil {
			return "", false, fmt.Errorf("part %q: %w", key, err)
		}
		if !reused {
			if err := p.make(dir, make); err != nil {
				return "", false, err
			}
		}
	}
	if err := p.tell(key, id, dir); err != nil {
		return "", false, fmt.Errorf("part %q: %w", key, err)
	}
	return dir, reused, nil
}

// lock keeps two goroutines from making the same part.
func (p *Parts) lock(id string) func() {
	p.mu.Lock()
	m := p.locking[id]
	if m == nil {
		m = &sync.Mutex{}
		p.locking[id] = m
	}
	p.mu.Unlock()
	m.Lock()
	return m.Unlock
}

func (p *Parts) fetched(id, dir string) (bool, error) {
	if p.Fetch == nil {
		return false, nil
	}
	return p.Fetch(id, dir)
}

// make fills the folder beside its place and gives it its name at the end.
func (p *Parts) make(dir string, fill func(string) error) error {
	staging, err := os.MkdirTemp(p.Root, StagingPrefix)
	if err != nil {
		return fmt.Errorf("part: %w", err)
	}
	defer func() { _ = os.RemoveAll(staging) }() // gone already once it has its name
	failpoint.At("part.staged")
	if err := errors.Join(os.Chmod(staging, 0o755), fill(staging)); err != nil {
		return err
	}
	if p.Seal != nil {
		if err := p.Seal(staging); err != nil {
			return err
		}
	}
	failpoint.At("part.filled")
	if err := errors.Join(failpoint.Err("part.sync"), store.SyncTree(staging, true)); err != nil {
		return fmt.Errorf("part: %w", err)
	}
	failpoint.At("part.rename")
	if err := os.Rename(staging, dir); err != nil {
		return fmt.Errorf("part: %w", err)
	}
	if err := failpoint.Err("part.renamed"); err != nil {
		return fmt.Errorf("part: %w", err)
	}
	return store.Sync(p.Root)
}

// StagingPrefix begins the name of what is not finished.
const StagingPrefix = ".staging-"

// tell journals a part that the journal does not have: a new one, or one
// whose process died between its name and its event.
func (p *Parts) tell(key, id, dir string) error {
	p.mu.Lock()
	known := p.known[id]
	p.known[id] = true
	p.mu.Unlock()
	if known || p.Record == nil {
		return nil
	}
	failpoint.At("part.tell")
	made := Part{ID: id, Key: key}
	if p.Share != nil {
		var err error
		if made.Digest, err = p.Share(dir); err != nil {
			return err
		}
	}
	failpoint.At("part.record")
	return p.Record(made)
}
