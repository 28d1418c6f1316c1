package fit

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"strings"
)

//go:embed *.go
var sources embed.FS

// Digest identifies what computes a fit: the sources of this package. Two
// builds with the same digest find the same values with the same simulator.
func Digest() string {
	h := sha256.New()
	names, err := fs.Glob(sources, "*.go") // sorted
	if err != nil {
		panic("fit: its own sources: " + err.Error())
	}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		text, err := sources.ReadFile(name)
		if err != nil {
			panic("fit: its own sources: " + err.Error())
		}
		fmt.Fprintf(h, "%s %d\n", name, len(text))
		h.Write(text)
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil))
}
