package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"calrun/pipeline"
)

// storeName is the folder of runs beside a plan.
const storeName = ".calrun"

// storeOf opens the store of a plan: --dir, else beside it.
func (a *app) storeOf(plan string) (*pipeline.Store, error) {
	if a.dir != "" {
		return pipeline.OpenStore(a.dir)
	}
	return pipeline.OpenStore(filepath.Join(filepath.Dir(plan), storeName))
}

// store opens the store for verbs that name no plan: --dir, else the one in
// the current folder, else the only one in a folder just below it.
func (a *app) store() (*pipeline.Store, error) {
	if a.dir != "" {
		if _, err := os.Stat(a.dir); err != nil {
			return nil, usageError{fmt.Errorf("--dir %s: there are no runs: %w", a.dir, err)}
		}
		inside := filepath.Join(a.dir, storeName)
		_, own := os.Stat(filepath.Join(a.dir, "runs"))
		if _, err := os.Stat(inside); err == nil && own != nil {
			return nil, usageError{fmt.Errorf("--dir %s is the folder of a plan; its runs are in --dir %s", a.dir, inside)}
		}
		return pipeline.OpenStore(a.dir)
	}
	if _, err := os.Stat(storeName); err == nil {
		return pipeline.OpenStore(storeName)
	}
	below, err := filepath.Glob(filepath.Join("*", storeName))
	if err != nil {
		return nil, err
	}
	switch len(below) {
	case 0:
		return nil, usageError{fmt.Errorf("there are no runs here (no %s in this folder or just below it); go to the plan's folder or give --dir", storeName)}
	case 1:
		return pipeline.OpenStore(below[0])
	}
	return nil, usageError{fmt.Errorf("there are runs in %s; say which by --dir", strings.Join(below, " and "))}
}

// past is the run that the first argument names, without one the newest.
func (a *app) past(given []string) (*pipeline.Past, error) {
	s, id, err := a.find(given)
	if err != nil {
		return nil, err
	}
	return s.ReadRun(id)
}

// find is where runs are, and the id of the one that the first argument
// names, without one of the newest. Nothing of the run is read.
func (a *app) find(given []string) (*pipeline.Store, string, error) {
	s, err := a.store()
	if err != nil {
		return nil, "", err
	}
	name := "latest"
	if len(given) > 0 {
		name = given[0]
	}
	id, err := runID(s, name)
	return s, id, err
}

// runID finds a run by its id, by a prefix or suffix of it that no other run
// has, or as "latest" (also the meaning of an empty name).
func runID(s *pipeline.Store, name string) (string, error) {
	all, err := s.Index()
	if err != nil {
		return "", err
	}
	ids := make([]string, len(all))
	for i, r := range all {
		ids[i] = r.Run
	}
	if len(ids) == 0 {
		return "", usageError{fmt.Errorf("there are no runs in %s yet; calrun run PLAN makes one", s.Dir())}
	}
	if name == "" || name == "latest" {
		return newest(all), nil
	}
	var found []string
	for _, id := range ids {
		if id == name {
			return id, nil
		}
		if strings.HasPrefix(id, name) || strings.HasSuffix(id, name) {
			found = append(found, id)
		}
	}
	switch len(found) {
	case 0:
		return "", usageError{fmt.Errorf("no run %q in %s%s", name, s.Dir(), didYouMean(name, ids))}
	case 1:
		return found[0], nil
	}
	return "", usageError{fmt.Errorf("%q fits %d runs: %s", name, len(found), strings.Join(found, ", "))}
}

// newest is the last of the runs that was opened, if any was.
func newest(all []pipeline.Summary) string {
	for _, r := range slices.Backward(all) {
		if !r.Empty {
			return r.Run
		}
	}
	return all[len(all)-1].Run
}

// unfinished is the newest run that a resume has something to do for.
func unfinished(s *pipeline.Store) (string, error) {
	all, err := s.Index()
	if err != nil {
		return "", err
	}
	for _, r := range slices.Backward(all) {
		if r.Unfinished() {
			return r.Run, nil
		}
	}
	return "", usageError{fmt.Errorf("every run in %s is finished; there is nothing to resume", s.Dir())}
}
