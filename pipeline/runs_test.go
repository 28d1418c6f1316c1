package pipeline

import (
	"os"
	"path/filepath"
	"testing"
)

func TestOpenStoreWritesNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), ".calrun")
	if _, err := OpenStore(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("the folder was made before anything was stored")
	}
}

// What comes out of the store is what went in, under the digest that the
// folder has anywhere.
