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
	"embed"

	"calrun/internal/source"
)

//go:embed *.go
var sources embed.FS

// Digest identifies the adapter: the sources of this package, which decide
// what Vidur is given and how its answer is read.
func Digest() string { return source.Digest(source.Room{Name: "vidur", Files: sources}) }
