package openai

import (
	"os"
	"path/filepath"
	"testing"
)

// shared is a file or folder of the public data beside the checkout.
func shared(t testing.TB, path string) string {
	t.Helper()
	full := filepath.Join("..", "..", "..", "shared", "data", path)
	if _, err := os.Stat(full); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("the shared data is missing: %v", err)
		}
		t.Skipf("no shared data: %v", err)
	}
	return full
}
