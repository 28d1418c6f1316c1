// Package shared finds the public data that tests read and that is too large
// for the repository: a folder shared/data beside the checkout. Tests alone
// import it.
package shared

import (
	"os"
	"path/filepath"
	"testing"
)

// Path is a file or folder of the shared data, by its slashed name below it.
// Without it the test is skipped, except where the environment variable CI
// says that it must not be: there it fails.
func Path(t testing.TB, name string) string {
	t.Helper()
	path := filepath.Join(checkout(t), "..", "shared", "data", filepath.FromSlash(name))
	if _, err := os.Stat(path); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("the shared data is missing: %v", err)
		}
		t.Skipf("no shared data: %v", err)
	}
	return path
}

// checkout is the folder of go.mod above the test's own.
func checkout(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("no go.mod above the test's folder")
		}
		dir = filepath.Dir(dir)
	}
}
