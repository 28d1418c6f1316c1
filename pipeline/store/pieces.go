package store

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
)

// Piece is a file of the store: the content of a file, or the listing of a
// tree. An artefact consists of one or more.
type Piece struct {
	Name   string // hexadecimal SHA-256, with ".tree" behind it for a listing: see [Objects.Take]
	Digest string
	Path   string
	Size   int64
}

// Pieces lists what the artefact with that digest consists of: the file, or
// the tree's listing and behind it the files that it lists.
func (o *Objects) Pieces(digest string) ([]Piece, error) {
	if path := o.objectPath(digest); isFile(path) {
		p, err := o.piece(digest, "")
		return []Piece{p}, err
	}
	entries, err := o.readTree(digest)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("artefact %s is not in the store %s: it was removed, or belongs to a run elsewhere", digest, o.dir)
	}
	if err != nil {
		return nil, err
	}
	listing, err := o.piece(digest, treeSuffix)
	if err != nil {
		return nil, err
	}
	pieces := []Piece{listing}
	for _, e := range entries {
		if e.dir {
			continue
		}
		p, err := o.piece(e.digest, "")
		if err != nil {
			return nil, fmt.Errorf("artefact %s: %s: %w", digest, e.path, err)
		}
		pieces = append(pieces, p)
	}
	return pieces, nil
}

func (o *Objects) piece(digest, suffix string) (Piece, error) {
	p := Piece{Digest: digest, Name: strings.TrimPrefix(digest, DigestPrefix) + suffix, Path: o.objectPath(digest) + suffix}
	info, err := os.Stat(p.Path)
	if err != nil {
		return p, fmt.Errorf("a piece of the store is missing: %w", err)
	}
	p.Size = info.Size()
	return p, nil
}

// Take stores a piece under its name, which the content must bear out. A tree's
// listing must be one whose paths stay inside the tree.
func (o *Objects) Take(name string, content io.Reader) error {
	hexa, tree := strings.CutSuffix(name, treeSuffix)
	if raw, err := hex.DecodeString(hexa); err != nil || len(raw) != sha256.Size || hexa != strings.ToLower(hexa) {
		return fmt.Errorf("piece %q: its name is not a SHA-256", name)
	}
	path := o.objectPath(DigestPrefix + hexa)
	if tree {
		path += treeSuffix
	}
	h := sha256.New()
	var text strings.Builder
	var to io.Writer = h
	if tree {
		to = io.MultiWriter(h, &text)
	}
	return o.place(path, func(f *os.File) error {
		if _, err := io.Copy(io.MultiWriter(f, to), content); err != nil {
			return err
		}
		if got := hex.EncodeToString(h.Sum(nil)); got != hexa {
			return fmt.Errorf("piece %.12s… has the digest %.12s…: it was changed", hexa, got)
		}
		if tree {
			if _, err := parseListing([]byte(text.String())); err != nil {
				return fmt.Errorf("piece %.12s…: %w", hexa, err)
			}
		}
		return nil
	})
}
