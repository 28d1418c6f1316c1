package loadgen

import (
	"context"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// spin is how long before a due time the thread stops sleeping: what a wake-up
// takes on an idle core.
const spin = 60 * time.Microsecond

// pacer waits for due times on a thread of its own.
type pacer struct {
	clock *clock
	mono  int64 // CLOCK_MONOTONIC at the clock's zero
}

// newPacer binds the calling goroutine to its thread for good: when it ends,
// the thread goes with it.
func newPacer(c *clock) *pacer {
	runtime.LockOSThread()
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0) // nanoseconds; the default adds 50 µs to every sleep
	var ts unix.Timespec
	a := c.now()
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts) != nil {
		return &pacer{clock: c}
	}
	b := c.now()
	return &pacer{clock: c, mono: ts.Nano() - int64(a+(b-a)/2)}
}

// wait returns at due, or with the context's error. Far sleeps are cut up so
// that an end of the context is noticed.
func (p *pacer) wait(ctx context.Context, due time.Duration) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		now := p.clock.now()
		if due-now <= spin {
			break
		}
		until := min(due-spin, now+50*time.Millisecond)
		if p.mono == 0 {
			time.Sleep(until - now)
			continue
		}
		ts := unix.NsecToTimespec(p.mono + int64(until))
		_ = unix.ClockNanosleep(unix.CLOCK_MONOTONIC, unix.TIMER_ABSTIME, &ts, nil) // woken early: the loop looks again
	}
	for p.clock.now() < due { // spin
	}
	return nil
}
