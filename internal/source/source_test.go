package source

import (
	"embed"
	"testing"
)

var (
	//go:embed *.go
	all embed.FS
	//go:embed source.go
	code embed.FS
	//go:embed source_test.go
	tests embed.FS
)

func TestDigest(t *testing.T) {
	whole := Digest(Room{"a", all})
	for why, same := range map[string]bool{
		"tests do not count":            Digest(Room{"a", code}) == whole,
		"the package's name counts":     Digest(Room{"b", all}) != whole,
		"a further package counts":      Digest(Room{"a", all}, Room{"b", all}) != whole,
		"a package without code is one": Digest(Room{"a", tests}) == Digest(),
	} {
		if !same {
			t.Error(why)
		}
	}
}
