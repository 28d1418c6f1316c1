package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
)

// DigestPrefix stands before the hexadecimal SHA-256 in every digest.
const DigestPrefix = "sha256:"

// treeHeader is the first line of a tree's listing, so that its form can
// change without two forms sharing a digest.
const treeHeader = "calrun tree 1\n"

// treeEntry is a file or folder of a tree. Times, owners and modes other than
// the executable bit are no part of it: a copy has the same digest.
type treeEntry struct {
	path   string // slash-separated, relative
	dir    bool
	exec   bool
	digest string
	size   int64
}

// listing writes entries in the form whose SHA-256 is the tree's digest.
func listing(entries []treeEntry) []byte {
	sort.Slice(entries, func(i, j int) bool { return entries[i].path < entries[j].path })
	var b bytes.Buffer
	b.WriteString(treeHeader)
	for _, e := range entries {
		switch {
		case e.dir:
			fmt.Fprintf(&b, "d %q\n", e.path)
		case e.exec:
			fmt.Fprintf(&b, "x %s %d %q\n", e.digest, e.size, e.path)
		default:
			fmt.Fprintf(&b, "f %s %d %q\n", e.digest, e.size, e.path)
		}
	}
	return b.Bytes()
}

// parseListing reads what listing wrote.
func parseListing(data []byte) ([]treeEntry, error) {
	text, ok := strings.CutPrefix(string(data), treeHeader)
	if !ok {
		return nil, errors.New("no listing of a tree: its first line is not " + strconv.Quote(strings.TrimSpace(treeHeader)))
	}
	var entries []treeEntry
	for n, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		if line == "" {
			continue
		}
		e, err := parseTreeLine(line)
		if err != nil {
			return nil, fmt.Errorf("tree listing: line %d: %w", n+2, err)
		}
		entries = append(entries, e)
	}
	return entries, nil
}

func parseTreeLine(line string) (e treeEntry, err error) {
	sort, rest, _ := strings.Cut(line, " ")
	var size string
	switch sort {
	case "d":
		e.dir = true
	case "f", "x":
		e.exec = sort == "x"
		e.digest, rest, _ = strings.Cut(rest, " ")
		size, rest, _ = strings.Cut(rest, " ")
		if e.size, err = strconv.ParseInt(size, 10, 64); err != nil {
			return e, fmt.Errorf("size %q is not a number", size)
		}
	default:
		return e, fmt.Errorf("%q is neither d, f nor x", sort)
	}
	if e.path, err = strconv.Unquote(rest); err != nil {
		return e, fmt.Errorf("path %s is not quoted", rest)
	}
	if !filepath.IsLocal(filepath.FromSlash(e.path)) {
		return e, fmt.Errorf("path %q leaves the tree", e.path)
	}
	return e, nil
}

// walkTree lists the files and folders below root, calling put for every
// regular file to learn its digest. Links to files count as the file.
func walkTree(root string, put func(path string) (digest string, size int64, err error)) ([]treeEntry, error) {
	var entries []treeEntry
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if path == root {
			return nil
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		e := treeEntry{path: filepath.ToSlash(rel), dir: d.IsDir()}
		if !e.dir {
			info, err := os.Stat(path)
			if err != nil {
				return err
			}
			if !info.Mode().IsRegular() {
				return fmt.Errorf("%s is neither a file nor a folder (%s): an artefact cannot hold it", path, info.Mode().Type())
			}
			e.exec = info.Mode().Perm()&0o111 != 0
			if e.digest, e.size, err = put(path); err != nil {
				return err
			}
		}
		entries = append(entries, e)
		return nil
	})
	return entries, err
}

// DigestPath returns the digest that a file or folder has as an artefact,
// without storing it.
func DigestPath(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if !info.IsDir() {
		digest, _, err := digestFile(path)
		return digest, err
	}
	entries, err := walkTree(path, digestFile)
	if err != nil {
		return "", err
	}
	return Digest(listing(entries)), nil
}

func digestFile(path string) (string, int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", 0, err
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(h, f)
	if err != nil {
		return "", 0, fmt.Errorf("read %s: %w", path, err)
	}
	return DigestPrefix + hex.EncodeToString(h.Sum(nil)), n, nil
}

// Digest is the digest of a file with that content.
func Digest(data []byte) string {
	sum := sha256.Sum256(data)
	return DigestPrefix + hex.EncodeToString(sum[:])
}

// Sync makes a file's content, or a folder's names, durable.
func Sync(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("sync: %w", err)
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		return fmt.Errorf("sync %s: %w", path, err)
	}
	return nil
}

// SyncTree makes everything below root durable, names included; what it
// meets becomes read-only if seal is set.
func SyncTree(root string, seal bool) error {
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if !d.IsDir() && !d.Type().IsRegular() {
			return nil
		}
		if err := Sync(path); err != nil {
			return err
		}
		if seal && !d.IsDir() {
			return sealFile(path)
		}
		return nil
	})
}

// sealFile takes the right to write from a file; the executable bit stays.
func sealFile(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	return os.Chmod(path, info.Mode().Perm()&^0o222)
}
