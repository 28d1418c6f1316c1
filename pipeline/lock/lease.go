package lock

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// Lease is what ties processes to the attempt of a step that they work for.
// As long as a process group works for it a file says so, and every process
// carries the attempt's name in its environment: so [End] finds those that a
// death left, also where they went to a group of their own. They hold the
// attempt's locks with it. The zero value and nil tie nothing.
type Lease struct {
	Dir  string // of the files, one for a run
	Mark string // the attempt: no other anywhere has this name
	Held *Held  // the attempt's locks
}

// leaseRecord is the file of a lease. A number that another process has got
// meanwhile started later; one from before the machine did names another boot.
type leaseRecord struct {
	Boot  string `json:"boot"`
	Group int    `json:"group"`
	Start uint64 `json:"start"` // of the group's leader, in ticks since the boot
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

// Hold takes down that a group works for the attempt, before it does, and
// returns what takes that back once the group has ended. If it did not end
// well, what it has started elsewhere is ended with it.
func (l *Lease) Hold(group int) (release func(well bool), err error) {
	if l == nil || l.Mark == "" {
		return func(bool) {}, nil
	}
	start, _, _ := stat(group)
	record := leaseRecord{Boot: boot(), Group: group, Start: start, Mark: l.Mark}
	data, err := json.Marshal(record)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(l.Dir, strconv.Itoa(group))
	if err := os.MkdirAll(l.Dir, 0o755); err != nil {
		return nil, fmt.Errorf("lease: %w", err)
	}
	// Beside its place first: half a lease names nobody.
	if err := os.WriteFile(path+".new", data, 0o644); err != nil {
		return nil, fmt.Errorf("lease: %w", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return nil, fmt.Errorf("lease: %w", err)
	}
	return func(well bool) {
		if !well && record.end() != nil {
			return // the lease stays, for a resume to try again
		}
		_ = os.Remove(path) // one that stays names nobody who lives
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
		if filepath.Ext(path) == "" && json.Unmarshal(data, &r) == nil {
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
