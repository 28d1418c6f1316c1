package pipeline

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"calrun/pipeline/pack"
	"calrun/pipeline/store"

	"github.com/rs/zerolog"
)

// ReproduceOptions say how a run is reproduced.
type ReproduceOptions struct {
	Kinds   *Kinds
	Log     zerolog.Logger
	Page    func(*Past) (string, error) // see [AcceptOptions]
	Observe func(Check)                 // told of every check, one at a time
	Limit   int64                       // bytes that a pack may unpack to
	Engine  bool                        // ask the engines of measured steps whether they are still the same
	Rerun   bool                        // measure again, and judge whether the result is equivalent
	Margin  float64                     // with Rerun: how far again over recorded may be from 1; 0.1 is ten per cent
}

// Reproduction is what a reproduction found.
type Reproduction struct {
	Run     string  `json:"run"`
	Plan    string  `json:"plan"`
	Verdict Verdict `json:"verdict"` // of the accepted run
	Match   bool    `json:"match"`
	Unsure  bool    `json:"inconclusive"` // nothing differs, but an engine could not be asked, or a measurement not be shown to be equivalent
	Checks  []Check `json:"checks"`
}

// reproduction is one on its way.
type reproduction struct {
	ReproduceOptions
	out *Reproduction
	dir string // of the plan here
}

func (r *reproduction) tell(c Check) {
	r.out.Checks = append(r.out.Checks, c)
	if c.Finding == Different || c.Finding == Stale {
		r.out.Match = false
	}
	r.out.Unsure = r.out.Match && (r.out.Unsure || c.Finding == Undecided)
	if r.Observe != nil {
		r.Observe(c)
	}
}

// Reproduce checks an accepted run from its lock, and the plan and the pack
// beside it: exact and seeded steps run again with what was measured, decided
// and set in the run, gates are judged again, and every digest is compared.
// Nothing is written beside the lock. An error is what keeps it from being
// checked; one that is [ErrChanged] says that lock or pack are not as they were
// written.
func Reproduce(ctx context.Context, lockFile string, opt ReproduceOptions) (*Reproduction, error) {
	l, err := ReadLock(lockFile)
	if err != nil {
		return nil, err
	}
	r := &reproduction{ReproduceOptions: opt, out: &Reproduction{Run: l.Accepted.Run, Plan: l.Plan.Name, Verdict: l.Verdict, Match: true}}
	if r.dir, err = filepath.Abs(filepath.Dir(lockFile)); err != nil {
		return nil, err
	}
	r.tell(Check{What: "lock", Finding: Same, Note: fmt.Sprintf("%d accepted runs in its history", len(l.History))})
	file := filepath.Join(r.dir, filepath.Base(l.Pack.File))
	if err := checkPack(file, l.Pack); err != nil {
		return r.out, err
	}
	r.tell(Check{What: "pack", Finding: Same, Note: l.Pack.Digest})
	return r.out, r.replay(ctx, file, l)
}

// checkPack holds a pack against what its lock says of it.
func checkPack(file string, want LockedPack) error {
	info, err := pack.Look(file)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("the pack that the lock names is not beside it: %w", err)
	}
	if err == nil && (info.Digest != want.Digest || info.Size != want.Bytes) {
		err = fmt.Errorf("pack %s has the digest %s, its lock states %s: %w", file, info.Digest, want.Digest, ErrChanged)
	}
	return err
}

// files compares the plan, and the files that it reads, with those of the
// accepted run; source is the plan as it was.
func (r *reproduction) files(l *Lock, source []byte) {
	c := Check{What: "plan " + l.Plan.File, Finding: Same}
	text, err := os.ReadFile(filepath.Join(r.dir, filepath.Base(l.Plan.File)))
	switch {
	case err != nil:
		c.Finding, c.Note = Recorded, "not here; the pack has it"
	case store.Digest(text) != l.Plan.Digest:
		c.Finding, c.Note = Different, "edited since the run was accepted; what follows is about the plan as it was"
		c.First = &Difference{At: l.Plan.File, Old: l.Plan.Digest, New: store.Digest(text)}
		if c.Changed = planDifferences(l.Plan.File, source, text); len(c.Changed) > 0 {
			c.First, c.Fields = &c.Changed[0], len(c.Changed)
		}
	}
	r.tell(c)
	for _, d := range changedFiles(r.dir, l.Files) {
		c := Check{What: "file " + d.At, Finding: Different, Note: "changed since the run was accepted; what follows is about the file as it was", First: &d}
		if d.New == "" {
			c = Check{What: c.What, Finding: Recorded, Note: "not here, or not readable; what follows is about the file as it was"}
		}
		r.tell(c)
	}
}

// replay unpacks into a scratch store and goes through the run once more.
func (r *reproduction) replay(ctx context.Context, file string, l *Lock) error {
	scratch, err := os.MkdirTemp("", "calrun-reproduce-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(scratch) }()
	s, err := OpenStore(scratch)
	if err != nil {
		return err
	}
	id, err := s.Unpack(file, r.Limit)
	if err != nil {
		return err
	}
	runner := &Runner{Kinds: r.Kinds, Store: s, Log: r.Log}
	rp, err := newReplay(runner, id, r.dir, r.tell)
	if err != nil {
		return err
	}
	r.files(l, rp.recorded.PlanSource)
	rp.ask, rp.measure, rp.margin = r.Engine || r.Rerun, r.Rerun, r.Margin
	if rp.ask { // an engine may want its key
		if known, err := runner.secrets(rp.engine.plan); err == nil {
			rp.engine.secrets = known
		}
	}
	recorded, err := findings(rp.recorded, rp.engine.plan, l.Report)
	if err != nil {
		return err
	}
	// The lock must say what the journal says: whoever edits the one and mends
	// its digest has not edited the other.
	if !rp.compare("findings", asJSON(recorded), asJSON(l.Findings), "the lock says what the journal in the pack says") {
		return nil
	}
	if err := rp.run(ctx); err != nil {
		return err
	}
	return r.page(rp, l)
}

// page compares the digest of the page that the replay leads to.
func (r *reproduction) page(rp *replay, l *Lock) error {
	if r.Page == nil {
		return nil
	}
	digest, err := r.Page(rp.now)
	c := Check{What: "report", Finding: Same, Note: digest}
	switch {
	case err != nil:
		c.Finding, c.Note = Different, err.Error()
	case digest != l.Report:
		c.Finding, c.Note = Different, ""
		c.First = &Difference{At: "report", Old: cmp.Or(l.Report, "(absent)"), New: digest}
	}
	r.tell(c)
	return nil
}

// ReproduceRun checks a run of a store in the same way, from the lock and the
// pack that accepting it would write.
func (s *Store) ReproduceRun(ctx context.Context, id string, opt ReproduceOptions) (*Reproduction, error) {
	past, err := s.ReadRun(id)
	if err != nil {
		return nil, err
	}
	if past.State.Unfinished() {
		return nil, fmt.Errorf("run %s is %w: it is not finished; calrun resume goes on with it", id, ErrRefused)
	}
	dir, err := os.MkdirTemp("", "calrun-reproduce-*")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	file := filepath.Join(dir, filepath.Base(past.State.File))
	a := &Accepted{LockFile: LockFile(file), PackFile: PackFile(file)}
	if err := s.accept(past, nil, a, AcceptOptions{Kinds: opt.Kinds, Large: true, Page: opt.Page}); err != nil {
		return nil, err
	}
	r := &reproduction{ReproduceOptions: opt, dir: past.State.Dir, out: &Reproduction{Run: id, Plan: past.State.Plan, Verdict: past.State.Verdict, Match: true}}
	return r.out, r.replay(ctx, a.PackFile, a.Lock)
}

// IsLock says whether a name is that of a lock file.
func IsLock(name string) bool {
	return strings.HasSuffix(name, ".lock.yaml") || strings.HasSuffix(name, ".lock.yml")
}
