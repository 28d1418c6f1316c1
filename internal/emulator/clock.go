package emulator

import "time"

// clock tells and waits on the engine's timeline: durations since it was made.
type clock interface {
	Now() time.Duration
	SleepUntil(t time.Duration)
}

// plainClock is the clock of package time. Its sleeps end up to a millisecond
// late; under testing/synctest they are exact.
type plainClock struct{ start time.Time }

func (c plainClock) Now() time.Duration         { return time.Since(c.start) }
func (c plainClock) SleepUntil(t time.Duration) { time.Sleep(t - c.Now()) }
