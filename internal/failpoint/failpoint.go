// Package failpoint names the places at which a run may be killed or its disk
// may fail, so that a test can do so at each of them. A place is a call:
//
//	failpoint.At("commit.renamed")                  // may be killed here
//	failpoint.Err("journal.sync")                   // or be told of an error of the disk
//	failpoint.Write("journal.write", file, line)    // or leave half of what it writes
//
// Nothing of it is in the usual binary: the calls are empty and inlined away.
// One built with the tag failpoints obeys CALRUN_FAIL:
//
//	CALRUN_FAIL=NAME[:NTH][=kill|enospc|eio]
//
// acts the NTH time (default 1) that the place is reached: SIGKILL to itself
// (the default), or the error. CALRUN_FAIL_SEEN names a file to which each
// place reached is appended once, a line each; that a list of the places and
// what is reached agree is held by the test behind `make crash`.
//
// The package knows nothing, which is why both halves of calrun may import it.
package failpoint
