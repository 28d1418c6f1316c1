// Package source identifies a computation by the text of the code that does
// it: two builds with the same [Digest] find the same numbers, whatever else
// differs between them. A package embeds its own Go files for it.
package source

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"strings"
)

// Room is a package and its Go files. Tests among them do not count.
type Room struct {
	Name  string
	Files embed.FS
}

// Digest is "sha256:<64 hex>" over the rooms, in the order given.
func Digest(rooms ...Room) string {
	h := sha256.New()
	for _, r := range rooms {
		names, err := fs.Glob(r.Files, "*.go") // sorted
		if err != nil {
			panic("source: the pattern is fixed: " + err.Error())
		}
		for _, name := range names {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			text, err := r.Files.ReadFile(name)
			if err != nil {
				panic("source: a file that was embedded: " + err.Error())
			}
			fmt.Fprintf(h, "%s/%s %d\n", r.Name, name, len(text))
			h.Write(text)
		}
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil))
}
