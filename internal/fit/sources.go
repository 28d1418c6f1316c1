package fit

import (
	"embed"

	"calrun/internal/source"
)

//go:embed *.go
var sources embed.FS

// Digest identifies what computes a fit: the sources of this package. Two
// builds with the same digest find the same values with the same simulator.
func Digest() string { return source.Digest(source.Room{Name: "fit", Files: sources}) }
