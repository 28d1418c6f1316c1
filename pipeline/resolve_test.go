package pipeline

import (
	"encoding/json"
	"testing"

	"pgregory.net/rapid"
)

// Canonical is a fixed point, and equal trees have equal bytes whatever the
// order of their keys.
func TestCanonicalLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		keys := rapid.SliceOfNDistinct(rapid.String(), 1, 5, rapid.ID[string]).Draw(t, "keys")
		tree := map[string]any{}
		for i, k := range keys {
			tree[k] = []any{float64(i), k, i%2 == 0, nil}
		}
		one, err := Canonical(tree)
		if err != nil {
			t.Fatal(err)
		}
		indented, err := json.MarshalIndent(tree, "", "\t")
		if err != nil {
			t.Fatal(err)
		}
		two, err := Canonical(json.RawMessage(indented))
		if err != nil || string(one) != string(two) {
			t.Fatalf("%s and %s (%v)", one, two, err)
		}
	})
}
