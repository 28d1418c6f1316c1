package lock

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// poll is how often one who waits looks whether it is its turn.
const poll = 50 * time.Millisecond

// Claim is what [Host] is asked for.
type Claim struct {
	Dir   string   // of the locks; default CALRUN_LOCKS, else one folder for the whole machine
	Names []string // of the locks
	By    Holder   // what the others are told; PID is filled in
	Wait  func(name string, by Holder)
}

// Holder is who holds a lock, for those who wait.
type Holder struct {
	PID   int       `json:"pid"`
	Plan  string    `json:"plan,omitempty"`
	Run   string    `json:"run,omitempty"`
	Step  string    `json:"step,omitempty"`
	Since time.Time `json:"since"`
}

func (h Holder) String() string {
	if h.PID == 0 {
		return "another process"
	}
	text := fmt.Sprintf("process %d", h.PID)
	switch {
	case h.Plan != "":
		text += fmt.Sprintf(" (plan %s, step %s, run %s)", h.Plan, h.Step, h.Run)
	case h.Step != "":
		text += fmt.Sprintf(" (calrun step %s)", h.Step)
	}
	return text + " since " + h.Since.Local().Format("15:04:05")
}

// Held are locks that were taken.
type Held struct{ locks []*Lock }

// Release gives the locks back.
func (h *Held) Release() {
	for _, l := range slices.Backward(h.locks) {
		_ = l.f.Truncate(0) // the holder's name; it is of no weight
		l.Unlock()
	}
	h.locks = nil
}

// Files are the open files of the locks. A process that inherits one holds
// the lock with us, until [Held.Release] or, if we die, until its own end.
func (h *Held) Files() []*os.File {
	var out []*os.File
	for _, l := range h.locks {
		out = append(out, l.f)
	}
	return out
}

// Host takes the named host-wide locks, in sorted order so that two runs
// cannot wait for each other. Who waits is served in the order of coming.
// Claim.Wait is told of each lock that another process holds, again when that
// is another one.
func Host(ctx context.Context, c Claim) (*Held, error) {
	h := &Held{}
	if len(c.Names) == 0 {
		return h, nil
	}
	if c.Dir == "" {
		c.Dir = defaultDir()
	}
	if err := sharedDir(c.Dir); err != nil {
		return nil, fmt.Errorf("make the lock folder: %w; set CALRUN_LOCKS to a folder that you may write", err)
	}
	for _, name := range slices.Compact(slices.Sorted(slices.Values(c.Names))) {
		l, err := take(ctx, filepath.Join(c.Dir, fileName(name)), func(by Holder) { c.Wait(name, by) })
		if err != nil {
			h.Release()
			return nil, fmt.Errorf("lock %q: %w", name, err)
		}
		c.By.PID, c.By.Since = os.Getpid(), time.Now()
		l.sign(c.By)
		h.locks = append(h.locks, l)
	}
	return h, nil
}

// take takes the lock at path as soon as it is free and nobody came before.
func take(ctx context.Context, path string, held func(Holder)) (*Lock, error) {
	queue := strings.TrimSuffix(path, suffix) + ".queue"
	var mine *ticket
	defer func() { mine.drop() }()
	told := Holder{PID: -1}
	for {
		if !mine.waits(queue) {
			l, err := Try(path)
			if !errors.Is(err, ErrHeld) {
				return l, err
			}
		}
		if mine == nil {
			var err error
			if mine, err = draw(queue); err != nil {
				return nil, err
			}
			continue
		}
		if by := signed(path); by != told {
			held(by)
			told = by
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(poll):
		}
	}
}

// sign writes who holds the lock; where the file may only be read the others
// are told less.
func (l *Lock) sign(by Holder) {
	if data, err := json.Marshal(by); err == nil {
		_ = l.f.Truncate(0)
		_, _ = l.f.WriteAt(append(data, '\n'), 0)
	}
}

// signed reads who holds the lock.
func signed(path string) Holder {
	var by Holder
	f, err := os.Open(path)
	if err != nil {
		return by
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, 64<<10))
	if err != nil || json.Unmarshal(data, &by) != nil {
		return Holder{} // it has just been taken, or belongs to a user who signs nothing
	}
	return by
}

// sharedDir makes a folder for every user of the machine: all may add a file,
// nobody may remove another's.
func sharedDir(dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	return os.Chmod(dir, 0o777|fs.ModeSticky)
}

// defaultDir is shared by all checkouts and users of the machine, whatever
// their TMPDIR: the system's lock folder where everybody may write to it.
func defaultDir() string {
	if dir := os.Getenv("CALRUN_LOCKS"); dir != "" {
		return dir
	}
	const system = "/run/lock"
	if info, err := os.Stat(system); err == nil && info.Mode().Perm()&0o002 != 0 {
		return filepath.Join(system, "calrun")
	}
	return "/tmp/calrun-locks"
}

// suffix ends the name of a lock's file.
const suffix = ".lock"

// fileName makes a lock's name a file name, two names never the same file.
func fileName(name string) string {
	var b strings.Builder
	for _, c := range []byte(name) {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02x", c)
		}
	}
	return b.String() + suffix
}
