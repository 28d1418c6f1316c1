package pipeline

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"calrun/pipeline/kind"
	"calrun/pipeline/pack"
	"calrun/pipeline/state"
	"calrun/pipeline/store"
)

// The names in a pack: the run's journal, pieces of the store, and of a whole
// run the files of its folder.
const (
	packObjects = "objects/"
	packRun     = "run/"
)

// PackInfo is what is known of a pack before it is unpacked.
type PackInfo = pack.Info

// ErrChanged says that a file is not what calrun wrote: a pack or a lock.
var ErrChanged = pack.ErrChanged

// archive collects what goes into a pack.
type archive struct {
	store   *Store
	entries []pack.Entry
	has     map[string]bool
}

// newArchive begins a pack with a run's journal.
func (s *Store) newArchive(id string) (*archive, error) {
	text, _, err := store.WholeJournal(filepath.Join(s.RunDir(id), journalFile))
	if err != nil {
		return nil, fmt.Errorf("pack run %s: %w", id, err)
	}
	a := &archive{store: s, has: map[string]bool{}}
	a.put(pack.Entry{Name: journalFile, Data: text})
	return a, nil
}

func (a *archive) put(e pack.Entry) {
	if !a.has[e.Name] {
		a.has[e.Name] = true
		a.entries = append(a.entries, e)
	}
}

// add takes an artefact or a value of the journal in; of a tree that is only
// listed, the names and digests of its files.
func (a *archive) add(digest string, listed bool) error {
	pieces, err := a.store.Pieces(digest)
	if err != nil {
		return err
	}
	for i, p := range pieces {
		if tree := strings.Contains(p.Name, "."); listed && (i > 0 || !tree) {
			break
		}
		a.put(pack.Entry{Name: packObjects + p.Name, Path: p.Path, Digest: p.Digest})
	}
	return nil
}

// values takes in what the journal left to the store.
func (a *archive) values(events []Event) error {
	for _, e := range events {
		var values []*state.Value
		if e.Result != nil {
			values = append(values, e.Result)
		}
		if e.Resolved != nil && e.Resolved.Result != nil {
			values = append(values, e.Resolved.Result)
		}
		for _, v := range values {
			if len(v.JSON) <= inlineLimit {
				continue
			}
			if err := a.add(v.Digest, false); err != nil {
				return fmt.Errorf("result of %s: %w", e.Step, err)
			}
		}
	}
	return nil
}

// files takes in the files of the run's folder, those that are pieces of the
// store already by reference.
func (a *archive) files(dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		if d.IsDir() && (rel == artefactDir || strings.HasPrefix(d.Name(), kind.StagingPrefix) || strings.Contains(d.Name(), attemptMark)) {
			return fs.SkipDir
		}
		if rel == journalFile || rel == lockFile || !d.Type().IsRegular() {
			return nil // a link or a socket that a program left: its target is not the run's
		}
		digest, err := store.DigestPath(path)
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		e := pack.Entry{Name: packRun + filepath.ToSlash(rel), Exec: info.Mode().Perm()&0o111 != 0}
		if name := packObjects + strings.TrimPrefix(digest, store.DigestPrefix); a.has[name] {
			e.Same = name
		} else {
			e.Path, e.Digest = path, digest
		}
		a.put(e)
		return nil
	})
}

// Pack writes a whole run, finished or not, into one file: its journal, its
// folder and every artefact that it names.
func (s *Store) Pack(id, file string) (PackInfo, error) {
	lock, err := s.lockRun(id)
	if err != nil {
		return PackInfo{}, err
	}
	defer lock.Unlock()
	past, err := s.ReadRun(id)
	if err != nil {
		return PackInfo{}, err
	}
	a, err := s.newArchive(id)
	if err != nil {
		return PackInfo{}, err
	}
	err = a.values(past.Events)
	for _, digest := range artefactsOfRun(past.Events) {
		if err == nil {
			err = a.add(digest, false)
		}
	}
	if err == nil {
		err = a.files(past.Dir())
	}
	if err != nil {
		return PackInfo{}, fmt.Errorf("pack run %s: %w", id, err)
	}
	return pack.Write(file, a.entries)
}

// artefactsOfRun are the digests of everything that a journal names.
func artefactsOfRun(events []Event) []string {
	seen := digestSet{}
	for _, e := range events {
		if e.Opened != nil {
			seen.addAll(e.Opened.Imported)
		}
		if e.Resolved != nil {
			seen.addAll(e.Resolved.Imported)
			seen.addIn(e.Resolved.With)
			if e.Resolved.Result != nil {
				seen.addIn(e.Resolved.Result.JSON)
			}
		}
		if e.Result != nil {
			seen.addIn(e.Result.JSON)
		}
		if e.Part != nil && e.Part.Digest != "" {
			seen[e.Part.Digest] = true
		}
	}
	return seen.sorted()
}

// Unpack puts the run of a pack into the store and returns its id. most bounds
// the bytes that it unpacks to. The run is there as a whole or not at all, and
// so is a store that was made for it; a run that is there already must have the
// same journal.
func (s *Store) Unpack(file string, most int64) (id string, err error) {
	if _, gone := os.Stat(s.dir); errors.Is(gone, fs.ErrNotExist) {
		defer func() {
			if id == "" {
				err = errors.Join(err, s.unmake())
			}
		}()
	}
	writer, err := s.Enter()
	if err != nil {
		return "", err
	}
	defer writer.Unlock()
	staging, err := s.StageDir()
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(staging) }() // gone already when all went well
	_, err = pack.Read(file, most, func(e pack.Entry, content io.Reader) error { return s.unpackEntry(staging, e, content) })
	if err != nil {
		return "", fmt.Errorf("unpack: %w", err)
	}
	run, err := s.unpackedRun(staging)
	if err != nil {
		return "", fmt.Errorf("unpack %s: %w", file, err)
	}
	if err := s.adoptRun(run, staging); err != nil {
		return "", err
	}
	return run, nil
}

// unmake removes a store in which nothing has come to be, unless another
// process has begun to write to it.
func (s *Store) unmake() error {
	alone, err := s.Alone()
	if err != nil {
		return nil
	}
	defer alone.Unlock()
	if runs, err := s.Runs(); err != nil || len(runs) > 0 {
		return err
	}
	return os.RemoveAll(s.dir)
}

// unpackEntry puts one entry where it belongs.
func (s *Store) unpackEntry(staging string, e pack.Entry, content io.Reader) error {
	rel, inRun := strings.CutPrefix(e.Name, packRun)
	object, isObject := strings.CutPrefix(e.Name, packObjects)
	switch {
	case e.Name == journalFile && content != nil:
		rel = journalFile
	case isObject && content != nil:
		return s.Take(object, content)
	case inRun && rel != journalFile && rel != lockFile && !strings.HasPrefix(rel, artefactDir+"/"):
	default:
		return errors.New("a pack has no place for it")
	}
	to := filepath.Join(staging, filepath.FromSlash(rel))
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	if content == nil {
		hexa, ok := strings.CutPrefix(e.Same, packObjects)
		if !ok {
			return fmt.Errorf("it is a link to %s, which is no piece of the store", e.Same)
		}
		return s.Link(store.DigestPrefix+hexa, to, e.Exec)
	}
	mode := fs.FileMode(0o644)
	if e.Exec {
		mode = 0o755
	}
	f, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, content)
	return errors.Join(err, f.Sync(), f.Close())
}

// unpackedRun checks the journal of an unpacked run and returns the run's id.
func (s *Store) unpackedRun(dir string) (string, error) {
	path := filepath.Join(dir, journalFile)
	_, all, err := store.WholeJournal(path)
	if err != nil {
		return "", err
	}
	if !all {
		return "", errors.New("the last line of its journal is not whole")
	}
	lines, err := store.ReadJournal(path)
	if err != nil {
		return "", err
	}
	events, err := readEvents(path, lines)
	if err != nil {
		return "", err
	}
	if len(events) == 0 || events[0].Opened == nil || !runID.MatchString(events[0].Opened.Run) {
		return "", errors.New("its journal does not begin with a run")
	}
	id := events[0].Opened.Run
	_, err = s.fold(id, events)
	return id, err
}

// adoptRun makes a staged folder the folder of a run.
func (s *Store) adoptRun(id, staging string) error {
	runs := filepath.Join(s.dir, runsDir)
	if err := errors.Join(os.MkdirAll(runs, 0o755), store.SyncTree(staging, false)); err != nil {
		return fmt.Errorf("unpack run %s: %w", id, err)
	}
	err := os.Rename(staging, s.RunDir(id))
	if err == nil {
		return store.Sync(runs)
	}
	old, _, oldErr := store.WholeJournal(filepath.Join(s.RunDir(id), journalFile))
	now, _, newErr := store.WholeJournal(filepath.Join(staging, journalFile))
	switch {
	case oldErr != nil || newErr != nil:
		return fmt.Errorf("unpack run %s: %w", id, err)
	case string(old) != string(now):
		return fmt.Errorf("unpack run %s: %s has a run of that name with another journal; unpack into another folder by --dir", id, s.dir)
	}
	return nil // it is there already
}
