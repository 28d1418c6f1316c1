package store

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func testStore(t *testing.T) *Objects { return NewObjects(filepath.Join(t.TempDir(), ".calrun")) }

func write(t *testing.T, root string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestStoreTree(t *testing.T) {
	files := map[string]string{"a.csv": "1,2\n", "sub/b with space": "b", "sub/same": "b", "sub/deep/ü\"quote": ""}
	for _, link := range []bool{false, true} {
		s := testStore(t)
		src := filepath.Join(t.TempDir(), "src")
		write(t, src, files)
		if err := os.Mkdir(filepath.Join(src, "empty"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(filepath.Join(src, "a.csv"), 0o755); err != nil {
			t.Fatal(err)
		}
		want, err := DigestPath(src)
		if err != nil {
			t.Fatal(err)
		}
		got, err := s.Put(src, link)
		if err != nil || got != want {
			t.Fatalf("link %v: stored as %s (%v), want %s", link, got, err, want)
		}
		if !s.Has(got) {
			t.Error("the store does not know what it holds")
		}
		out, err := s.Materialise(got, t.TempDir(), "")
		if err != nil {
			t.Fatal(err)
		}
		if again, err := DigestPath(out); err != nil || again != want {
			t.Errorf("link %v: materialised as %s (%v), want %s", link, again, err, want)
		}
		info, err := os.Stat(filepath.Join(out, "sub/b with space"))
		if err != nil || info.Mode().Perm()&0o222 != 0 {
			t.Errorf("a materialised file may be written: %v %v", info.Mode(), err)
		}
		if err := os.Remove(s.objectPath(Digest([]byte("b")))); err != nil {
			t.Fatal(err)
		}
		if s.Has(got) {
			t.Error("the store claims a tree that lost a file")
		}
	}
}

func TestStoreRefuses(t *testing.T) {
	s := testStore(t)
	if _, err := s.Materialise(Digest([]byte("never stored")), t.TempDir(), ""); err == nil || !strings.Contains(err.Error(), "is not in the store") {
		t.Errorf("an unknown digest: %v", err)
	}
	digest, err := s.PutBytes([]byte("text"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(s.objectPath(digest), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.objectPath(digest), []byte("other"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Bytes(digest); err == nil || !strings.Contains(err.Error(), "was changed") {
		t.Errorf("a changed object: %v", err)
	}
	for _, path := range []string{"/etc/passwd", "../x", "a/../../b"} {
		if _, err := parseListing([]byte(treeHeader + "f sha256:00 1 \"" + path + "\"\n")); err == nil {
			t.Errorf("a tree that leaves its folder by %s is read", path)
		}
	}
}

// A file keeps the name that its user knows it by.
func TestStoreNamesFiles(t *testing.T) {
	s := testStore(t)
	digest, err := s.PutBytes([]byte("1,2\n"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for range 2 {
		path, err := s.Materialise(digest, dir, "trace.csv")
		if err != nil || filepath.Base(path) != "trace.csv" {
			t.Errorf("%s, %v", path, err)
		}
	}
}
