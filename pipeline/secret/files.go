package secret

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// chunk is how much of a file is looked through at once, in bytes.
const chunk = 1 << 20

// InFile says whether a secret stands in a file.
func (m *Mask) InFile(path string) (bool, error) {
	if m.Empty() {
		return false, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	found := false
	err = m.scan(f, func(int64, int) error { found = true; return io.EOF })
	return found, err
}

// InTree returns the first file in a folder, or the file itself, in which or
// in whose name a secret stands; "" if there is none.
func (m *Mask) InTree(root string) (path string, err error) {
	if m.Empty() {
		return "", nil
	}
	err = m.walk(root, func(p string, e fs.DirEntry) error {
		bad := m.Text(e.Name()) != e.Name()
		if !bad && e.Type().IsRegular() {
			var err error
			if bad, err = m.InFile(p); err != nil {
				return err
			}
		}
		if bad {
			path = m.Text(p)
			return fs.SkipAll
		}
		return nil
	})
	return path, err
}

// Scrub overwrites the secrets in the files of a folder with stars, in place
// and in the same length, and returns the files that it changed. A file or
// folder whose name has a secret in it is removed, and that is an error.
func (m *Mask) Scrub(root string) (changed []string, err error) {
	if m.Empty() {
		return nil, nil
	}
	err = m.walk(root, func(p string, e fs.DirEntry) error {
		if clean := m.Text(e.Name()); clean != e.Name() {
			if err := os.RemoveAll(p); err != nil {
				return err
			}
			return fmt.Errorf("the name of %s holds a secret; it was removed", filepath.Join(m.Text(filepath.Dir(p)), clean))
		}
		if e.Type()&fs.ModeSymlink != 0 {
			to, err := os.Readlink(p)
			if err == nil && m.Text(to) != to {
				return errors.Join(os.Remove(p), fmt.Errorf("where %s points to holds a secret; it was removed", p))
			}
			return err
		}
		if !e.Type().IsRegular() {
			return nil
		}
		dirty, err := m.InFile(p)
		if err != nil || !dirty {
			return err
		}
		changed = append(changed, p)
		return m.overwrite(p)
	})
	return changed, err
}

// walk goes on after an error of one file, so that the next is seen too.
func (m *Mask) walk(root string, visit func(string, fs.DirEntry) error) error {
	var errs []error
	err := filepath.WalkDir(root, func(p string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // removed meanwhile
		}
		if err != nil {
			return err
		}
		err = visit(p, e)
		if errors.Is(err, fs.SkipAll) {
			return err
		}
		if err != nil {
			errs = append(errs, err)
			if _, gone := os.Lstat(p); gone != nil && e.IsDir() {
				return fs.SkipDir
			}
		}
		return nil
	})
	return errors.Join(append(errs, err)...)
}

// overwrite writes stars over the secrets of a file, read-only or not.
func (m *Mask) overwrite(path string) (err error) {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if info.Mode().Perm()&0o200 == 0 {
		if err := os.Chmod(path, info.Mode().Perm()|0o200); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.Chmod(path, info.Mode().Perm())) }()
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	err = m.scan(f, func(at int64, n int) error {
		_, err := f.WriteAt(stars(n), at)
		return err
	})
	return errors.Join(err, f.Sync())
}

// scan calls found with the place and length of each secret in r. io.EOF from
// it ends the scan without an error.
func (m *Mask) scan(r io.Reader, found func(at int64, n int) error) error {
	keep := m.longest() - 1 // what may be the beginning of a secret is looked at again
	buf := make([]byte, 0, chunk+keep)
	var base int64 // of buf in the file
	for {
		n, err := io.ReadFull(r, buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		for _, s := range m.find(buf, 0) {
			if err := found(base+int64(s.from), s.to-s.from); err != nil {
				if errors.Is(err, io.EOF) {
					return nil
				}
				return err
			}
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil
		}
		if err != nil {
			return err
		}
		drop := len(buf) - min(keep, len(buf))
		buf = buf[:copy(buf, buf[drop:])]
		base += int64(drop)
	}
}
