package kind

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/rs/zerolog"
)

func TestPartsAreMadeOnce(t *testing.T) {
	rt := NewScratch(t.TempDir(), zerolog.Nop())
	made := 0
	fill := func(dir string) error {
		made++
		return os.WriteFile(filepath.Join(dir, "x"), []byte("x"), 0o644)
	}
	first, reused, err := rt.Part("rps-1 seed 1", fill)
	if err != nil || reused {
		t.Fatalf("first: %v, reused %v", err, reused)
	}
	second, reused, err := rt.Part("rps-1 seed 1", fill)
	if err != nil || !reused || second != first || made != 1 {
		t.Errorf("second: %v, reused %v, %s after %s, made %d times", err, reused, second, first, made)
	}
	other, reused, err := rt.Part("rps-1 seed 2", fill)
	if err != nil || reused || other == first {
		t.Errorf("another key: %v, reused %v, %s", err, reused, other)
	}
	boom := errors.New("boom")
	if _, _, err := rt.Part("broken", func(string) error { return boom }); !errors.Is(err, boom) {
		t.Errorf("the error of make is %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(first), StagingPrefix+"*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
