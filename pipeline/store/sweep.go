package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"calrun/pipeline/lock"
)

// Alone keeps every writer out of the store until the lock that it returns
// ends, or says that there is one ([lock.ErrHeld]).
func (o *Objects) Alone() (*lock.Lock, error) {
	dir := filepath.Join(o.dir, stagingDir)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	return lock.Try(dir)
}

// Busy says whether there is a writer. It writes nothing itself, not even a
// folder.
func (o *Objects) Busy() bool {
	dir := filepath.Join(o.dir, stagingDir)
	if _, err := os.Stat(dir); err != nil {
		return false
	}
	l, err := lock.Try(dir)
	if err == nil {
		l.Unlock()
	}
	return errors.Is(err, lock.ErrHeld)
}

// Inside are the digests of the files of a tree; nil for what is no tree.
func (o *Objects) Inside(digest string) []string {
	entries, err := o.readTree(digest)
	if err != nil {
		return nil
	}
	var out []string
	for _, e := range entries {
		if !e.dir {
			out = append(out, e.digest)
		}
	}
	return out
}

// Sweep removes the objects that are not named, after it has told each. With
// dry nothing is removed; else the caller is [Objects.Alone].
func (o *Objects) Sweep(named map[string]bool, dry bool, tell func(path string)) error {
	err := filepath.WalkDir(filepath.Join(o.dir, objectsDir), func(path string, d fs.DirEntry, err error) error {
		if dry && errors.Is(err, fs.ErrNotExist) {
			return nil // a writer took it away
		}
		if err != nil || d.IsDir() || named[DigestPrefix+strings.TrimSuffix(d.Name(), treeSuffix)] {
			return err
		}
		tell(path)
		if dry {
			return nil
		}
		return os.Remove(path)
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
