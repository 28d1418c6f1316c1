package pipeline

import "fmt"

// Verify reads all that a run stands on again: its journal, the large values
// that the journal left to the store, and every artefact that it took or made.
// The problems say what was changed or is missing since; an error is a run that
// cannot be read at all, its journal changed included.
func (s *Store) Verify(id string) (checked int, problems []string, err error) {
	past, err := s.ReadRun(id) // the chain of its lines, and the digests of large values
	if err != nil {
		return 0, nil, err
	}
	digests := digestSet{}
	digests.addAll(past.State.Imported)
	for _, r := range resolutionsOf(id, past.Events) {
		if key, err := r.resolved.Ingredients().Key(); r.resolved.Basis != nil && (err != nil || key != r.resolved.Key) {
			problems = append(problems, fmt.Sprintf("%s, round %d: its key is not that of what it is said to be made of", r.step, r.round))
		}
		digests.addIn(r.resolved.With)
		if r.value != nil {
			digests.addIn(r.value.JSON)
		}
	}
	for _, digest := range digests.sorted() {
		if err := s.Check(digest); err != nil {
			problems = append(problems, err.Error())
		}
	}
	return len(digests), problems, nil
}
