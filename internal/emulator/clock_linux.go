package emulator

import (
	"runtime"
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

func (c *kernelClock) SleepUntil(t time.Duration) {
	deadline := unix.NsecToTimespec(c.base + int64(t))
	for c.Now() < t {
		// Interrupted by a signal: go on to the same deadline.
		if err := unix.ClockNanosleep(unix.CLOCK_MONOTONIC, unix.TIMER_ABSTIME, &deadline, nil); err != nil && err != unix.EINTR {
			time.Sleep(t - c.Now())
		}
	}
}

// steady ties the calling goroutine to its thread and asks the kernel not to
// round that thread's sleeps up by its usual 50 µs. The thread ends with the
// goroutine.
func steady() {
	runtime.LockOSThread()
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
}

func monotonic() int64 {
	var ts unix.Timespec
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts) != nil {
		return 0
	}
	return ts.Nano()
}
