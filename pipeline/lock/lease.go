package lock

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
)

// Lease is what ties processes to the attempt of a step that they work for.
// As long as a process works for it a file says so, and every process carries
// the attempt's name in its environment: so [End] finds those that a death
// left, wherever they went. They hold the attempt's locks with it. The zero
// value and nil tie nothing.
type Lease struct {
	In   *Leases
	Mark string // the attempt: no other anywhere has this name
	Held *Held  // the attempt's locks
}

// Leases are the files of a run's leases. They are used again, empty in
// between: to make and remove one for each process is the file system's
// dearest work.
type Leases struct {
	Dir string

	mu   sync.Mutex
	idle []*os.File
}

// take lends an empty file.
func (ls *Leases) take() (*os.File, error) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if n := len(ls.idle); n > 0 {
		f := ls.idle[n-1]
		ls.idle = ls.idle[:n-1]
		return f, nil
	}
	if err := os.MkdirAll(ls.Dir, 0o755); err != nil {
		return nil, err
	}
	return os.CreateTemp(ls.Dir, "")
}

// give takes a file back. One that cannot be emptied is of no more use: the
// next lease in it could not be read.
func (ls *Leases) give(f *os.File) {
	if f.Truncate(0) != nil {
		_ = errors.Join(os.Remove(f.Name()), f.Close())
		return
	}
	ls.mu.Lock()
	defer ls.mu.Unlock()
	ls.idle = append(ls.idle, f)
}

// Close removes the files that are not lent.
func (ls *Leases) Close() {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	for _, f := range ls.idle {
		_ = errors.Join(os.Remove(f.Name()), f.Close())
	}
	ls.idle = nil
}

// leaseRecord is the file of a lease. The guard is whoever ends what a death
// leaves, that without a name too; 0 is nobody. A number that another process
// has got meanwhile started later; one from before the machine did names
// another boot.
type leaseRecord struct {
	Boot  string `json:"boot"`
	Guard int    `json:"guard,omitempty"`
	Start uint64 `json:"start,omitempty"` // of the guard, in ticks since the boot
	Mark  string `json:"mark"`
}

// markName is the variable that names the attempt.
const markName = "CALRUN_ATTEMPT"

// Env is the variable by which a process is known, or empty.
func (l *Lease) Env() string {
	if l == nil || l.Mark == "" {
		return ""
	}
	return markName + "=" + l.Mark
}

// Files are the locks' files, to be inherited.
func (l *Lease) Files() []*os.File {
	if l == nil || l.Held == nil {
		return nil
	}
	return l.Held.Files()
}

// Hold takes down that a process is about to work for the attempt, and which
// guard watches over it. What it returns takes that back once the process has
// ended. If it did not end well, what it has started is ended with it.
func (l *Lease) Hold(guard int) (release func(well bool), err error) {
	if l == nil || l.Mark == "" {
		return func(bool) {}, nil
	}
	record := leaseRecord{Boot: boot(), Mark: l.Mark}
	if start, _, ok := stat(guard); ok {
		record.Guard, record.Start = guard, start
	}
	data, err := json.Marshal(record)
	if err != nil {
		return nil, err
	}
	f, err := l.In.take()
	if err != nil {
		return nil, fmt.Errorf("lease: %w", err)
	}
	if _, err := f.WriteAt(data, 0); err != nil { // if calrun dies in it, there is no process yet that it should have named
		l.In.give(f)
		return nil, fmt.Errorf("lease: %w", err)
	}
	return func(well bool) {
		record.Guard = 0 // it is calrun's still, and stays
		if !well && record.end() != nil {
			_ = f.Close() // the lease stays, for a resume to try again
			return
		}
		l.In.give(f)
	}, nil
}

// End kills what the leases in dir name and waits until it is gone, so that
// what it worked for can be run again. Whoever calls it holds the run: the
// process that took the leases is dead.
func End(dir string) error {
	entries, err := os.ReadDir(dir)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("leases: %w", err)
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		data, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("leases: %w", err)
		}
		var r leaseRecord
		if json.Unmarshal(data, &r) == nil {
			if err := r.end(); err != nil {
				return err
			}
		}
		if err := os.Remove(path); err != nil {
			return fmt.Errorf("leases: %w", err)
		}
	}
	return nil
}
