package pipeline

import (
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func testStore(t *testing.T) *Store {
	t.Helper()
	s, err := OpenStore(filepath.Join(t.TempDir(), ".calrun"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

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
		out, err := s.materialise(got, t.TempDir(), "")
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
		if err := os.Remove(s.objectPath(digestBytes([]byte("b")))); err != nil {
			t.Fatal(err)
		}
		if s.Has(got) {
			t.Error("the store claims a tree that lost a file")
		}
	}
}

func TestStoreRefuses(t *testing.T) {
	s := testStore(t)
	if _, err := s.materialise(digestBytes([]byte("never stored")), t.TempDir(), ""); err == nil || !strings.Contains(err.Error(), "is not in the store") {
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
		path, err := s.materialise(digest, dir, nameOf(digest, map[string]string{"/home/me/trace.csv": digest}))
		if err != nil || filepath.Base(path) != "trace.csv" {
			t.Errorf("%s, %v", path, err)
		}
	}
}

func FuzzReadDraws(f *testing.F) {
	f.Add([]byte(drawsHeader + `{"leaves":{},"sets":[{"name":"null","rows":1,"cols":1}]}` + "\n1234"))
	f.Add([]byte(drawsHeader + "{}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(t.TempDir(), "draws")
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		d, err := ReadDraws(path)
		if err != nil {
			return
		}
		if err := WriteDraws(path, d); err != nil { // what can be read can be written, and read again
			t.Fatal(err)
		}
		if _, err := ReadDraws(path); err != nil {
			t.Fatal(err)
		}
	})
}

func TestOneProcessHoldsARun(t *testing.T) {
	dir := t.TempDir()
	l, err := tryLock(filepath.Join(dir, "x"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tryLock(filepath.Join(dir, "x")); !errors.Is(err, errHeld) {
		t.Errorf("taken twice: %v", err)
	}
	l.unlock()
	if l, err = tryLock(filepath.Join(dir, "x")); err != nil {
		t.Errorf("not free after its release: %v", err)
	}
	defer l.unlock()
	ctx, cancel := context.WithCancel(t.Context())
	waited := ""
	_, err = hostLocks(ctx, dir, []string{"b", "x/y", "x/y"}, func(name string) { waited = name; cancel() })
	if err != nil || waited != "" {
		t.Errorf("free locks: %v, waited for %q", err, waited)
	}
	if _, err = hostLocks(ctx, dir, []string{"b"}, func(name string) { waited = name; cancel() }); !errors.Is(err, context.Canceled) || waited != "b" {
		t.Errorf("a held lock: %v, waited for %q", err, waited)
	}
}

func TestPartsAreMadeOnce(t *testing.T) {
	rt := NewScratch(t.TempDir(), nolog)
	made := 0
	fill := func(dir string) error {
		made++
		return os.WriteFile(filepath.Join(dir, "x"), []byte("x"), 0o644)
	}
	first, reused, err := rt.Part("rps-1 seed 1", fill)
	if err != nil || reused {
		t.Fatalf("first: %v, reused %v", err, reused)
	}
	second, reused, err := rt.Part("rps-1 seed 1", fill)
	if err != nil || !reused || second != first || made != 1 {
		t.Errorf("second: %v, reused %v, %s after %s, made %d times", err, reused, second, first, made)
	}
	other, reused, err := rt.Part("rps-1 seed 2", fill)
	if err != nil || reused || other == first {
		t.Errorf("another key: %v, reused %v, %s", err, reused, other)
	}
	boom := errors.New("boom")
	if _, _, err := rt.Part("broken", func(string) error { return boom }); !errors.Is(err, boom) {
		t.Errorf("the error of make is %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(first), stagingPrefix+"*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// Reading gives what was written, to the precision of the file; writing it
// again gives the same bytes.
func TestDrawsRoundTrip(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		cols := rapid.IntRange(1, 4).Draw(t, "cols")
		rows := rapid.IntRange(0, 5).Draw(t, "rows")
		values := rapid.SliceOfN(rapid.OneOf(rapid.Float64(), rapid.Just(math.NaN()), rapid.Just(math.Inf(1))), rows*cols, rows*cols).Draw(t, "values")
		for i := range values {
			values[i] = float64(float32(values[i]))
		}
		d := &Draws{
			Leaves: map[string]Leaf{"/a/b~1c": {Op: "mean_abs", Cols: []int{0, cols - 1}}, "/z": {Op: "value", Cols: []int{0}}},
			Sets:   map[string]Matrix{"replicates": {Cols: cols, Values: values}, "null": {Cols: cols, Values: values}},
			Doubts: map[string]string{"/a": "one seed"},
		}
		a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
		if err := WriteDraws(a, d); err != nil {
			t.Fatal(err)
		}
		got, err := ReadDraws(a)
		if err != nil {
			t.Fatal(err)
		}
		if err := WriteDraws(b, got); err != nil {
			t.Fatal(err)
		}
		da, _ := DigestPath(a)
		db, _ := DigestPath(b)
		if da != db || !reflect.DeepEqual(got.Leaves, d.Leaves) || !reflect.DeepEqual(got.Doubts, d.Doubts) {
			t.Fatalf("read %+v, wrote %+v", got, d)
		}
		for i, v := range got.Sets["replicates"].Values {
			if v != values[i] && !(math.IsNaN(v) && math.IsNaN(values[i])) {
				t.Fatalf("value %d: %v, want %v", i, v, values[i])
			}
		}
	})
}

func TestReadDrawsRefuses(t *testing.T) {
	head := drawsHeader + `{"leaves":{},"sets":[{"name":"null","rows":2,"cols":1}]}` + "\n"
	for name, text := range map[string]string{
		"another format": "PK\x03\x04", "no description": drawsHeader, "description is not JSON": drawsHeader + "x\n",
		"cut off": head + "1234", "too long": head + "12345678" + "9", "negative": strings.Replace(head, "2", "-2", 1),
	} {
		path := filepath.Join(t.TempDir(), "draws")
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadDraws(path); err == nil {
			t.Errorf("%s: read without error", name)
		}
	}
}

func TestLeafValue(t *testing.T) {
	row := []float64{-0.2, 0.1, math.NaN()}
	for _, tt := range []struct {
		op   string
		cols []int
		want float64 // NaN for undefined
	}{
		{"value", []int{0}, -0.2},
		{"abs", []int{0}, 0.2},
		{"mean", []int{0, 1}, -0.05},
		{"mean_abs", []int{0, 1}, 0.15},
		{"max_abs", []int{0, 1}, 0.2},
		{"mean", []int{0, 2}, math.NaN()},
		{"mean", nil, math.NaN()},
		{"mean", []int{3}, math.NaN()},
		{"typo", []int{0}, math.NaN()},
	} {
		got := Leaf{Op: tt.op, Cols: tt.cols}.Value(row)
		if math.Abs(got-tt.want) > 1e-12 || math.IsNaN(got) != math.IsNaN(tt.want) {
			t.Errorf("%s %v: %v, want %v", tt.op, tt.cols, got, tt.want)
		}
	}
}
