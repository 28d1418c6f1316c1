package pipeline

import (
	"fmt"
	"maps"
	"slices"

	"calrun/pipeline/canonical"
)

// Verify reads all that a run stands on again: its journal, the large values
// that the journal left to the store, and every artefact that it took or made.
// The problems say what was changed or is missing since; an error is a run that
// cannot be read at all, its journal changed included.
func (s *Store) Verify(id string) (checked int, problems []string, err error) {
	past, err := s.ReadRun(id) // the chain of its lines, and the digests of large values
	if err != nil {
		return 0, nil, err
	}
	digests := map[string]bool{}
	for _, r := range resolutionsOf(id, past.Events) {
		if key, err := r.resolved.Ingredients().Key(); r.resolved.Basis != nil && (err != nil || key != r.resolved.Key) {
			problems = append(problems, fmt.Sprintf("%s, round %d: its key is not that of what it is said to be made of", r.step, r.round))
		}
		for _, digest := range artefactsIn(r.resolved.With) {
			digests[digest] = true
		}
		if r.value == nil {
			continue
		}
		for _, digest := range artefactsIn(r.value.JSON) {
			digests[digest] = true
		}
	}
	for _, digest := range past.State.Imported {
		digests[digest] = true
	}
	for _, digest := range slices.Sorted(maps.Keys(digests)) {
		if err := s.Check(digest); err != nil {
			problems = append(problems, err.Error())
		}
		checked++
	}
	return checked, problems, nil
}

// artefactsIn are the digests of the artefacts in a result.
func artefactsIn(result []byte) []string {
	var out []string
	if tree, err := canonical.Decode(result); err == nil {
		eachObject(tree, func(x map[string]any) {
			if digest, _ := x["digest"].(string); isArtefact(x) && digest != "" {
				out = append(out, digest)
			}
		})
	}
	return out
}
