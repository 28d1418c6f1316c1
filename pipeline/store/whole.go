package store

import (
	"fmt"
	"os"
	"path/filepath"
)

// WholeJournal returns the text of a journal as far as its lines are whole,
// and whether that is all of it.
func WholeJournal(path string) (text []byte, all bool, err error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, false, err
	}
	c, err := readChain(path, data)
	return data[:c.good], c.good == len(data), err
}

// StageDir makes a folder for what is to become a part of the store by a
// rename. The caller is a writer (see [Objects.Enter]); what a death leaves in
// it is cleared away.
func (o *Objects) StageDir() (string, error) {
	dir, err := os.MkdirTemp(filepath.Join(o.dir, stagingDir), "folder-*")
	if err != nil {
		return "", fmt.Errorf("store: %w", err)
	}
	return dir, os.Chmod(dir, 0o755)
}

// Link gives a stored file a name, as a hard link where that can be.
func (o *Objects) Link(digest, path string, exec bool) error {
	object := o.objectPath(digest)
	info, err := os.Stat(object)
	if err != nil {
		return err
	}
	if is := info.Mode().Perm()&0o111 != 0; is == exec && os.Link(object, path) == nil {
		return nil
	}
	return copyTo(object, path, exec)
}
