package pipeline

import (
	"encoding/json"
	"slices"
	"sync"

	"calrun/pipeline/canonical"
	"calrun/pipeline/state"
)

// results are what the other runs of a store have found, read from their
// journals once, when the first step asks. The journals are the only index
// there is, so nothing can disagree with them.
type results struct {
	once  sync.Once
	all   []finding         // oldest run first
	parts map[string]string // part id → digest of its tree
}

// finding is a result in another run.
type finding struct {
	run, key string
	id       map[string]string
	value    *state.Value
}

// byKey returns the newest result with that key, of the run only if it is
// named; nil if there is none whose artefacts are still in the store.
func (rs *results) byKey(s *Store, self, only, key string) (*finding, error) {
	return rs.matching(s, self, only, func(_ map[string]string, k string) bool { return k == key })
}

func (rs *results) matching(s *Store, self, only string, match func(id map[string]string, key string) bool) (*finding, error) {
	rs.read(s, self)
	for i := range slices.Backward(rs.all) {
		f := rs.all[i]
		if only != "" && f.run != only || !match(f.id, f.key) {
			continue
		}
		known := *f.value // several steps may ask at once
		if err := s.load(&known); err != nil || !s.whole(known.JSON) {
			continue // removed since: it is made again
		}
		v, err := s.value(known.JSON)
		return &finding{run: f.run, key: f.key, id: f.id, value: v}, err
	}
	return nil, nil
}

// part returns the digest of a part that another run made, or "".
func (rs *results) part(s *Store, self, id string) string {
	rs.read(s, self)
	if digest := rs.parts[id]; digest != "" && s.Has(digest) {
		return digest
	}
	return ""
}

// read goes through the journals of all other runs. One that cannot be read
// is no reason to stop this run: its results are made again.
func (rs *results) read(s *Store, self string) {
	rs.once.Do(func() {
		rs.parts = map[string]string{}
		ids, err := s.Runs()
		if err != nil {
			return
		}
		for _, id := range ids {
			if id != self {
				rs.readRun(s, id)
			}
		}
	})
}

func (rs *results) readRun(s *Store, id string) {
	events, err := s.readJournal(id)
	if err != nil {
		return
	}
	open := map[string]*state.Resolved{} // step → what it was last resolved to
	for _, e := range events {
		switch {
		case e.Type == state.EventResolved && e.Resolved != nil:
			open[e.Step] = e.Resolved
			if e.Resolved.Result != nil {
				rs.all = append(rs.all, finding{run: id, key: e.Resolved.Key, id: e.Resolved.ID, value: e.Resolved.Result})
			}
		case e.Type == state.EventDone && open[e.Step] != nil:
			r := open[e.Step]
			rs.all = append(rs.all, finding{run: id, key: r.Key, id: r.ID, value: e.Result})
		case e.Type == state.EventPart && e.Part.Digest != "":
			rs.parts[e.Part.ID] = e.Part.Digest
		}
	}
}

// whole says whether the store still has every artefact that a result names.
func (s *Store) whole(result json.RawMessage) bool {
	tree, err := canonical.DecodeFloats(result)
	return err == nil && s.wholeTree(tree)
}

func (s *Store) wholeTree(v any) bool {
	switch x := v.(type) {
	case []any:
		for _, e := range x {
			if !s.wholeTree(e) {
				return false
			}
		}
	case map[string]any:
		_, sort := x["artefact"].(string)
		if digest, ok := x["digest"].(string); sort && ok && len(x) == 2 {
			return digest == "" || s.Has(digest)
		}
		for _, e := range x {
			if !s.wholeTree(e) {
				return false
			}
		}
	}
	return true
}
