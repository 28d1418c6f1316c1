package pipeline

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"calrun/pipeline/kind"
	"calrun/pipeline/plan"
	"calrun/pipeline/store"
)

// askAgain asks the engine of a measured step whether it is still the same,
// and measures again if that is wanted. The replay goes on with the recorded
// result: only that one leads to the recorded digests.
func (rp *replay) askAgain(ctx context.Context, c *Check, r *Round, d *plan.Decl, old *StepState) {
	c.Finding, c.Note = rp.engineNow(ctx, d, old)
	if !rp.measure || c.Finding != Recorded {
		return
	}
	c.Finding = Undecided
	step, err := d.Kind.Decode(old.With)
	judge, able := step.(Equivalent)
	if err == nil && !able {
		err = fmt.Errorf("the kind %s has no measure of equivalence", d.Kind.Name)
	}
	if err == nil {
		err = rp.fetch(old)
	}
	if err != nil {
		c.Note = "not measured again: " + err.Error()
		return
	}
	result, _, err := rp.again(ctx, r, d, old)
	var found *Equivalence
	if err == nil {
		open := (&job{e: rp.engine, decl: d}).open
		found, err = judge.Equivalent(old.Result, result, open, rp.margin)
	}
	if err != nil {
		c.Note = "measured again, without a result to judge: " + err.Error()
		return
	}
	c.Note, c.Cells = found.Note, found.Cells
	switch found.Verdict {
	case string(Alike):
		c.Finding = Alike
	case string(Different):
		c.Finding = Different
	}
}

// fetch takes in the files that only measurements read: the pack leaves them
// out. They are looked for where the run had them, and in the same place below
// the plan's folder here.
func (rp *replay) fetch(old *StepState) error {
	s := rp.engine.runner.Store
	read := digestSet{}
	read.addIn(old.With)
	for _, digest := range read.sorted() {
		if s.Has(digest) {
			continue
		}
		name := digest
		for path, known := range rp.recorded.State.Imported {
			if known != digest {
				continue
			}
			name = path
			places := []string{path}
			if rel, err := filepath.Rel(rp.recorded.State.Dir, path); err == nil && filepath.IsLocal(rel) {
				places = append(places, filepath.Join(rp.engine.plan.Dir, rel))
			}
			for _, place := range places {
				now, err := store.DigestPath(place)
				if err == nil && now == digest {
					_, err = s.Put(place, false)
				}
				if err != nil && !errors.Is(err, os.ErrNotExist) {
					return err
				}
			}
		}
		if !s.Has(digest) {
			return fmt.Errorf("it reads %s (%s), which is neither in the pack nor here as it was", name, digest)
		}
	}
	return nil
}

// engineNow asks what a measured step depends on now: an engine that is
// another one than then makes its measurement stale.
func (rp *replay) engineNow(ctx context.Context, d *plan.Decl, old *StepState) (Finding, string) {
	step, err := d.Kind.Make(old.With, rp.engine.plan.Dir)
	if err == nil {
		err = rp.engine.secrets.reveal(step)
	}
	var id map[string]string
	if err == nil {
		id, err = kind.Identify(ctx, step)
	}
	if err != nil {
		note := "the engine cannot be asked whether it is still the same: " + err.Error()
		if rp.measure {
			note = "not measured again: " + note
		}
		return Undecided, note
	}
	for _, diff := range differences(old.ID, id) {
		return Stale, fmt.Sprintf("measured on another engine than answers now: %s: %s → %s", diff.At, diff.Old, diff.New)
	}
	if len(id) == 0 {
		return Recorded, "measured; it states nothing of what it was measured on, so that nothing could be asked"
	}
	return Recorded, "measured; still the same: " + strings.Join(sortedPairs(id), ", ")
}

// differences compares two identities.
func differences(old, now map[string]string) []Difference {
	var out []Difference
	for _, name := range namesOf(old, now) {
		if old[name] != now[name] {
			out = append(out, Difference{name, old[name], now[name]})
		}
	}
	return out
}
