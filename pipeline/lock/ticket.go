package lock

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"calrun/internal/failpoint"

	"golang.org/x/sys/unix"
)

// ticket is a place in the queue before a lock: a file whose name says when
// its process came. It counts as long as that process holds the file's own
// lock, so one who died in the queue keeps nobody waiting.
type ticket struct {
	name string
	path string
	lock *Lock
}

// beingDrawn begins the name of a ticket that is not locked yet.
const beingDrawn = ".new-"

// draw takes a place at the end of the queue. The file gets its name when it
// is locked: without the lock it would be taken for a dead one's.
func draw(queue string) (*ticket, error) {
	if err := sharedDir(queue); err != nil {
		return nil, fmt.Errorf("queue: %w", err)
	}
	var at unix.Timespec // since the machine's start: the same clock for all, and nobody sets it
	if err := unix.ClockGettime(bootClock, &at); err != nil {
		return nil, fmt.Errorf("queue: %w", err)
	}
	name := fmt.Sprintf("%020d-%d-", at.Nano(), os.Getpid())
	f, err := os.CreateTemp(queue, beingDrawn+name+"*")
	if err != nil {
		return nil, fmt.Errorf("queue: %w", err)
	}
	failpoint.At("lock.draw")
	t := &ticket{
		name: strings.TrimPrefix(filepath.Base(f.Name()), beingDrawn), path: f.Name(), lock: &Lock{f: f},
	}
	err = errors.Join(f.Chmod(0o644), unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB))
	if err == nil {
		path := filepath.Join(queue, t.name)
		if err = os.Rename(t.path, path); err == nil {
			t.path = path
		}
	}
	if err != nil {
		t.drop()
		return nil, fmt.Errorf("queue: %w", err)
	}
	failpoint.At("lock.drawn")
	return t, nil
}

// waits says whether somebody is in the queue before the ticket; without a
// ticket everybody is. Tickets of the dead are cleared away, as far as they
// are ours.
func (t *ticket) waits(queue string) bool {
	entries, err := os.ReadDir(queue) // in the order of names
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false // a queue that cannot be read is none: the lock itself still excludes
	}
	for _, e := range entries {
		if t != nil && e.Name() >= t.name {
			return false
		}
		if strings.HasPrefix(e.Name(), beingDrawn) {
			continue
		}
		path := filepath.Join(queue, e.Name())
		if Taken(path) {
			return true
		}
		_ = os.Remove(path)
	}
	return false
}

// drop leaves the queue.
func (t *ticket) drop() {
	if t == nil {
		return
	}
	_ = os.Remove(t.path) // the folder of another user may keep it: it is a dead one's then
	t.lock.Unlock()
}
