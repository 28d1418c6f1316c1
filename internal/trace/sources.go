package trace

import "embed"

// Sources are this package's own Go files. A simulator's identity is the
// digest of its sources and of those it computes with; these are the latter.
//
//go:embed *.go
var Sources embed.FS
