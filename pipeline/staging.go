package pipeline

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// enter makes the caller one of the store's writers, until the lock that it
// returns ends. Objects are staged by writers alone, so whoever is alone here
// clears away what the staging folder holds: a dead process left it.
func (s *Store) enter() (*fileLock, error) {
	dir := filepath.Join(s.dir, stagingDir)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	l, err := tryLock(dir)
	if err == nil {
		err = clearStaging(dir)
	}
	if errors.Is(err, errHeld) {
		l, err = openLock(dir)
	}
	if err == nil {
		// Between the two locks another writer may be alone for a moment;
		// nothing is staged here yet.
		err = l.share()
	}
	if err != nil {
		if l != nil {
			l.unlock()
		}
		return nil, fmt.Errorf("store: %w", err)
	}
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

// openLock opens the lock file at path without taking it.
func openLock(path string) (*fileLock, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	return &fileLock{f: f}, nil
}

// share takes the lock together with others, and waits for one who has it
// alone.
func (l *fileLock) share() error {
	for {
		err := unix.Flock(int(l.f.Fd()), unix.LOCK_SH)
		if errors.Is(err, unix.EINTR) {
			continue // a signal, as the one that pauses a goroutine
		}
		if err != nil {
			return fmt.Errorf("lock %s: %w", l.f.Name(), err)
		}
		return nil
	}
}
