//go:build unix && !linux

package lock

import "golang.org/x/sys/unix"

const bootClock = unix.CLOCK_MONOTONIC
