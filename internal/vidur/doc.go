// Package vidur drives the real Vidur, a simulator of LLM serving written in
// Python: it finds or installs it ([Probe], [Managed]), hands it a profile and
// a trace, runs it ([Simulator]), and believes what comes back only if nothing
// of the input was changed on the way.
//
// Two simulators go by the name. They have other flags, other trace columns,
// other defaults, and give other numbers; a [Dialect] says which one it is,
// and no result goes without it.
//
// Start with [Setup], which is all that decides a simulation but the trace.
package vidur

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

// Digest identifies the adapter: the sources of this package, which decide
// what Vidur is given and how its answer is read.
func Digest() string {
	h := sha256.New()
	names, err := fs.Glob(sources, "*.go") // sorted
	if err != nil {
		panic("vidur: its own sources: " + err.Error())
	}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		text, err := sources.ReadFile(name)
		if err != nil {
			panic("vidur: its own sources: " + err.Error())
		}
		fmt.Fprintf(h, "%s %d\n", name, len(text))
		h.Write(text)
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil))
}
