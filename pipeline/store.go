package pipeline

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// Names in the folder of a store and of a run.
const (
	runsDir    = "runs"
	objectsDir = "objects/sha256"
	stagingDir = "objects/staging"
	treeSuffix = ".tree"
	lockFile   = "lock"
	resultFile = "result.json"
	logFile    = "log"
)

// inlineLimit is the size in bytes up to which a value stands in the journal.
const inlineLimit = 64 << 10

// Store is a folder `.calrun`: runs with their journals, and the objects
// (files, and listings of folder trees) that they share, each under its own
// digest. Nothing is created before something is written.
type Store struct{ dir string }

// OpenStore opens the store in a folder that may not exist yet.
func OpenStore(dir string) (*Store, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	info, err := os.Stat(abs)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("open store: %w", err)
	}
	if err == nil && !info.IsDir() {
		return nil, fmt.Errorf("open store: %s is a file; calrun needs a folder there, or another one by --dir", abs)
	}
	return &Store{dir: abs}, nil
}

// Dir is the store's folder, absolute.
func (s *Store) Dir() string { return s.dir }

// RunDir is the folder of a run.
func (s *Store) RunDir(id string) string { return filepath.Join(s.dir, runsDir, id) }

// runID is the form of a run's name: sortable by its start in UTC.
var runID = regexp.MustCompile(`^\d{8}-\d{6}-[0-9a-f]{4}$`)

// Runs returns the ids of all runs, oldest first.
func (s *Store) Runs() ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(s.dir, runsDir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list runs: %w", err)
	}
	var ids []string
	for _, e := range entries {
		if e.IsDir() && runID.MatchString(e.Name()) {
			ids = append(ids, e.Name())
		}
	}
	return ids, nil
}

// createRun makes the folder of a new run and returns its id.
func (s *Store) createRun(now time.Time) (string, error) {
	if err := os.MkdirAll(filepath.Join(s.dir, runsDir), 0o755); err != nil {
		return "", fmt.Errorf("create run: %w", err)
	}
	for {
		var tail [2]byte
		if _, err := rand.Read(tail[:]); err != nil {
			return "", fmt.Errorf("create run: %w", err)
		}
		id := now.UTC().Format("20060102-150405") + "-" + hex.EncodeToString(tail[:])
		err := os.Mkdir(s.RunDir(id), 0o755)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return "", fmt.Errorf("create run: %w", err)
		}
		return id, syncDir(filepath.Join(s.dir, runsDir))
	}
}

// lockRun takes a run for this process.
func (s *Store) lockRun(id string) (*fileLock, error) {
	l, err := tryLock(filepath.Join(s.RunDir(id), lockFile))
	if errors.Is(err, errHeld) {
		return nil, fmt.Errorf("run %s is being worked on by another process; wait for it or stop it", id)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("no run %s in %s", id, s.dir)
	}
	return l, err
}

// objectPath is where the file with that digest lies.
func (s *Store) objectPath(digest string) string {
	hexa := strings.TrimPrefix(digest, digestPrefix)
	if len(hexa) < 2 {
		hexa = "__" // no digest: a place that never exists
	}
	return filepath.Join(s.dir, objectsDir, hexa[:2], hexa)
}

// Has says whether the store holds the file or tree with that digest, a tree
// with all its files.
func (s *Store) Has(digest string) bool {
	if isFile(s.objectPath(digest)) {
		return true
	}
	entries, err := s.readTree(digest)
	if err != nil {
		return false
	}
	for _, e := range entries {
		if !e.dir && !isFile(s.objectPath(e.digest)) {
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
func (s *Store) PutBytes(data []byte) (string, error) {
	return s.putBytes(data, "")
}

func (s *Store) putBytes(data []byte, suffix string) (string, error) {
	digest := digestBytes(data)
	path := s.objectPath(digest) + suffix
	if isFile(path) {
		return digest, nil
	}
	return digest, s.place(path, func(f *os.File) error {
		_, err := f.Write(data)
		return err
	})
}

// Put stores a file or folder and returns its digest. With link the files
// themselves become the objects, read-only from then on (a step's own
// output); without, they are copied (what belongs to the user).
func (s *Store) Put(path string, link bool) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", fmt.Errorf("store: %w", err)
	}
	put := s.copyFile
	if link {
		put = s.linkFile
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
	return s.putBytes(listing(entries), treeSuffix)
}

// linkFile makes a file an object. Where the file system refuses hard links
// it is copied.
func (s *Store) linkFile(path string) (string, int64, error) {
	digest, size, err := digestFile(path)
	if err != nil {
		return "", 0, err
	}
	object := s.objectPath(digest)
	if isFile(object) {
		return digest, size, sealFile(path)
	}
	if info, err := os.Lstat(path); err != nil || !info.Mode().IsRegular() {
		return s.copyFile(path) // a symbolic link: its target is not ours
	}
	if err := errors.Join(syncPath(path), sealFile(path), os.MkdirAll(filepath.Dir(object), 0o755)); err != nil {
		return "", 0, err
	}
	if err := os.Link(path, object); err != nil && !errors.Is(err, fs.ErrExist) {
		return s.copyFile(path)
	}
	return digest, size, syncDir(filepath.Dir(object))
}

// copyFile stores a copy, unless the store has it; the digest is that of the
// bytes written.
func (s *Store) copyFile(path string) (string, int64, error) {
	if digest, size, err := digestFile(path); err == nil && isFile(s.objectPath(digest)) {
		return digest, size, nil
	}
	in, err := os.Open(path)
	if err != nil {
		return "", 0, err
	}
	defer in.Close()
	staging, err := s.stage()
	if err != nil {
		return "", 0, err
	}
	defer func() { _ = os.Remove(staging.Name()) }() // gone already once it is placed
	defer staging.Close()
	h := sha256.New()
	size, err := io.Copy(io.MultiWriter(staging, h), in)
	if err != nil {
		return "", 0, fmt.Errorf("copy %s: %w", path, err)
	}
	digest := digestPrefix + hex.EncodeToString(h.Sum(nil))
	return digest, size, s.settle(staging, s.objectPath(digest))
}

// place writes an object atomically.
func (s *Store) place(path string, write func(*os.File) error) error {
	staging, err := s.stage()
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(staging.Name()) }()
	defer staging.Close()
	if err := write(staging); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	return s.settle(staging, path)
}

func (s *Store) stage() (*os.File, error) {
	dir := filepath.Join(s.dir, stagingDir)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	f, err := os.CreateTemp(dir, "object-*")
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	return f, nil
}

// settle makes a staged file durable under its name.
func (s *Store) settle(staging *os.File, path string) error {
	err := errors.Join(
		staging.Chmod(0o444),
		staging.Sync(),
		os.MkdirAll(filepath.Dir(path), 0o755),
	)
	if err == nil {
		err = os.Rename(staging.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	return syncDir(filepath.Dir(path))
}

// Bytes returns the content of a stored file after checking its digest.
func (s *Store) Bytes(digest string) ([]byte, error) {
	data, err := os.ReadFile(s.objectPath(digest))
	if err != nil {
		return nil, fmt.Errorf("read object %s: %w", digest, err)
	}
	if got := digestBytes(data); got != digest {
		return nil, fmt.Errorf("object %s has the digest %s: it was changed after it was stored", digest, got)
	}
	return data, nil
}

func (s *Store) readTree(digest string) ([]treeEntry, error) {
	data, err := os.ReadFile(s.objectPath(digest) + treeSuffix)
	if err != nil {
		return nil, err
	}
	if got := digestBytes(data); got != digest {
		return nil, fmt.Errorf("tree %s has the digest %s: it was changed after it was stored", digest, got)
	}
	return parseListing(data)
}

// value returns a JSON document as the journal keeps it.
func (s *Store) value(doc json.RawMessage) (*Value, error) {
	if len(doc) <= inlineLimit {
		return &Value{Digest: digestBytes(doc), JSON: doc}, nil
	}
	digest, err := s.PutBytes(doc)
	return &Value{Digest: digest}, err
}

// load fills in what a value left to the store.
func (s *Store) load(v *Value) error {
	if v == nil || v.JSON != nil {
		return nil
	}
	data, err := s.Bytes(v.Digest)
	v.JSON = data
	return err
}
