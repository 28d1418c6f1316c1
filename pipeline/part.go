package pipeline

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
)

// partBox keeps the durable parts of one step, each a folder named by the
// hash of its key. A folder gets that name when its content is on the disk:
// its presence is its completion.
type partBox struct {
	root   string
	scope  string                                      // what beside the key decides the content: the kind and its version
	record func(p Part) error                          // tells the journal; nil without one
	share  func(dir string) (digest string, err error) // stores a part for other runs; nil if they may not use it
	fetch  func(id, to string) (found bool, err error) // takes what another run has made; nil if this one may not use it

	mu      sync.Mutex
	known   map[string]bool // ids the journal has
	locking map[string]*sync.Mutex
}

func newPartBox(root string) *partBox {
	return &partBox{root: root, known: map[string]bool{}, locking: map[string]*sync.Mutex{}}
}

// partID is the name of a part's folder.
func partID(scope, key string) string {
	return digestBytes([]byte(scope + "\x00" + key))[len(digestPrefix):][:32]
}

func (b *partBox) get(key string, make func(string) error) (string, bool, error) {
	id := partID(b.scope, key)
	unlock := b.lock(id)
	defer unlock()
	dir := filepath.Join(b.root, id)
	reused := true
	if _, err := os.Stat(dir); err != nil {
		if err := os.MkdirAll(b.root, 0o755); err != nil {
			return "", false, fmt.Errorf("part %q: %w", key, err)
		}
		if reused, err = b.fetched(id, dir); err != nil {
			return "", false, fmt.Errorf("part %q: %w", key, err)
		}
		if !reused {
			if err := b.make(dir, make); err != nil {
				return "", false, err
			}
		}
	}
	if err := b.tell(key, id, dir); err != nil {
		return "", false, fmt.Errorf("part %q: %w", key, err)
	}
	return dir, reused, nil
}

// lock keeps two goroutines from making the same part.
func (b *partBox) lock(id string) func() {
	b.mu.Lock()
	m := b.locking[id]
	if m == nil {
		m = &sync.Mutex{}
		b.locking[id] = m
	}
	b.mu.Unlock()
	m.Lock()
	return m.Unlock
}

func (b *partBox) fetched(id, dir string) (bool, error) {
	if b.fetch == nil {
		return false, nil
	}
	return b.fetch(id, dir)
}

// make fills the folder beside its place and gives it its name at the end.
func (b *partBox) make(dir string, fill func(string) error) error {
	staging, err := os.MkdirTemp(b.root, stagingPrefix)
	if err != nil {
		return fmt.Errorf("part: %w", err)
	}
	defer func() { _ = os.RemoveAll(staging) }() // gone already once it has its name
	if err := errors.Join(os.Chmod(staging, 0o755), fill(staging)); err != nil {
		return err
	}
	if err := syncTree(staging, true); err != nil {
		return fmt.Errorf("part: %w", err)
	}
	if err := os.Rename(staging, dir); err != nil {
		return fmt.Errorf("part: %w", err)
	}
	return syncDir(b.root)
}

// stagingPrefix begins the name of what is not finished.
const stagingPrefix = ".staging-"

// tell journals a part that the journal does not have: a new one, or one
// whose process died between its name and its event.
func (b *partBox) tell(key, id, dir string) error {
	b.mu.Lock()
	known := b.known[id]
	b.known[id] = true
	b.mu.Unlock()
	if known || b.record == nil {
		return nil
	}
	p := Part{ID: id, Key: key}
	if b.share != nil {
		var err error
		if p.Digest, err = b.share(dir); err != nil {
			return err
		}
	}
	return b.record(p)
}
