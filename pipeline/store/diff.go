package store

import (
	"maps"
	"slices"
)

// FileChange is a file that differs between two artefacts.
type FileChange struct {
	Path string `json:"path"`           // in the folder, slash-separated; "" for an artefact that is a file
	Old  string `json:"old,omitempty"`  // digest; empty if it was not there
	New  string `json:"new,omitempty"`  // digest; empty if it is not there any more
	Mode bool   `json:"mode,omitempty"` // the executable bit differs
}

// Diff names the files that differ between two artefacts of the store.
func (o *Objects) Diff(old, now string) ([]FileChange, error) {
	a, err := o.files(old)
	if err != nil {
		return nil, err
	}
	b, err := o.files(now)
	if err != nil {
		return nil, err
	}
	both := maps.Clone(a)
	maps.Copy(both, b)
	var out []FileChange
	for _, path := range slices.Sorted(maps.Keys(both)) {
		was, is := a[path], b[path]
		if was == is {
			continue
		}
		out = append(out, FileChange{Path: path, Old: was.digest, New: is.digest, Mode: was.digest == is.digest})
	}
	return out, nil
}

// files are the entries of a tree by path; an artefact that is a file is one
// without a name.
func (o *Objects) files(digest string) (map[string]treeEntry, error) {
	if isFile(o.objectPath(digest)) {
		return map[string]treeEntry{"": {digest: digest}}, nil
	}
	entries, err := o.readTree(digest)
	if err != nil {
		return nil, err
	}
	out := make(map[string]treeEntry, len(entries))
	for _, e := range entries {
		out[e.path] = e
	}
	return out, nil
}
