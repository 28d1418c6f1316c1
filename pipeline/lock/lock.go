// Package lock takes exclusive locks that end with their process, however that
// dies: one file by [Try], names that the whole machine shares by [Host],
// first come first served. A [Lease] ties the processes that work for an
// attempt to it, so that none of them is still at work when it is run again.
package lock

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"calrun/internal/failpoint"

	"golang.org/x/sys/unix"
)

// ErrHeld says that another process holds a lock.
var ErrHeld = errors.New("held by another process")

// Lock is an exclusive lock that ends with its process, however that dies.
type Lock struct{ f *os.File }

// Try takes the lock file or folder at path, or returns [ErrHeld].
func Try(path string) (*Lock, error) {
	l, err := openOrMake(path)
	if err != nil {
		return nil, err
	}
	failpoint.At("lock.take")
	err = unix.Flock(int(l.f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		l.f.Close()
		return nil, ErrHeld
	}
	if err != nil {
		l.f.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	failpoint.At("lock.taken")
	return l, nil
}

// openOrMake opens a lock file, to write if we may: one of another user, or
// in a folder that is only lent to us, may be read, and that is enough to
// lock it.
func openOrMake(path string) (*Lock, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		f, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
		if err == nil {
			_ = f.Chmod(0o666) // the umask took the others' right to write; a lock is held without it
		}
	}
	if err != nil {
		f, err = os.Open(path)
	}
	if err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	return &Lock{f: f}, nil
}

// Unlock releases the lock. The file stays: removing it would let two
// processes lock two files of one name.
func (l *Lock) Unlock() {
	failpoint.At("lock.release")
	// A child that was lent the file may have left it to somebody: the lock
	// itself is given up, not only our hold of it.
	_ = unix.Flock(int(l.f.Fd()), unix.LOCK_UN)
	l.f.Close()
}

// Open opens the lock file at path without taking it.
func Open(path string) (*Lock, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	return &Lock{f: f}, nil
}

// Taken says whether somebody has the lock file or folder at path alone.
// Nothing is written.
func Taken(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	return errors.Is(unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB), unix.EWOULDBLOCK)
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
