package emulator

import (
	"encoding/json"
	"testing"

	"pgregory.net/rapid"
)

// The hand-written count of token ids is the length of the list that a JSON
// parser would make of it.
func TestCountIDs(t *testing.T) {
	cfg := testConfig().Filled()
	rapid.Check(t, func(t *rapid.T) {
		ids := rapid.SliceOf(rapid.IntRange(0, cfg.Vocab+3)).Draw(t, "ids")
		raw, err := json.Marshal(ids)
		if err != nil {
			t.Fatal(err)
		}
		if rapid.Bool().Draw(t, "spaced") {
			if raw, err = json.MarshalIndent(ids, "", "\t"); err != nil {
				t.Fatal(err)
			}
		}
		beyond := false
		for _, id := range ids {
			beyond = beyond || id >= cfg.Vocab
		}
		n, refused := cfg.promptTokens(raw)
		switch {
		case len(ids) == 0 || beyond:
			if refused == nil {
				t.Fatalf("%s was counted as %d tokens", raw, n)
			}
		case refused != nil || n != len(ids):
			t.Fatalf("%s was counted as %d tokens (%v)", raw, n, refused)
		}
	})
}

func TestBadPrompts(t *testing.T) {
	cfg := testConfig().Filled()
	for _, bad := range []string{``, `null`, `""`, `[]`, `[[]]`, `[""]`, `["a","b"]`, `[[1],[2]]`, `[1.5]`, `[-1]`, `[null]`, `[true]`, `{}`, `7`} {
		if n, refused := cfg.promptTokens(json.RawMessage(bad)); refused == nil {
			t.Errorf("the prompt %s was counted as %d tokens", bad, n)
		}
	}
}
