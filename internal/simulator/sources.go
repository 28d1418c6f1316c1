package simulator

import (
	"embed"

	"calrun/internal/profile"
	"calrun/internal/source"
	"calrun/internal/trace"
)

//go:embed *.go
var sources embed.FS

// Digest identifies what computes a simulation: the sources of this package
// and of those whose code decides its numbers.
func Digest() string {
	return source.Digest(
		source.Room{Name: "simulator", Files: sources},
		source.Room{Name: "profile", Files: profile.Sources},
		source.Room{Name: "trace", Files: trace.Sources},
	)
}
