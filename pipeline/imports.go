package pipeline

import (
	"iter"
	"maps"
	"path/filepath"
	"slices"
	"sync"

	"golang.org/x/sync/singleflight"
)

// imports are the files and folders that a run took from where its user has
// them, each once: one that changes between two rounds, or between two steps,
// does not change the run. Jobs of one run share them.
type imports struct {
	once singleflight.Group

	mu     sync.Mutex
	taken  map[string]string // absolute path → digest
	told   map[string]bool   // paths that the journal has
	places map[string]string // digest → the first of its paths, by name
}

// newImports begins with what the journal has.
func newImports(known map[string]string) *imports {
	m := &imports{taken: map[string]string{}, told: map[string]bool{}, places: map[string]string{}}
	m.journalled(known)
	return m
}

// journalled says that the journal has these paths.
func (m *imports) journalled(known map[string]string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for path, digest := range known {
		m.add(path, digest)
		m.told[path] = true
	}
}

func (m *imports) add(path, digest string) {
	m.taken[path] = digest
	if first := m.places[digest]; first == "" || path < first {
		m.places[digest] = path
	}
}

// take returns the digest of what lies at a path, which put finds out, and
// whether the journal has it.
func (m *imports) take(path string, put func() (string, error)) (digest string, told bool, err error) {
	found, err, _ := m.once.Do(path, func() (any, error) {
		m.mu.Lock()
		digest := m.taken[path]
		m.mu.Unlock()
		if digest != "" {
			return digest, nil
		}
		return put()
	})
	if err != nil {
		return "", false, err
	}
	digest = found.(string)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.add(path, digest)
	return digest, m.told[path], nil
}

// name is the base name of what was imported with that digest, or "".
func (m *imports) name(digest string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if path := m.places[digest]; path != "" {
		return filepath.Base(path)
	}
	return ""
}

// all returns the paths, sorted, with their digests.
func (m *imports) all() iter.Seq2[string, string] {
	m.mu.Lock()
	taken := maps.Clone(m.taken)
	m.mu.Unlock()
	return func(yield func(string, string) bool) {
		for _, path := range slices.Sorted(maps.Keys(taken)) {
			if !yield(path, taken[path]) {
				return
			}
		}
	}
}
