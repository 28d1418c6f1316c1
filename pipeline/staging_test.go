package pipeline

import (
	"os"
	"path/filepath"
	"testing"
)

// leftover puts what a process killed while it stored an object leaves.
func leftover(t *testing.T, s *Store) string {
	t.Helper()
	f, err := s.stage()
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
	other, err := b.runner.Store.enter()
	if err != nil {
		t.Fatal(err)
	}
	staged := leftover(t, b.runner.Store)
	b.run(small, RunOptions{})
	if _, err := os.Stat(staged); err != nil {
		t.Errorf("what another writer had staged is gone: %v", err)
	}
	other.unlock()
	b.run(small, RunOptions{})
	if _, err := os.Stat(staged); err == nil {
		t.Error("the writer is gone and what it staged is still there")
	}
}
