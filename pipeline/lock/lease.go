package lock

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Lease is what ties processes to the attempt of a step that they work for.
// As long as a process works for it a file says so, and every process carries
// the attempt's name in its environment: so [End] finds those that a death
// left, wherever they went. They hold the attempt's locks with it. The zero
// value and nil tie nothing.
type Lease struct {
	Dir  string // of the files, one for a run
	Mark string // the attempt: no other anywhere has this name
	Held *Held  // the attempt's locks
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
	path, err := l.write(data)
	if err != nil {
		return nil, fmt.Errorf("lease: %w", err)
	}
	return func(well bool) {
		record.Guard = 0 // it is calrun's still, and stays
		if !well && record.end() != nil {
			return // the lease stays, for a resume to try again
		}
		_ = os.Remove(path) // one that stays names nobody who lives
	}, nil
}

// write writes a new file. If calrun dies in it, there is no process yet that
// half a lease should have named.
func (l *Lease) write(data []byte) (path string, err error) {
	f, err := os.CreateTemp(l.Dir, "")
	if errors.Is(err, fs.ErrNotExist) {
		if err = os.MkdirAll(l.Dir, 0o755); err == nil {
			f, err = os.CreateTemp(l.Dir, "")
		}
	}
	if err != nil {
		return "", err
	}
	_, err = f.Write(data)
	return f.Name(), errors.Join(err, f.Close())
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
