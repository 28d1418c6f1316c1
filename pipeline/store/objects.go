// Package store keeps what must outlive a process: [Objects], files and folder
// trees under their digests, and a [Journal], a file of chained lines to which
// is only appended. It knows digests and JSON, and nothing of plans, steps and
// runs. Whatever it says is written is on the disk.
package store

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"calrun/internal/failpoint"
)

// Names below the folder of the objects.
const (
	objectsDir = "objects/sha256"
	stagingDir = "objects/staging"
	treeSuffix = ".tree"
)

// Objects are files, and listings of folder trees, each under its own digest.
// Nothing is created before something is written.
type Objects struct{ dir string }

// NewObjects are the objects below a folder that may not exist yet.
func NewObjects(dir string) *Objects { return &Objects{dir: dir} }

// objectPath is where the file with that digest lies.
func (o *Objects) objectPath(digest string) string {
	hexa := strings.TrimPrefix(digest, DigestPrefix)
	if len(hexa) < 2 {
		hexa = "__" // no digest: a place that never exists
	}
	return filepath.Join(o.dir, objectsDir, hexa[:2], hexa)
}

// Has says whether the store holds the file or tree with that digest, a tree
// with all its files.
func (o *Objects) Has(digest string) bool {
	if isFile(o.objectPath(digest)) {
		return true
	}
	entries, err := o.readTree(digest)
	if err != nil {
		return false
	}
	for _, e := range entries {
		if !e.dir && !isFile(o.objectPath(e.digest)) {
			return false
		}
	}
	return true
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// PutBytes stores a file with that content and returns its digest.
func (o *Objects) PutBytes(data []byte) (string, error) {
	return o.putBytes(data, "")
}

func (o *Objects) putBytes(data []byte, suffix string) (string, error) {
	digest := Digest(data)
	path := o.objectPath(digest) + suffix
	if isFile(path) {
		return digest, nil
	}
	return digest, o.place(path, func(f *os.File) error {
		_, err := failpoint.Write("object.write", f, data)
		return err
	})
}

// Put stores a file or folder and returns its digest. With link the files
// themselves become the objects, read-only from then on (a step's own
// output); without, they are copied (what belongs to the user).
func (o *Objects) Put(path string, link bool) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", fmt.Errorf("store: %w", err)
	}
	put := o.copyFile
	if link {
		put = o.linkFile
	}
	if !info.IsDir() {
		digest, _, err := put(path)
		if err != nil {
			return "", fmt.Errorf("store %s: %w", path, err)
		}
		return digest, nil
	}
	entries, err := walkTree(path, put)
	if err != nil {
		return "", fmt.Errorf("store %s: %w", path, err)
	}
	failpoint.At("object.tree")
	return o.putBytes(listing(entries), treeSuffix)
}

// linkFile makes a file an object. Where the file system refuses hard links
// it is copied.
func (o *Objects) linkFile(path string) (string, int64, error) {
	digest, size, err := digestFile(path)
	if err != nil {
		return "", 0, err
	}
	object := o.objectPath(digest)
	if isFile(object) {
		return digest, size, sealFile(path)
	}
	if info, err := os.Lstat(path); err != nil || !info.Mode().IsRegular() {
		return o.copyFile(path) // a symbolic link: its target is not ours
	}
	err = errors.Join(failpoint.Err("object.link-sync"), Sync(path), sealFile(path), os.MkdirAll(filepath.Dir(object), 0o755))
	if err != nil {
		return "", 0, err
	}
	failpoint.At("object.link")
	if err := os.Link(path, object); err != nil && !errors.Is(err, fs.ErrExist) {
		return o.copyFile(path)
	}
	failpoint.At("object.linked")
	return digest, size, Sync(filepath.Dir(object))
}

// copyFile stores a copy, unless the store has it; the digest is that of the
// bytes written.
func (o *Objects) copyFile(path string) (string, int64, error) {
	if digest, size, err := digestFile(path); err == nil && isFile(o.objectPath(digest)) {
		return digest, size, nil
	}
	in, err := os.Open(path)
	if err != nil {
		return "", 0, err
	}
	defer in.Close()
	staging, err := o.stage()
	if err != nil {
		return "", 0, err
	}
	defer func() { _ = os.Remove(staging.Name()) }() // gone already once it is placed
	defer staging.Close()
	h := sha256.New()
	size, err := io.Copy(io.MultiWriter(staging, h), in)
	if err = errors.Join(err, failpoint.Err("object.copy")); err != nil {
		return "", 0, fmt.Errorf("copy %s: %w", path, err)
	}
	digest := DigestPrefix + hex.EncodeToString(h.Sum(nil))
	return digest, size, o.settle(staging, o.objectPath(digest))
}

// place writes an object atomically.
func (o *Objects) place(path string, write func(*os.File) error) error {
	staging, err := o.stage()
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(staging.Name()) }()
	defer staging.Close()
	if err := write(staging); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	return o.settle(staging, path)
}

func (o *Objects) stage() (*os.File, error) {
	dir := filepath.Join(o.dir, stagingDir)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	f, err := os.CreateTemp(dir, "object-*")
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	failpoint.At("object.staged")
	return f, nil
}

// settle makes a staged file durable under its name.
func (o *Objects) settle(staging *os.File, path string) error {
	err := errors.Join(
		staging.Chmod(0o444),
		failpoint.Err("object.sync"),
		staging.Sync(),
		os.MkdirAll(filepath.Dir(path), 0o755),
	)
	if err == nil {
		failpoint.At("object.rename")
		err = os.Rename(staging.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	if err := failpoint.Err("object.renamed"); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	return Sync(filepath.Dir(path))
}

// Open returns the place of a stored file.
func (o *Objects) Open(digest string) (string, error) {
	path := o.objectPath(digest)
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("artefact %s: %w", digest, err)
	}
	return path, nil
}

// Check reads a file, or a folder with all its files, again and holds it
// against its digest: an error names what is missing or was changed after it
// was stored.
func (o *Objects) Check(digest string) error {
	files, err := o.files(digest)
	if err != nil {
		return fmt.Errorf("artefact %s: %w", digest, err)
	}
	for _, path := range slices.Sorted(maps.Keys(files)) {
		e := files[path]
		if e.dir {
			continue
		}
		got, _, err := digestFile(o.objectPath(e.digest))
		if err != nil {
			return fmt.Errorf("artefact %s: %s: %w", digest, path, err)
		}
		if got != e.digest {
			return fmt.Errorf("artefact %s: %s was changed after it was stored: its digest is %s, it was %s", digest, path, got, e.digest)
		}
	}
	return nil
}

// Bytes returns the content of a stored file after checking its digest.
func (o *Objects) Bytes(digest string) ([]byte, error) {
	data, err := os.ReadFile(o.objectPath(digest))
	if err != nil {
		return nil, fmt.Errorf("read object %s: %w", digest, err)
	}
	if got := Digest(data); got != digest {
		return nil, fmt.Errorf("object %s has the digest %s: it was changed after it was stored", digest, got)
	}
	return data, nil
}

func (o *Objects) readTree(digest string) ([]treeEntry, error) {
	data, err := os.ReadFile(o.objectPath(digest) + treeSuffix)
	if err != nil {
		return nil, err
	}
	if got := Digest(data); got != digest {
		return nil, fmt.Errorf("tree %s has the digest %s: it was changed after it was stored", digest, got)
	}
	return parseListing(data)
}
