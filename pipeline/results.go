package pipeline

import (
	"encoding/json"
	"slices"
	"sync"

	"calrun/pipeline/state"
)

// results are what the other runs of a store have found, read from their
// journals as far as a step asks. The journals are the truth; the index only
// says which of them to open.
type results struct {
	keep bool // what had to be read may be kept in the index
	once sync.Once
	runs []Summary // oldest first, without the run itself

	mu     sync.Mutex
	opened map[string][]*resolution // run → what its journal has
}

// resolution is a step in a round of a run: what it was to work on, and what
// came of that.
type resolution struct {
	run, plan string
	round     int
	step      string
	resolved  *state.Resolved
	value     *state.Value // nil without a result
	failed    string       // why there is none, if that was said
}

// byKey returns the newest result with that key, of the run only if it is
// named; nil if there is none whose artefacts are still in the store.
func (rs *results) byKey(s *Store, self, only, key string) (*resolution, error) {
	rs.read(s, self)
	for _, run := range slices.Backward(rs.runs) {
		if only != "" && run.Run != only || !slices.Contains(run.Keys, shortKey(key)) {
			continue
		}
		found, err := rs.inRun(s, run.Run, func(past *state.Resolved) bool { return past.Key == key })
		if found != nil || err != nil {
			return found, err
		}
	}
	return nil, nil
}

// matching returns the newest result of a run that fits.
func (rs *results) matching(s *Store, self, run string, fits func(*state.Resolved) bool) (*resolution, error) {
	if run == self {
		return nil, nil
	}
	return rs.inRun(s, run, fits)
}

func (rs *results) inRun(s *Store, run string, fits func(*state.Resolved) bool) (*resolution, error) {
	for _, r := range slices.Backward(rs.resolutions(s, run)) {
		if r.value == nil || !fits(r.resolved) {
			continue
		}
		known := *r.value // several steps may ask at once
		if err := s.load(&known); err != nil || !s.whole(known.JSON) {
			continue // removed since: it is made again
		}
		v, err := s.value(known.JSON)
		return &resolution{run: r.run, plan: r.plan, round: r.round, step: r.step, resolved: r.resolved, value: v}, err
	}
	return nil, nil
}

// part returns the digest of a part that another run made, or "".
func (rs *results) part(s *Store, self, id string) string {
	rs.read(s, self)
	for _, run := range slices.Backward(rs.runs) {
		if digest := run.Parts[id]; digest != "" && s.Has(digest) {
			return digest
		}
	}
	return ""
}

// read learns which runs there are.
func (rs *results) read(s *Store, self string) {
	rs.once.Do(func() {
		list := s.Summaries
		if rs.keep {
			list = s.Index
		}
		all, err := list()
		if err != nil {
			return // no run that can be read is no reason to stop this one
		}
		rs.runs = slices.DeleteFunc(all, func(r Summary) bool { return r.Run == self })
	})
}

// resolutions are those of a run, in the order of its journal. A journal that
// cannot be read is no reason to stop this run: its results are made again.
func (rs *results) resolutions(s *Store, run string) []*resolution {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if all, there := rs.opened[run]; there {
		return all
	}
	var all []*resolution
	if events, err := s.readJournal(run); err == nil {
		all = resolutionsOf(run, events)
	}
	if rs.opened == nil {
		rs.opened = map[string][]*resolution{}
	}
	rs.opened[run] = all
	return all
}

// resolutionsOf finds them among the events of a run.
func resolutionsOf(run string, events []Event) []*resolution {
	var all []*resolution
	plan := ""
	open := map[string]*resolution{} // step → what it was last resolved to
	for _, e := range events {
		last := open[e.Step]
		switch {
		case e.Type == state.EventOpened && e.Opened != nil:
			plan = e.Opened.Plan
		case e.Type == state.EventResolved && e.Resolved != nil:
			r := &resolution{run: run, plan: plan, round: e.Round, step: e.Step, resolved: e.Resolved, value: e.Resolved.Result}
			open[e.Step], all = r, append(all, r)
		case e.Type == state.EventDone && last != nil:
			last.value, last.failed = e.Result, ""
		case e.Type == state.EventFailed && last != nil && last.value == nil:
			last.failed = e.Why
		}
	}
	return all
}

// whole says whether the store still has every artefact that a result names,
// unchanged.
func (s *Store) whole(result json.RawMessage) bool {
	named := digestSet{}
	named.addIn(result)
	for digest := range named {
		if s.Check(digest) != nil {
			return false
		}
	}
	return true
}
