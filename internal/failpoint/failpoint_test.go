package failpoint

import (
	"bytes"
	"testing"
)

// Outside a build with the tag nothing happens, whatever the environment says.
func TestNothingIsInTheUsualBinary(t *testing.T) {
	if Built {
		t.Skip("built with the tag failpoints")
	}
	t.Setenv("CALRUN_FAIL", "here=enospc")
	At("here")
	var b bytes.Buffer
	if n, err := Write("here", &b, []byte("whole")); n != 5 || err != nil || b.String() != "whole" || Err("here") != nil {
		t.Errorf("wrote %q, %d, %v", &b, n, err)
	}
	if n := testing.AllocsPerRun(100, func() { At("here"); _ = Err("here") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
