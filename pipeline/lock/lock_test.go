package lock

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
)

func TestOneProcessHoldsARun(t *testing.T) {
	dir := t.TempDir()
	l, err := Try(filepath.Join(dir, "x"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Try(filepath.Join(dir, "x")); !errors.Is(err, ErrHeld) {
		t.Errorf("taken twice: %v", err)
	}
	l.Unlock()
	if l, err = Try(filepath.Join(dir, "x")); err != nil {
		t.Errorf("not free after its release: %v", err)
	}
	defer l.Unlock()
	ctx, cancel := context.WithCancel(t.Context())
	waited := ""
	_, err = Host(ctx, dir, []string{"b", "x/y", "x/y"}, func(name string) { waited = name; cancel() })
	if err != nil || waited != "" {
		t.Errorf("free locks: %v, waited for %q", err, waited)
	}
	if _, err = Host(ctx, dir, []string{"b"}, func(name string) { waited = name; cancel() }); !errors.Is(err, context.Canceled) || waited != "b" {
		t.Errorf("a held lock: %v, waited for %q", err, waited)
	}
}
