package pack

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// Write makes a pack of the entries, in the order of their names. The file is
// either whole or not there.
func Write(file string, entries []Entry) (info Info, err error) {
	entries = slices.Clone(entries)
	slices.SortFunc(entries, func(a, b Entry) int { return strings.Compare(a.Name, b.Name) })
	f, err := os.CreateTemp(filepath.Dir(file), ".calrun-*")
	if err != nil {
		return info, fmt.Errorf("write pack: %w", err)
	}
	defer func() {
		f.Close()
		_ = os.Remove(f.Name()) // gone already when all went well
	}()
	if _, err := f.Write(head(make([]byte, sha256.Size), 0)); err != nil {
		return info, fmt.Errorf("write pack: %w", err)
	}
	h := sha256.New()
	if info.Unpacked, err = compress(io.MultiWriter(f, h), entries); err != nil {
		return info, fmt.Errorf("write pack: %w", err)
	}
	fmt.Fprint(h, info.Unpacked)
	info.Digest = "sha256:" + hex.EncodeToString(h.Sum(nil))
	_, err = f.WriteAt(head(h.Sum(nil), info.Unpacked), 0)
	err = errors.Join(err, f.Chmod(0o644), f.Sync())
	if stat, serr := f.Stat(); serr == nil {
		info.Size = stat.Size()
	}
	if err == nil {
		err = os.Rename(f.Name(), file)
	}
	if err != nil {
		return info, fmt.Errorf("write pack: %w", err)
	}
	return info, nil
}

// compress writes the tar through zstd and returns the tar's length. One
// goroutine and fixed settings: the same entries give the same bytes.
func compress(w io.Writer, entries []Entry) (int64, error) {
	z, err := zstd.NewWriter(w,
		zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedBestCompression), zstd.WithWindowSize(maxWindow), zstd.WithEncoderCRC(true))
	if err != nil {
		return 0, err
	}
	n := &counter{w: z}
	t := tar.NewWriter(n)
	for i, e := range entries {
		if i > 0 && entries[i-1].Name == e.Name {
			return 0, fmt.Errorf("two entries are named %s", e.Name)
		}
		if err := checkName(e.Name); err != nil {
			return 0, err
		}
		if err := put(t, e); err != nil {
			return 0, fmt.Errorf("%s: %w", e.Name, err)
		}
	}
	err = errors.Join(t.Close(), z.Close())
	return n.n, err
}

// maxWindow bounds what the decoder must remember, in bytes.
const maxWindow = 8 << 20

func put(t *tar.Writer, e Entry) error {
	head := &tar.Header{Typeflag: tar.TypeReg, Name: e.Name, Mode: 0o644}
	if e.Exec {
		head.Mode = 0o755
	}
	if e.Same != "" {
		head.Typeflag, head.Linkname = tar.TypeLink, e.Same
		return t.WriteHeader(head)
	}
	content := io.Reader(bytes.NewReader(e.Data))
	head.Size = int64(len(e.Data))
	if e.Path != "" {
		f, err := os.Open(e.Path)
		if err != nil {
			return err
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			return err
		}
		if !info.Mode().IsRegular() {
			return &fs.PathError{Op: "pack", Path: e.Path, Err: errors.New("not a regular file")}
		}
		content, head.Size = f, info.Size()
	}
	if err := t.WriteHeader(head); err != nil {
		return err
	}
	h := sha256.New()
	if _, err := io.Copy(io.MultiWriter(t, h), content); err != nil {
		return err
	}
	if got := "sha256:" + hex.EncodeToString(h.Sum(nil)); e.Digest != "" && got != e.Digest {
		return fmt.Errorf("it has the digest %s and should have %s: it was changed after it was stored", got, e.Digest)
	}
	return nil
}

// counter counts what is written.
type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}
