package simulator

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"strings"

	"calrun/internal/profile"
	"calrun/internal/trace"
)

//go:embed *.go
var sources embed.FS

// Digest identifies what computes a simulation: the sources of this package
// and of those whose code decides its numbers. Two builds with the same digest
// simulate the same, whatever else differs between them.
func Digest() string {
	h := sha256.New()
	for _, p := range []struct {
		name string
		fs   embed.FS
	}{{"simulator", sources}, {"profile", profile.Sources}, {"trace", trace.Sources}} {
		names, err := fs.Glob(p.fs, "*.go") // sorted
		if err != nil {
			panic("simulator: its own sources: " + err.Error())
		}
		for _, name := range names {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			text, err := p.fs.ReadFile(name)
			if err != nil {
				panic("simulator: its own sources: " + err.Error())
			}
			fmt.Fprintf(h, "%s/%s %d\n", p.name, name, len(text))
			h.Write(text)
		}
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil))
}
