package kind

import (
	"encoding/json"
	"fmt"

	"calrun/pipeline/canonical"
	"calrun/pipeline/store"
)

// Ingredients are all that decides a step's result, and nothing else: two
// steps of equal ingredients may share one result, in one run or in two.
type Ingredients struct {
	Kind     string            `json:"kind"`
	Version  int               `json:"version"`            // of the kind
	With     json.RawMessage   `json:"with"`               // defaults filled in, locations left out, artefacts by digest
	Identity map[string]string `json:"identity,omitempty"` // what an [Identifier] says
	Visit    int               `json:"visit,omitempty"`    // of a remedy, from 1
}

// Ingredients are those of a step of this kind. with is resolved, its
// artefacts by digest.
func (k *Kind) Ingredients(with json.RawMessage, identity map[string]string, visit int) (Ingredients, error) {
	basis, err := k.Shape().Identity(with)
	if err != nil {
		return Ingredients{}, fmt.Errorf("key: %w", err)
	}
	return Ingredients{Kind: k.Name, Version: k.Version, With: basis, Identity: identity, Visit: visit}, nil
}

// Key is the digest of the ingredients.
func (i Ingredients) Key() (string, error) {
	raw, err := canonical.JSON(i)
	if err != nil {
		return "", fmt.Errorf("key: %w", err)
	}
	return store.Digest(raw), nil
}
