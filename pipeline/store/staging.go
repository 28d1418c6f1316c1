package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"calrun/internal/failpoint"
	"calrun/pipeline/lock"
)

// Enter makes the caller one of the store's writers, until the lock that it
// returns ends. Objects are staged by writers alone, so whoever is alone here
// clears away what the staging folder holds: a dead process left it.
func (o *Objects) Enter() (*lock.Lock, error) {
	dir := filepath.Join(o.dir, stagingDir)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	failpoint.At("store.enter")
	l, err := lock.Try(dir)
	if err == nil {
		failpoint.At("store.clear")
		err = clearStaging(dir)
	}
	if errors.Is(err, lock.ErrHeld) {
		l, err = lock.Open(dir)
	}
	if err == nil {
		// Between the two locks another writer may be alone for a moment;
		// nothing is staged here yet.
		err = l.Share()
	}
	if err != nil {
		if l != nil {
			l.Unlock()
		}
		return nil, fmt.Errorf("store: %w", err)
	}
	failpoint.At("store.entered")
	return l, nil
}

// clearStaging empties the staging folder.
func clearStaging(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
			return fmt.Errorf("clear away what a dead process left: %w", err)
		}
	}
	return nil
}
