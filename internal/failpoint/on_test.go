//go:build failpoints

package failpoint

import (
	"bytes"
	"errors"
	"syscall"
	"testing"
)

func TestRead(t *testing.T) {
	for text, want := range map[string]*orders{
		"":           {nth: 1},
		"a.b":        {name: "a.b", nth: 1},
		"a.b:3":      {name: "a.b", nth: 3},
		"a:2=enospc": {name: "a", nth: 2, errn: syscall.ENOSPC},
		"a=eio":      {name: "a", nth: 1, errn: syscall.EIO},
		"a=kill":     {name: "a", nth: 1},
	} {
		got, err := read(text)
		if err != nil || got.name != want.name || got.nth != want.nth || got.errn != want.errn {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"a:0", "a:x", "a=pull"} {
		if _, err := read(text); err == nil {
			t.Errorf("%q was accepted", text)
		}
	}
}

func TestActsTheNthTime(t *testing.T) {
	t.Setenv("CALRUN_FAIL", "w:2=enospc")
	var b bytes.Buffer
	for i, want := range []string{"1234", "123412", "1234121234"} {
		_, err := Write("w", &b, []byte("1234"))
		if b.String() != want || (err != nil) != (i == 1) || i == 1 && !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("write %d: %q, %v", i, &b, err)
		}
	}
}
