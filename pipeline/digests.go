package pipeline

import (
	"encoding/json"
	"maps"
	"slices"

	"calrun/pipeline/canonical"
)

// digestSet is a set of artefacts.
type digestSet map[string]bool

// addIn adds every artefact that a JSON document names.
func (d digestSet) addIn(doc json.RawMessage) {
	tree, err := canonical.Decode(doc)
	if err != nil {
		return // no document: nothing is named
	}
	eachObject(tree, func(x map[string]any) {
		if digest, ok := artefactIn(x); ok && digest != "" {
			d[digest] = true
		}
	})
}

// artefactIn is the digest of an artefact in a decoded JSON document; ok is
// false for any other object. An artefact that nobody gave has an empty digest.
func artefactIn(x map[string]any) (digest string, ok bool) {
	_, sort := x["artefact"].(string)
	digest, ok = x["digest"].(string)
	return digest, ok && sort && len(x) == 2
}

func (d digestSet) addAll(imported map[string]string) {
	for _, digest := range imported {
		d[digest] = true
	}
}

func (d digestSet) sorted() []string { return slices.Sorted(maps.Keys(d)) }
