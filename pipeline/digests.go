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
		if digest := artefactDigest(x); digest != "" {
			d[digest] = true
		}
	})
}

// artefactDigest is the digest of an artefact in a decoded JSON document, ""
// for any other object.
func artefactDigest(x map[string]any) string {
	_, sort := x["artefact"].(string)
	digest, ok := x["digest"].(string)
	if !sort || !ok || len(x) != 2 {
		return ""
	}
	return digest
}

func (d digestSet) addAll(imported map[string]string) {
	for _, digest := range imported {
		d[digest] = true
	}
}

func (d digestSet) sorted() []string { return slices.Sorted(maps.Keys(d)) }
