package pipeline

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"calrun/pipeline/pack"
	"calrun/pipeline/plan"
	"calrun/pipeline/store"
)

// PackLimit is the size in bytes above which a pack is not for git.
const PackLimit = 20 << 20

// ErrRefused says that a run cannot be accepted as it is asked for.
var ErrRefused = errors.New("not accepted")

// AcceptOptions say how a run is accepted.
type AcceptOptions struct {
	Kinds   *Kinds
	Verdict Verdict // that the run may have beside pass
	Large   bool    // the pack may be larger than [PackLimit]
	// Page is the digest of the run's page without its provenance; nil if there
	// are no pages.
	Page func(*Past) (string, error)
}

// Accepted is what [Store.Accept] wrote.
type Accepted struct {
	Lock     *Lock
	LockFile string
	PackFile string
	Pack     PackInfo
}

// Accept writes the lock and the pack of a run beside its plan: what the run
// was made of, what it found, and what a reproduction needs from a fresh clone.
func (s *Store) Accept(id string, opt AcceptOptions) (*Accepted, error) {
	past, err := s.ReadRun(id)
	if err != nil {
		return nil, err
	}
	file := filepath.Join(past.State.Dir, filepath.Base(past.State.File))
	if err := acceptable(past, file, opt.Verdict); err != nil {
		return nil, fmt.Errorf("run %s is %w", id, err)
	}
	out := &Accepted{LockFile: LockFile(file), PackFile: PackFile(file)}
	before, err := ReadLock(out.LockFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		before = &Lock{}
	case err != nil:
		return nil, fmt.Errorf("the history of accepted runs goes on from the lock that is there: %w; restore it from git, or remove it to begin a new history", err)
	}
	return out, s.accept(past, before.History, out, opt)
}

// acceptable says what keeps a run from being accepted.
func acceptable(past *Past, file string, allowed Verdict) error {
	s := past.State
	if s.Unfinished() {
		return fmt.Errorf("%w: it is not finished; calrun resume goes on with it", ErrRefused)
	}
	if s.Verdict != Pass && s.Verdict != allowed {
		return fmt.Errorf("%w: its verdict is %s (%s); --verdict %s accepts it all the same",
			ErrRefused, s.Verdict, strings.Join(s.Reasons, "; "), s.Verdict)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("%w: its plan is not where it was: %w", ErrRefused, err)
	}
	if !bytes.Equal(text, past.PlanSource) {
		return fmt.Errorf("%w: %s was edited since: run it again, or restore the plan", ErrRefused, s.File)
	}
	if changed := changedFiles(s.Dir, localFiles(s)); len(changed) > 0 {
		d, did := changed[0], "changed"
		if d.New == "" {
			did = "is gone, or unreadable,"
		}
		return fmt.Errorf("%w: %s %s since: run the plan again, or restore the file", ErrRefused, d.At, did)
	}
	return nil
}

// changedFiles are the files below dir that are not what they were. New is
// empty for one that cannot be read.
func changedFiles(dir string, files map[string]string) []Difference {
	var out []Difference
	for _, name := range slices.Sorted(maps.Keys(files)) {
		got, err := store.DigestPath(filepath.Join(dir, filepath.FromSlash(name)))
		if err != nil {
			got = ""
		}
		if got != files[name] {
			out = append(out, Difference{At: name, Old: files[name], New: got})
		}
	}
	return out
}

// accept writes the pack, then the lock that names it.
func (s *Store) accept(past *Past, history []AcceptedPast, out *Accepted, opt AcceptOptions) error {
	p, err := recordedPlan(past, opt.Kinds, past.Given())
	if err != nil {
		return err
	}
	a, err := s.newArchive(past.State.Run)
	if err == nil {
		err = a.needs(past, p)
	}
	if err != nil {
		return fmt.Errorf("run %s cannot be packed: %w", past.State.Run, err)
	}
	page := ""
	if opt.Page != nil {
		if page, err = opt.Page(past); err != nil {
			return fmt.Errorf("the page of run %s: %w", past.State.Run, err)
		}
	}
	found, err := findings(past, p, page)
	if err != nil {
		return err
	}
	staged := out.PackFile + ".new"
	defer func() { _ = os.Remove(staged) }() // gone already when all went well
	if out.Pack, err = pack.Write(staged, a.entries); err != nil {
		return err
	}
	if out.Pack.Size > PackLimit && !opt.Large {
		return fmt.Errorf("run %s is %w: its pack has %.1f MB, more than the %d MB that belong into git; --large writes it all the same. Its largest files: %s",
			past.State.Run, ErrRefused, float64(out.Pack.Size)/(1<<20), PackLimit>>20, a.largest())
	}
	l := &Lock{
		Version: LockVersion, Findings: found,
		Pack:     LockedPack{filepath.Base(out.PackFile), out.Pack.Digest, out.Pack.Size},
		Accepted: Provenance{past.State.Run, past.State.Closed, past.State.Version},
	}
	if l.History, err = appendPast(history, l.past()); err != nil {
		return err
	}
	text, err := l.encode()
	if err != nil {
		return err
	}
	out.Lock = l
	err = os.Rename(staged, out.PackFile)
	if err == nil {
		err = writeWhole(out.LockFile, func(w io.Writer) error { _, err := w.Write(text); return err })
	}
	if err != nil {
		return fmt.Errorf("accept run %s: %w", past.State.Run, err)
	}
	return nil
}

// recordedPlan loads the plan that a run began with, as it was there: its
// files need not be here.
func recordedPlan(past *Past, kinds *Kinds, given map[string]string) (*Plan, error) {
	file := filepath.Join(past.State.Dir, filepath.Base(past.State.File))
	p, problems := LoadBytes(file, past.PlanSource, LoadOptions{Kinds: kinds, Inputs: given, Recorded: true})
	if err := problems.Err(); err != nil {
		return nil, fmt.Errorf("the plan that run %s began with does not load any more: %w", past.State.Run, err)
	}
	return p, nil
}

// needs takes in what a reproduction needs: what was measured, or made by a
// program from outside, and what is read by the steps that run again and made
// by none of them. Of what those make, only the names and digests of files.
func (a *archive) needs(past *Past, p *Plan) error {
	whole, read, made := digestSet{}, digestSet{}, digestSet{}
	each := func(st *StepState) error {
		if st == nil || st.Result == nil {
			return nil
		}
		again, err := runsAgain(p.Decl(st.Name), st)
		if err != nil || st.Repeat == Measured.String() {
			whole.addIn(st.Result)
			return err
		}
		in, out := digestSet{}, digestSet{}
		in.addIn(st.With)
		out.addIn(st.Result)
		for digest := range out {
			if in[digest] {
				continue // passed on
			}
			if again {
				made[digest] = true
			} else {
				whole[digest] = true
			}
		}
		for digest := range in {
			read[digest] = true
		}
		return nil
	}
	for _, st := range stepsOf(past.State) {
		if err := each(st); err != nil {
			return err
		}
	}
	for digest := range read {
		if !made[digest] {
			whole[digest] = true
		}
	}
	if err := a.values(past.Events); err != nil {
		return err
	}
	for _, digest := range whole.sorted() {
		if err := a.add(digest, false); err != nil {
			return err
		}
	}
	for _, digest := range made.sorted() {
		if err := a.add(digest, true); err != nil {
			return err
		}
	}
	return nil
}

// stepsOf lists the steps and remedies of a run, round by round.
func stepsOf(s *State) []*StepState {
	var out []*StepState
	for _, r := range s.Rounds {
		for _, name := range slices.Sorted(maps.Keys(r.Steps)) {
			out = append(out, r.Steps[name])
		}
		for _, t := range r.Routes() {
			if t.Remedy != nil {
				out = append(out, t.Remedy)
			}
		}
	}
	return out
}

// runsAgain says whether a reproduction can run a step with calrun alone.
func runsAgain(d *plan.Decl, st *StepState) (bool, error) {
	if st.Repeat == Measured.String() {
		return false, nil
	}
	step, err := d.Kind.Decode(st.With)
	if err != nil {
		return false, fmt.Errorf("%s: %w", st.Name, err)
	}
	return !outside(step), nil
}

func outside(step Step) bool {
	o, ok := step.(Outsider)
	return ok && o.Outside()
}

// largest names the largest files of a pack.
func (a *archive) largest() string {
	type file struct {
		name string
		size int64
	}
	var files []file
	for _, e := range a.entries {
		if info, err := os.Stat(e.Path); e.Path != "" && err == nil {
			files = append(files, file{e.Name, info.Size()})
		}
	}
	slices.SortFunc(files, func(x, y file) int { return int(y.size - x.size) })
	var out []string
	for _, f := range files[:min(3, len(files))] {
		out = append(out, fmt.Sprintf("%.24s… %.1f MB", f.name, float64(f.size)/(1<<20)))
	}
	return strings.Join(out, ", ")
}
