//go:build unix

package simulator_test

import (
	"syscall"
	"time"
)

// cpuTime is what the process has computed so far: on a machine that others
// use too it says more about speed than a clock does.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
