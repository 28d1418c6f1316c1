package emulator

import (
	"time"

	"golang.org/x/sys/unix"
)

// kernelClock sleeps to absolute deadlines of the kernel's monotonic clock,
// which is the one that package time reads. It wakes within some tens of
// microseconds.
type kernelClock struct {
	start time.Time
	base  int64 // CLOCK_MONOTONIC at start, ns
}

func newClock() clock {
	now, start := monotonic(), time.Now()
	if now == 0 {
		return plainClock{start}
	}
	return &kernelClock{start: start, base: now}
}

func (c *kernelClock) Now() time.Duration { return time.Since(c.start) }

// slack is what the kernel may round a sleep up by (50 µs) and somewhat more:
// the rest of the wait is spent awake. It halves the usual lateness of a token.
const slack = 70 * time.Microsecond

func (c *kernelClock) SleepUntil(t time.Duration) {
	deadline := unix.NsecToTimespec(c.base + int64(t-slack))
	for c.Now() < t-slack {
		// Interrupted by a signal: go on to the same deadline.
		if err := unix.ClockNanosleep(unix.CLOCK_MONOTONIC, unix.TIMER_ABSTIME, &deadline, nil); err != nil && err != unix.EINTR {
			time.Sleep(t - slack - c.Now())
		}
	}
	for c.Now() < t {
		continue
	}
}

func monotonic() int64 {
	var ts unix.Timespec
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts) != nil {
		return 0
	}
	return ts.Nano()
}
