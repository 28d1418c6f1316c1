package vidur

import (
	"path/filepath"
	"strings"
	"testing"

	"calrun/internal/profile"
)

// What Vidur does not know is told to it in a folder of its own, and changes
// the command and the key. A real test runs the launcher.
func TestStrangers(t *testing.T) {
	known := recorded(Sarathi)
	set := known
	dims := profile.Dims{Layers: 4, Hidden: 4096, Heads: 32, KVHeads: 8, MLP: 11008, Vocab: 7}
	if err := set.Describe("example/small", dims); err != nil {
		t.Fatal(err)
	}
	set.DescribeCard(profile.Card{Name: "RTX4090", Bytes: 24081 << 20})
	cache := t.TempDir()
	sim, other := ready(t, cache, set), ready(t, cache, known)
	text := read(t, filepath.Join(sim.dir, launcherFile))
	for _, w := range []string{
		"num_layers: int = 4\n", "num_kv_heads: int = 8\n", `return "example/small"`, "total_memory_gb: int = 23\n", `return "calrun_rtx4090"`, `return "calrun_node"`,
		"vidur.main.main()",
	} {
		if !strings.Contains(text, w) {
			t.Errorf("the launcher lacks %q:\n%s", w, text)
		}
	}
	if sim.dir == other.dir || set.program()[0] != launcherFile || known.program()[1] != "vidur.main" {
		t.Errorf("predictors in %s and %s; programs %v and %v", sim.dir, other.dir, set.program(), known.program())
	}
	dims.KVHeads = 0
	if err := set.Describe("example/small", dims); err == nil || !strings.Contains(err.Error(), "num_kv_heads") {
		t.Errorf("dimensions that are not known: %v", err)
	}
	dims.KVHeads, dims.HeadDim = 8, 256
	if err := set.Describe("example/small", dims); err == nil || !strings.Contains(err.Error(), "share the hidden size") {
		t.Errorf("heads of their own size: %v", err)
	}
}
