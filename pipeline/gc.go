package pipeline

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"calrun/pipeline/lock"
	"calrun/pipeline/store"
)

// GCOptions say what may go.
type GCOptions struct {
	Keep      int           // newest finished runs of each plan that stay
	OlderThan time.Duration // younger ones stay too; 0 spares none for its age
	DryRun    bool          // only say what would go
	Spare     []string      // runs that stay, and objects by digest: what a lock file names
	Now       time.Time
}

// Garbage is what went, or would go.
type Garbage struct {
	Runs    []string       `json:"runs"`    // oldest first
	Kept    map[string]int `json:"kept"`    // why → how many runs stay
	Objects int            `json:"objects"` // files of the store that nothing names any more
	Bytes   int64          `json:"bytes"`   // on the disk, of both; a file that a run shares with the store counts once
	DryRun  bool           `json:"dry_run"`
	Busy    bool           `json:"busy,omitempty"` // of a dry run: another process writes to the store, so that gc itself would not begin
}

// Reasons why a run stays.
const (
	keptNew        = "among the newest of its plan"
	keptYoung      = "too young"
	keptUnfinished = "not finished"
	keptBusy       = "being worked on"
	keptSpared     = "accepted or named"
)

// GC removes old runs, and the objects that no other run names. A run that is
// not finished or is being worked on stays, whatever its age. While another
// process writes to the store, which may be about to name an object, only a dry
// run works: it writes nothing. A death in the middle leaves a store that
// reads: a run goes by losing its name first, objects go after the runs that
// named them.
func (s *Store) GC(opt GCOptions) (*Garbage, error) {
	g := &Garbage{Runs: []string{}, Kept: map[string]int{}, DryRun: opt.DryRun}
	if opt.DryRun {
		g.Busy = s.Busy()
	} else {
		alone, err := s.Alone()
		if errors.Is(err, lock.ErrHeld) {
			return nil, fmt.Errorf("another calrun is writing to %s; try again when it has ended, --dry-run works meanwhile", s.dir)
		}
		if err != nil {
			return nil, err
		}
		defer alone.Unlock()
	}
	all, err := s.Summaries()
	if err != nil {
		return nil, err
	}
	seen := map[uint64]bool{} // files by inode, so that a link counts once
	named := map[string]bool{}
	for _, digest := range opt.Spare {
		s.name(digest, named)
	}
	later := map[string]int{} // plan → finished runs that are newer
	for _, r := range slices.Backward(all) {
		why := s.keeps(r, later[r.Plan], opt)
		if !r.Unfinished() && !r.Empty {
			later[r.Plan]++
		}
		if why == "" {
			g.Runs = append(g.Runs, r.Run)
			continue
		}
		g.Kept[why]++
		if err := s.nameAll(r.Run, named); err != nil {
			return nil, fmt.Errorf("run %s stays and cannot be read: %w; nothing was removed, since nobody knows what it needs", r.Run, err)
		}
	}
	slices.Reverse(g.Runs)
	return g, s.collect(g, named, seen)
}

// keeps says why a run stays, or "".
func (s *Store) keeps(r Summary, newer int, opt GCOptions) string {
	switch {
	case slices.Contains(opt.Spare, r.Run):
		return keptSpared
	case r.Unfinished() || r.Error != "" && !r.Empty:
		return keptUnfinished
	case newer < opt.Keep && !r.Empty:
		return keptNew
	case opt.OlderThan > 0 && opt.Now.Sub(s.began(r)) < opt.OlderThan:
		return keptYoung
	}
	if s.Working(r.Run) {
		return keptBusy
	}
	return ""
}

// began is when a run was opened, as far as its id tells if its journal does
// not.
func (s *Store) began(r Summary) time.Time {
	if !r.Opened.IsZero() {
		return r.Opened
	}
	at, _ := time.Parse("20060102-150405", r.Run[:len("20060102-150405")])
	return at
}

var digestText = regexp.MustCompile(`sha256:[0-9a-f]{64}`)

// nameAll adds every object that a run's journal names, and what it names in
// turn: results that are too large for the journal name artefacts.
func (s *Store) nameAll(run string, named map[string]bool) error {
	data, err := os.ReadFile(filepath.Join(s.RunDir(run), journalFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, digest := range digestText.FindAll(data, -1) {
		s.name(string(digest), named)
	}
	return err
}

func (s *Store) name(digest string, named map[string]bool) {
	if named[digest] || !strings.HasPrefix(digest, store.DigestPrefix) {
		return
	}
	named[digest] = true
	for _, inner := range s.Inside(digest) {
		named[inner] = true
	}
	// A result that left the journal for the store.
	if path, err := s.Open(digest); err == nil {
		if info, err := os.Stat(path); err == nil && info.Size() > inlineLimit {
			for _, inner := range digestsIn(path) {
				s.name(inner, named)
			}
		}
	}
}

// digestsIn are the digests that a JSON object in a file names, however large
// it is. That of a file which only looks like one keeps too much, never too
// little.
func digestsIn(path string) (out []string) {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	const cut = len(store.DigestPrefix) + 2*sha256.Size - 1 // the most of a digest that an end of buf cuts off
	buf := make([]byte, 0, 1<<20)
	for at := 0; ; at++ {
		n, err := io.ReadFull(f, buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if at == 0 && !bytes.HasPrefix(buf, []byte("{")) {
			return nil
		}
		for _, digest := range digestText.FindAll(buf, -1) {
			out = append(out, string(digest))
		}
		if err != nil { // its end, mostly
			return out
		}
		buf = buf[:copy(buf, buf[len(buf)-cut:])]
	}
}

// collect removes the runs and what only they named.
func (s *Store) collect(g *Garbage, named map[string]bool, seen map[uint64]bool) error {
	for _, id := range g.Runs {
		dir := s.RunDir(id)
		g.Bytes += sizeOf(dir, seen)
		if g.DryRun {
			continue
		}
		grave := filepath.Join(s.dir, runsDir, gravePrefix+id)
		if err := os.Rename(dir, grave); err != nil {
			return fmt.Errorf("remove run %s: %w", id, err)
		}
		if err := os.RemoveAll(grave); err != nil {
			return fmt.Errorf("remove run %s: %w", id, err)
		}
	}
	graves, err := filepath.Glob(filepath.Join(s.dir, runsDir, gravePrefix+"*"))
	if err != nil {
		return err
	}
	for _, grave := range graves { // of a gc that was killed
		g.Bytes += sizeOf(grave, seen)
		if !g.DryRun {
			if err := os.RemoveAll(grave); err != nil {
				return err
			}
		}
	}
	err = s.Sweep(named, g.DryRun, func(path string) {
		g.Objects++
		g.Bytes += sizeOf(path, seen)
	})
	if err == nil && !g.DryRun {
		_, err = s.Index()
	}
	return err
}

// gravePrefix begins the name of a run that is being removed: no run has it.
const gravePrefix = ".removed-"

// sizeOf is what the files at and below a path take, each inode once.
func sizeOf(root string, seen map[uint64]bool) (bytes int64) {
	_ = filepath.WalkDir(root, func(_ string, d fs.DirEntry, err error) error { // what cannot be read has no size
		if err != nil || d.IsDir() {
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return nil
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			if seen[st.Ino] {
				return nil
			}
			seen[st.Ino] = true
		}
		bytes += info.Size()
		return nil
	})
	return bytes
}
