package canonical

import (
	"encoding/json"
	"testing"

	"pgregory.net/rapid"
)

func TestCanonical(t *testing.T) {
	tests := []struct{ reason, in, want string }{
		{"keys are sorted", `{"b":1,"a":{"d":2,"c":3}}`, `{"a":{"c":3,"d":2},"b":1}`},
		{"no HTML escapes", `"a<b>&c"`, `"a<b>&c"`},
		{"numbers keep their text", `[1.50, 1e3, 12345678901234567890]`, `[1.50,1e3,12345678901234567890]`},
	}
	for _, tt := range tests {
		got, err := JSON(json.RawMessage(tt.in))
		if err != nil || string(got) != tt.want {
			t.Errorf("%s: %s, %v", tt.reason, got, err)
		}
		again, err := JSON(got)
		if err != nil || string(again) != string(got) {
			t.Errorf("%s: not a fixed point: %s, %v", tt.reason, again, err)
		}
	}
}

// Canonical is a fixed point, and equal trees have equal bytes whatever the
// order of their keys.
func TestCanonicalLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		keys := rapid.SliceOfNDistinct(rapid.String(), 1, 5, rapid.ID[string]).Draw(t, "keys")
		tree := map[string]any{}
		for i, k := range keys {
			tree[k] = []any{float64(i), k, i%2 == 0, nil}
		}
		one, err := JSON(tree)
		if err != nil {
			t.Fatal(err)
		}
		indented, err := json.MarshalIndent(tree, "", "\t")
		if err != nil {
			t.Fatal(err)
		}
		two, err := JSON(json.RawMessage(indented))
		if err != nil || string(one) != string(two) {
			t.Fatalf("%s and %s (%v)", one, two, err)
		}
	})
}
