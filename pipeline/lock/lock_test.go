package lock

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
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
	var waited string
	claim := func(names ...string) Claim {
		return Claim{Dir: dir, Names: names, By: Holder{Plan: "p", Run: "r", Step: "s"}, Wait: func(name string, by Holder) {
			waited = name + ": " + by.String()
			cancel()
		}}
	}
	held, err := Host(ctx, claim("b", "x/y", "x/y"))
	if err != nil || waited != "" || len(held.Files()) != 2 {
		t.Fatalf("free locks: %v, waited for %q", err, waited)
	}
	_, err = Host(ctx, claim("b"))
	if want := fmt.Sprintf("b: process %d (plan p, step s, run r) since ", os.Getpid()); !errors.Is(err, context.Canceled) || !strings.HasPrefix(waited, want) {
		t.Errorf("a held lock: %v, waited for %q", err, waited)
	}
	held.Release()
	if held, err = Host(t.Context(), claim("b")); err != nil {
		t.Fatalf("a lock that was given back: %v", err)
	}
	held.Release()
	if left, _ := os.ReadDir(filepath.Join(dir, "b.queue")); len(left) != 0 {
		t.Errorf("tickets are left: %v", left)
	}
}

// First come, first served, and a dead one's ticket keeps nobody waiting.
func TestQueue(t *testing.T) {
	queue := filepath.Join(t.TempDir(), "x.queue")
	first, err := draw(queue)
	if err != nil {
		t.Fatal(err)
	}
	second, err := draw(queue)
	if err != nil {
		t.Fatal(err)
	}
	var none *ticket
	if first.waits(queue) || !second.waits(queue) || !none.waits(queue) {
		t.Error("the queue is not served in the order of coming")
	}
	first.lock.Unlock() // as the system does when its process dies
	if second.waits(queue) {
		t.Error("a dead one is waited for")
	}
	if _, err := os.Stat(first.path); err == nil {
		t.Error("a dead one's ticket is left")
	}
	second.drop()
	if none.waits(queue) {
		t.Error("an empty queue is waited for")
	}
}

func TestEverybodyMayUseALock(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "locks")
	held, err := Host(t.Context(), Claim{Dir: dir, Names: []string{"a"}})
	if err != nil {
		t.Fatal(err)
	}
	defer held.Release()
	if info, err := os.Stat(dir); err != nil || info.Mode()&(os.ModePerm|os.ModeSticky) != 0o777|os.ModeSticky {
		t.Errorf("folder: %v, %v", info.Mode(), err)
	}
	if info, err := os.Stat(filepath.Join(dir, "a.lock")); err != nil || info.Mode().Perm() != 0o666 {
		t.Errorf("file: %v, %v", info.Mode(), err)
	}
}
