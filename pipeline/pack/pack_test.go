package pack

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

const plenty = 1 << 30

func write(t *testing.T, entries ...Entry) (string, Info) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "x.pack")
	info, err := Write(file, entries)
	if err != nil {
		t.Fatal(err)
	}
	return file, info
}

func read(file string, most int64) (map[string]string, Info, error) {
	got := map[string]string{}
	info, err := Read(file, most, func(e Entry, content io.Reader) error {
		if content == nil {
			got[e.Name] = "= " + e.Same
			return nil
		}
		data, err := io.ReadAll(content)
		got[e.Name] = string(data)
		return err
	})
	return got, info, err
}

func some() []Entry {
	return []Entry{
		{Name: "run/log", Same: "objects/aa"},
		{Name: "objects/aa", Data: []byte("rows\n"), Exec: true},
		{Name: "journal.jsonl", Data: []byte(strings.Repeat("{}\n", 200))},
	}
}

func TestWhatWasWrittenIsRead(t *testing.T) {
	file, wrote := write(t, some()...)
	got, info, err := read(file, plenty)
	if err != nil || info != wrote {
		t.Fatalf("read %+v, %v; wrote %+v", info, err, wrote)
	}
	if got["objects/aa"] != "rows\n" || got["run/log"] != "= objects/aa" || len(got) != 3 {
		t.Errorf("read %q", got)
	}
	if stat, err := os.Stat(file); err != nil || stat.Size() != info.Size {
		t.Errorf("size %d, and the file: %v, %v", info.Size, stat, err)
	}
}

func TestEqualEntriesMakeEqualPacks(t *testing.T) {
	entries := some()
	a, _ := write(t, entries...)
	slices.Reverse(entries)
	b, _ := write(t, entries...)
	x, err := os.ReadFile(a)
	if err != nil {
		t.Fatal(err)
	}
	y, err := os.ReadFile(b)
	if err != nil || !bytes.Equal(x, y) {
		t.Errorf("two packs of the same entries differ: %v", err)
	}
}

// Every byte counts: changed, lost or added, it is found before anything is
// unpacked.
func TestOneByteChangedIsFound(t *testing.T) {
	file, _ := write(t, some()...)
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	try := func(what string, data []byte) {
		t.Helper()
		if err := os.WriteFile(file, data, 0o644); err != nil {
			t.Fatal(err)
		}
		if got, _, err := read(file, plenty); err == nil || len(got) > 0 {
			t.Errorf("%s: not found (%v), %d entries were given", what, err, len(got))
		}
	}
	for i := range whole {
		data := bytes.Clone(whole)
		data[i] ^= 1 << (i % 8)
		try(fmt.Sprintf("byte %d of %d", i, len(whole)), data)
		try(fmt.Sprintf("cut at %d", i), whole[:i])
	}
	try("a byte more", append(bytes.Clone(whole), 0))
	if err := os.WriteFile(file, whole, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, _, err := read(file, plenty); err != nil {
		t.Errorf("untouched: %v", err)
	}
}

// forge makes a pack with an honest head around any tar.
func forge(t *testing.T, unpacked int64, heads ...*tar.Header) string {
	t.Helper()
	var payload bytes.Buffer
	z, err := zstd.NewWriter(&payload, zstd.WithWindowSize(maxWindow))
	if err != nil {
		t.Fatal(err)
	}
	n := &counter{w: z}
	w := tar.NewWriter(n)
	for _, h := range heads {
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.CopyN(w, zeros{}, h.Size); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	if unpacked == 0 {
		unpacked = n.n
	}
	sum := sha256.Sum256(fmt.Append(bytes.Clone(payload.Bytes()), unpacked))
	file := filepath.Join(t.TempDir(), "forged.pack")
	if err := os.WriteFile(file, append(head(sum[:], unpacked), payload.Bytes()...), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestAStrangersPackIsRefused(t *testing.T) {
	reg := func(name string, size int64) *tar.Header {
		return &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: size}
	}
	link := func(typ byte, name, to string) *tar.Header {
		return &tar.Header{Typeflag: typ, Name: name, Linkname: to}
	}
	for _, r := range []struct {
		why, want string
		file      string
	}{
		{"upwards", "does not stay inside", forge(t, 0, reg("../x", 1))},
		{"upwards in the middle", "does not stay inside", forge(t, 0, reg("a/../../x", 1))},
		{"absolute", "does not stay inside", forge(t, 0, reg("/etc/x", 1))},
		{"not clean", "does not stay inside", forge(t, 0, reg("a//b", 1))},
		{"the folder itself", "does not stay inside", forge(t, 0, reg(".", 1))},
		{"a backslash", "does not stay inside", forge(t, 0, reg(`..\x`, 1))},
		{"a symbolic link", "neither a file", forge(t, 0, link(tar.TypeSymlink, "a", "/etc/passwd"))},
		{"a device", "neither a file", forge(t, 0, link(tar.TypeChar, "a", ""))},
		{"a folder", "does not stay inside", forge(t, 0, link(tar.TypeDir, "a/", ""))},
		{"a link to what is not there", "no entry before it", forge(t, 0, link(tar.TypeLink, "a", "/etc/passwd"))},
		{"twice", "two entries", forge(t, 0, reg("a", 1), reg("a", 1))},
		{"a bomb behind a modest head", "more than the pack has left", forge(t, 4096, reg("a", 64<<20))},
		{"many small bombs", "more than its head states", forge(t, 8192, reg("a", 2048), reg("b", 2048), reg("c", 2048))},
		{"a bomb that says so", "at most 1024 MB", forge(t, plenty+1<<20, reg("a", 1))},
		{"less than stated", "before what its head states", forge(t, 1<<20, reg("a", 1))},
	} {
		if _, _, err := read(r.file, plenty); err == nil || !strings.Contains(err.Error(), r.want) {
			t.Errorf("%s: %v, want an error with %q", r.why, err, r.want)
		}
	}
}

func TestAChangedObjectIsNotPacked(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "object")
	if err := os.WriteFile(path, []byte("changed"), 0o644); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "x.pack")
	_, err := Write(file, []Entry{{Name: "objects/aa", Path: path, Digest: "sha256:aa"}})
	if err == nil || !strings.Contains(err.Error(), "changed after it was stored") {
		t.Errorf("err %v", err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
}

// Anybody can look into a pack without calrun: from its first byte on it is
// zstd's format, with no window that the program zstd would ask leave for
// (128 MiB), and inside it is a tar.
func TestAPackIsATarInZstd(t *testing.T) {
	file, _ := write(t, some()...)
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := zstd.NewReader(f, zstd.WithDecoderMaxWindow(128<<20))
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	var names []string
	for r := tar.NewReader(z); ; {
		head, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, head.Name)
	}
	slices.Sort(names)
	if want := []string{"journal.jsonl", "objects/aa", "run/log"}; !slices.Equal(names, want) {
		t.Errorf("it lists %q, want %q", names, want)
	}
}
