package pipeline

import (
	"os"
	"path/filepath"
	"testing"
)

// leftover puts what a process killed while it stored an object leaves.
func leftover(t *testing.T, s *Store) string {
	t.Helper()
	dir := filepath.Join(s.Dir(), "objects", "staging")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := os.CreateTemp(dir, "object-*")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	return f.Name()
}

func TestStagingIsClearedByWhoIsAlone(t *testing.T) {
	b := newBench(t)
	left := leftover(t, b.runner.Store)
	b.run(small, RunOptions{})
	if _, err := os.Stat(left); err == nil {
		t.Errorf("%s is still there after a run", filepath.Base(left))
	}
}

func TestStagingOfAnotherWriterStays(t *testing.T) {
	b := newBench(t)
	other, err := b.runner.Store.Enter()
	if err != nil {
		t.Fatal(err)
	}
	staged := leftover(t, b.runner.Store)
	b.run(small, RunOptions{})
	if _, err := os.Stat(staged); err != nil {
		t.Errorf("what another writer had staged is gone: %v", err)
	}
	other.Unlock()
	b.run(small, RunOptions{})
	if _, err := os.Stat(staged); err == nil {
		t.Error("the writer is gone and what it staged is still there")
	}
}
