package pipeline

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const packLimit = 1 << 30

func newStore(t *testing.T) *Store {
	t.Helper()
	s, err := OpenStore(filepath.Join(t.TempDir(), ".calrun"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// A run that travelled in a pack is the run: the same state, every artefact
// of it, and a pack of it has the same bytes.
func TestARunTravelsInAPack(t *testing.T) {
	b := newBench(t)
	s := b.run(small, RunOptions{})
	file := filepath.Join(b.dir, "run.pack")
	if _, err := b.runner.Store.Pack(s.Run, file); err != nil {
		t.Fatal(err)
	}
	there := newStore(t)
	id, err := there.Unpack(file, packLimit)
	if err != nil || id != s.Run {
		t.Fatalf("unpacked %q: %v", id, err)
	}
	past, err := there.ReadRun(id)
	if err != nil || mustJSON(past.State) != mustJSON(s) {
		t.Fatalf("the unpacked run has another state (%v)", err)
	}
	for _, digest := range artefactsOfRun(past.Events) {
		if !there.Has(digest) {
			t.Errorf("artefact %s did not travel", digest)
		}
	}
	again := filepath.Join(b.dir, "again.pack")
	if _, err := there.Pack(id, again); err != nil || !bytes.Equal(readFile(t, file), readFile(t, again)) {
		t.Errorf("a pack of the unpacked run has other bytes (%v)", err)
	}
	if id, err := there.Unpack(file, packLimit); err != nil || id != s.Run {
		t.Errorf("unpacked once more: %q, %v", id, err)
	}
	// --from reuses what was measured, in the store it travelled to as well.
	b.runner.Store = there
	b.run(small, RunOptions{From: id})
	if n := b.fakes.calls.count("run hw"); n != 1 {
		t.Errorf("measured %d times, want once", n)
	}
}

func TestUnpackRefusesAnotherRunOfThatName(t *testing.T) {
	b := newBench(t)
	s := b.run(small, RunOptions{})
	file := filepath.Join(b.dir, "run.pack")
	if _, err := b.runner.Store.Pack(s.Run, file); err != nil {
		t.Fatal(err)
	}
	journal := filepath.Join(b.runner.Store.RunDir(s.Run), journalFile)
	lines := bytes.SplitAfter(readFile(t, journal), []byte("\n"))
	if err := os.WriteFile(journal, bytes.Join(lines[:len(lines)-2], nil), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := b.runner.Store.Unpack(file, packLimit); err == nil || !strings.Contains(err.Error(), "another journal") {
		t.Errorf("err %v", err)
	}
}

// What is missing in the store, or was changed there, is not packed.
func TestPackWantsEverything(t *testing.T) {
	b := newBench(t)
	s := b.run(small, RunOptions{})
	digests := artefactsOfRun(mustRead(t, b, s.Run).Events)
	pieces, err := b.runner.Store.Pieces(digests[0])
	if err != nil {
		t.Fatal(err)
	}
	piece := pieces[len(pieces)-1].Path
	whole := readFile(t, piece)
	file := filepath.Join(b.dir, "run.pack")
	for why, damage := range map[string]func() error{
		"changed": func() error { return os.WriteFile(piece, []byte(strings.ToUpper(string(whole))), 0o644) },
		"missing": func() error { return os.Remove(piece) },
	} {
		if err := os.Chmod(piece, 0o644); err != nil && why == "changed" {
			t.Fatal(err)
		}
		if err := damage(); err != nil {
			t.Fatal(err)
		}
		if _, err := b.runner.Store.Pack(s.Run, file); err == nil {
			t.Errorf("a piece is %s, and the run was packed", why)
		}
		if err := os.WriteFile(piece, whole, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(file); err == nil {
		t.Error("a pack was left behind")
	}
}

func mustRead(t *testing.T, b *bench, id string) *Past {
	t.Helper()
	past, err := b.runner.Store.ReadRun(id)
	if err != nil {
		t.Fatal(err)
	}
	return past
}
