package store

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"calrun/internal/failpoint"
)

// Materialise makes the file or tree with that digest available below dir
// and returns its path. Files are hard links to the objects, so it costs
// names, not bytes; where that cannot be they are copied. name is what the
// user calls a file, if anybody knows: errors speak of it, and programs look
// at its extension.
func (o *Objects) Materialise(digest, dir, name string) (string, error) {
	if object := o.objectPath(digest); isFile(object) {
		return nameFile(object, filepath.Join(dir, shortName(digest)), name)
	}
	entries, err := o.readTree(digest)
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("artefact %s is not in the store %s: it was removed, or belongs to a run elsewhere", digest, o.dir)
	}
	if err != nil {
		return "", err
	}
	to := filepath.Join(dir, shortName(digest))
	if _, err := os.Stat(to); err == nil {
		return to, nil // it got its name when it was whole
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("materialise %s: %w", digest, err)
	}
	staging, err := os.MkdirTemp(dir, ".staging-*")
	if err != nil {
		return "", fmt.Errorf("materialise %s: %w", digest, err)
	}
	defer func() { _ = os.RemoveAll(staging) }() // gone already once it has its name
	failpoint.At("materialise.staged")
	if err := o.unpackTree(entries, staging); err != nil {
		return "", fmt.Errorf("materialise %s: %w", digest, err)
	}
	failpoint.At("materialise.rename")
	if err := errors.Join(os.Chmod(staging, 0o755), os.Rename(staging, to)); err != nil {
		if _, there := os.Stat(to); there == nil {
			return to, nil // another process was faster
		}
		return "", fmt.Errorf("materialise %s: %w", digest, err)
	}
	failpoint.At("materialise.renamed")
	return to, nil
}

// shortName is what an artefact's place in a run is called.
func shortName(digest string) string { return strings.TrimPrefix(digest, DigestPrefix)[:16] }

// Place is where [Objects.Materialise] makes a file of that name, or a tree,
// available below dir.
func (o *Objects) Place(digest, dir, name string) string {
	place := filepath.Join(dir, shortName(digest))
	if isFile(o.objectPath(digest)) {
		return filepath.Join(place, name)
	}
	return place
}

// nameFile gives an object a name in a folder of its own.
func nameFile(object, dir, name string) (string, error) {
	if name == "" {
		return object, nil
	}
	path := filepath.Join(dir, name)
	if isFile(path) {
		return path, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("materialise %s: %w", name, err)
	}
	if err := os.Link(object, path); err != nil && !errors.Is(err, fs.ErrExist) {
		return object, nil // no hard links here: the object serves, without its name
	}
	return path, nil
}

func (o *Objects) unpackTree(entries []treeEntry, root string) error {
	for _, e := range entries {
		path := filepath.Join(root, filepath.FromSlash(e.path))
		if e.dir {
			if err := os.MkdirAll(path, 0o755); err != nil {
				return err
			}
			continue
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		object := o.objectPath(e.digest)
		info, err := os.Stat(object)
		if err != nil {
			return err
		}
		// One object may be executable in one tree and not in another; then
		// the link would have the wrong bit.
		if exec := info.Mode().Perm()&0o111 != 0; exec == e.exec && os.Link(object, path) == nil {
			failpoint.At("materialise.linked")
			continue
		}
		if err := copyTo(object, path, e.exec); err != nil {
			return err
		}
	}
	return nil
}

func copyTo(from, to string, exec bool) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	mode := fs.FileMode(0o444)
	if exec {
		mode = 0o555
	}
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
