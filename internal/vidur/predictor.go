package vidur

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"calrun/internal/profile"
	"calrun/internal/trace"
)

// Names in the cache: predictorsPrefix begins that of a folder of trained
// predictors, stagingSuffix ends it while they are trained, and lockSuffix ends
// that of the file beside it that is locked by those who use or train them.
const (
	predictorsPrefix = "predictors-"
	stagingSuffix    = ".staging"
	lockSuffix       = ".lock"
)

// Source is the profile that a simulation rests on.
type Source struct {
	Sheets profile.Sheets
	Layers int // of the model, 0 if not known
}

// Predict makes the simulator ready: it lays out the copy of the profile that
// carries the setup's factors, and trains Vidur's predictors on it unless they
// are in the cache.
func (p Python) Predict(ctx context.Context, cache string, s Setup, from Source) (sim *Simulator, trained bool, err error) {
	if err := s.Check(); err != nil {
		return nil, false, err
	}
	files, err := copySheets(from.Sheets, s, p.Dialect, from.Layers)
	if err != nil {
		return nil, false, err
	}
	launcher := ""
	if s.Strange != (Strange{}) {
		vocab, err := vocabOf(from.Sheets.MLP, s.Strange.Model)
		if err != nil {
			return nil, false, err
		}
		launcher = s.launcher(vocab)
	}
	id := predictorID(p, s, files, launcher)
	sim = &Simulator{Python: p, Setup: s, dir: filepath.Join(cache, "vidur", predictorsPrefix+head(id)), paths: predictorPaths(id)}
	if sim.use() {
		return sim, false, nil
	}
	unlock, err := hold(ctx, sim.dir+lockSuffix)
	if err != nil {
		return nil, false, fmt.Errorf("train Vidur's predictors: %w", err)
	}
	defer unlock()
	if sim.use() {
		return sim, false, nil // another process was faster
	}
	prune(filepath.Dir(sim.dir), kept-1)
	return sim, true, sim.train(ctx, id, files, launcher)
}

// use says whether the predictors are there, and that they were used now.
func (s *Simulator) use() bool {
	now := time.Now()
	return os.Chtimes(s.dir, now, now) == nil
}

// kept is how many trained predictors stay in the cache, each of some hundred
// megabytes: a calibration trains one for each value that it tries.
const kept = 12

// prune removes the predictors that were not used for longest, and are not in
// use, until no more than most are left. What cannot be removed stays.
func prune(dir string, most int) {
	type old struct {
		path string
		used time.Time
	}
	var all []old
	entries, _ := os.ReadDir(dir) // a folder that is not there has none
	for _, e := range entries {
		info, err := e.Info()
		if err == nil && e.IsDir() && strings.HasPrefix(e.Name(), predictorsPrefix) {
			all = append(all, old{filepath.Join(dir, e.Name()), info.ModTime()})
		}
	}
	slices.SortFunc(all, func(a, b old) int { return a.used.Compare(b.used) })
	for _, x := range all[:max(0, len(all)-most)] {
		if release, ok := idle(strings.TrimSuffix(x.path, stagingSuffix) + lockSuffix); ok {
			_ = os.RemoveAll(x.path)
			release()
		}
	}
}

// predictorID is the digest of all that Vidur's predictors depend on. Vidur's
// own key leaves out the content of the profile, the forest, the granularity,
// the seed, the model and the card: here every one has a folder of its own.
func predictorID(p Python, s Setup, files sheets, launcher string) string {
	h := sha256.New()
	fmt.Fprint(h, launcher)
	fmt.Fprintf(h, "%s\n%s %s %s tp %d, block %d, seed %d, limits %v\n", p, s.Model, s.Device, s.Node, s.TP, s.BlockSize, s.Seed, s.Limits)
	fmt.Fprintf(h, "trees %d, depth %d, split %d, folds %d, threads 1\n", trees, depth, minSplit, folds)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		fmt.Fprintf(h, "%s %d\n", name, len(files[name]))
		h.Write(files[name])
	}
	return hex.EncodeToString(h.Sum(nil))
}

// predictorPaths are relative to the predictors' folder, which is Vidur's
// working folder: the repository's dialect keys its cache by the paths of the
// profile, and a folder that is renamed must not change them.
func predictorPaths(id string) Paths {
	return Paths{Cache: "cache", Sheets: "profile", Compute: "calrun/compute-" + head(id), Network: "calrun/network-" + head(id)}
}

// train trains in a folder beside the final one, by simulating one request,
// and renames it after success: a folder under its final name is complete.
// Vidur itself writes in place, and a run that is killed there spoils every
// later one.
func (s *Simulator) train(ctx context.Context, id string, files sheets, launcher string) error {
	staging := s.dir + stagingSuffix
	if err := os.RemoveAll(staging); err != nil {
		return fmt.Errorf("train Vidur's predictors: %w", err)
	}
	defer func() { _ = os.RemoveAll(staging) }() // gone already once it has its name
	if err := files.write(filepath.Join(staging, s.paths.Sheets)); err != nil {
		return err
	}
	if launcher != "" {
		if err := os.WriteFile(filepath.Join(staging, launcherFile), []byte(launcher), 0o644); err != nil {
			return fmt.Errorf("train Vidur's predictors: %w", err)
		}
	}
	if s.Python.Dialect == Registry {
		const revision = 40 // hexadecimal digits of a commit
		if err := files.datasets(filepath.Join(staging, s.paths.Cache), id[:revision], s.Setup, s.paths); err != nil {
			return err
		}
	}
	run := filepath.Join(staging, "training")
	if err := os.MkdirAll(run, 0o755); err != nil {
		return fmt.Errorf("train Vidur's predictors: %w", err)
	}
	here := *s
	here.dir = staging
	_, err := here.run(ctx, run, []trace.Request{{Prompt: 1, Output: 1}}, true)
	var crash *Crash
	switch {
	case errors.As(err, &crash): // of the profile or the setup: no operating point is at fault
		return fmt.Errorf("train Vidur's predictors: %s", crash.Reason)
	case err != nil:
		return fmt.Errorf("train Vidur's predictors: %w", err)
	}
	if err := os.Rename(staging, s.dir); err != nil {
		return fmt.Errorf("train Vidur's predictors: %w", err)
	}
	return nil
}
