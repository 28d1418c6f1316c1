// Package lock takes exclusive locks that end with their process, however that
// dies: one file by [Try], names that the whole machine shares by [Host].
package lock

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// lockPoll is how often a lock that another process holds is tried again.
const lockPoll = 250 * time.Millisecond

// ErrHeld says that another process holds a lock.
var ErrHeld = errors.New("held by another process")

// Lock is an exclusive lock that ends with its process, however that dies.
type Lock struct{ f *os.File }

// Try takes the lock file at path, or returns errHeld. The file of
// another user is only read: in a shared folder it may not be opened to write.
func Try(path string) (*Lock, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		f, err = os.OpenFile(path, os.O_RDONLY|os.O_CREATE, 0o644)
	}
	if err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		f.Close()
		return nil, ErrHeld
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return &Lock{f: f}, nil
}

// Unlock releases the lock. The file stays: removing it would let two
// processes lock two files of one name.
func (l *Lock) Unlock() { l.f.Close() }

// Host takes the named host-wide locks, in sorted order so that two runs
// cannot wait for each other, and returns what releases them. wait is told
// once of each lock that another process holds.
func Host(ctx context.Context, dir string, names []string, wait func(name string)) (func(), error) {
	var held []*Lock
	release := func() {
		for _, l := range held {
			l.Unlock()
		}
	}
	if len(names) == 0 {
		return release, nil
	}
	if dir == "" {
		dir = defaultLockDir()
	}
	if err := lockDir(dir); err != nil {
		return nil, fmt.Errorf("make the lock folder: %w; set CALRUN_LOCKS to a folder that you may write", err)
	}
	names = slices.Compact(slices.Sorted(slices.Values(names)))
	for _, name := range names {
		l, err := waitLock(ctx, filepath.Join(dir, lockName(name)), func() { wait(name) })
		if err != nil {
			release()
			return nil, fmt.Errorf("lock %q: %w", name, err)
		}
		held = append(held, l)
	}
	return release, nil
}

// lockDir makes the folder of the locks, for every user of the machine: all
// may add a lock, nobody may remove another's.
func lockDir(dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	return os.Chmod(dir, 0o777|fs.ModeSticky)
}

// waitLock takes the lock at path as soon as it is free.
func waitLock(ctx context.Context, path string, held func()) (*Lock, error) {
	told := false
	for {
		l, err := Try(path)
		if !errors.Is(err, ErrHeld) {
			return l, err
		}
		if !told {
			held()
			told = true
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(lockPoll):
		}
	}
}

// defaultLockDir is shared by all checkouts and users of the machine.
func defaultLockDir() string {
	if dir := os.Getenv("CALRUN_LOCKS"); dir != "" {
		return dir
	}
	return filepath.Join(os.TempDir(), "calrun-locks")
}

// lockName makes a lock's name a file name, two names never the same file.
func lockName(name string) string {
	var b strings.Builder
	for _, c := range []byte(name) {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02x", c)
		}
	}
	return b.String() + ".lock"
}

// Open opens the lock file at path without taking it.
func Open(path string) (*Lock, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	return &Lock{f: f}, nil
}

// Share takes the lock together with others, and waits for one who has it
// alone.
func (l *Lock) Share() error {
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
