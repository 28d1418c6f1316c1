package loadgen

import (
	"context"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// spin is how long before a due time the pacer stops sleeping: what a wake-up
// takes on an idle core.
const spin = 80 * time.Microsecond

// pacer waits for due times with a timer of the kernel that the runtime polls
// like a socket: exact to some tens of microseconds, and while it waits it
// holds neither a thread nor one of the runtime's processors. A thread that
// slept in a system call would hold one, and on a small machine whoever needs
// it, a reader or an engine in this process, would wait for milliseconds.
type pacer struct {
	clock *clock
	mono  int64    // CLOCK_MONOTONIC at the clock's zero
	timer *os.File // nil: the runtime's own timers stand in
	b     [8]byte
}

func newPacer(c *clock) *pacer {
	var ts unix.Timespec
	a := c.now()
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts) != nil {
		return &pacer{clock: c}
	}
	b := c.now()
	p := &pacer{clock: c, mono: ts.Nano() - int64(a+(b-a)/2)}
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return p
	}
	p.timer = os.NewFile(uintptr(fd), "timerfd")
	return p
}

// wait returns at due, or with the context's error.
func (p *pacer) wait(ctx context.Context, due time.Duration) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if left := due - p.clock.now(); left > spin {
		if err := p.sleep(ctx, due-spin, left-spin); err != nil {
			return err
		}
	}
	for p.clock.now() < due { // spin
	}
	return nil
}

func (p *pacer) sleep(ctx context.Context, until, left time.Duration) error {
	if p.timer == nil {
		return sleep(ctx, left)
	}
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(p.mono + int64(until))}
	raw, err := p.timer.SyscallConn()
	if err != nil {
		return fmt.Errorf("pace requests: %w", err)
	}
	if ctrl := raw.Control(func(fd uintptr) { err = unix.TimerfdSettime(int(fd), unix.TFD_TIMER_ABSTIME, &spec, nil) }); ctrl != nil || err != nil {
		return sleep(ctx, left)
	}
	_ = p.timer.SetReadDeadline(time.Time{})
	stop := context.AfterFunc(ctx, func() { _ = p.timer.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	if _, err := p.timer.Read(p.b[:]); err != nil && ctx.Err() == nil {
		return fmt.Errorf("pace requests: %w", err)
	}
	return ctx.Err()
}

func (p *pacer) close() {
	if p.timer != nil {
		_ = p.timer.Close()
	}
}
