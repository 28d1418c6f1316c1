package emulator

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// kernelClock sleeps to absolute deadlines of the kernel's monotonic clock,
// which is the one that package time reads. It wakes within some tens of
// microseconds.
//
// It waits by a timer that the runtime's poller watches. A sleep that is a
// system call would hold one of the process's processors for as long as it
// lasts (the runtime takes it back only after up to 10 ms), and on a machine of
// two cores requests would wait that long before their arrival is noted.
type kernelClock struct {
	start time.Time
	base  int64    // CLOCK_MONOTONIC at start, ns
	timer *os.File // closed with the clock's memory
	fd    int      // of the timer
}

func newClock() clock {
	now, start := monotonic(), time.Now()
	if now == 0 {
		return plainClock{start}
	}
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return plainClock{start}
	}
	return &kernelClock{start: start, base: now, timer: os.NewFile(uintptr(fd), "timer"), fd: fd}
}

func (c *kernelClock) Now() time.Duration { return time.Since(c.start) }

// slack is what a wake-up takes and somewhat more: the rest of the wait is
// spent awake. It halves the usual lateness of a token.
const slack = 70 * time.Microsecond

// SleepUntil belongs to one goroutine: there is one timer.
func (c *kernelClock) SleepUntil(t time.Duration) {
	for c.Now() < t-slack {
		if !c.sleep(t - slack) {
			time.Sleep(t - slack - c.Now())
		}
	}
	for c.Now() < t {
		continue
	}
}

// sleep waits for the timer; false if it does not work.
func (c *kernelClock) sleep(t time.Duration) bool {
	at := unix.ItimerSpec{Value: unix.NsecToTimespec(c.base + int64(t))}
	if unix.TimerfdSettime(c.fd, unix.TFD_TIMER_ABSTIME, &at, nil) != nil {
		return false
	}
	var expirations [8]byte
	_, err := c.timer.Read(expirations[:])
	return err == nil
}

func monotonic() int64 {
	var ts unix.Timespec
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts) != nil {
		return 0
	}
	return ts.Nano()
}
