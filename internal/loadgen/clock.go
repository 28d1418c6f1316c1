package loadgen

import "time"

// clock is the time of a run: durations since its start, on the monotonic
// clock. Kernel stamps are on the wall clock and are brought over by the
// difference at the start.
type clock struct {
	base time.Time
	wall int64 // wall clock at base, nanoseconds
}

func newClock() *clock {
	c := &clock{base: time.Now()}
	c.wall = c.pair()
	return c
}

func (c *clock) now() time.Duration { return time.Since(c.base) }

// pair reads both clocks together: the tightest of a few tries.
func (c *clock) pair() int64 {
	best, wall := time.Duration(1<<62), int64(0)
	for range 16 {
		a := c.now()
		w := time.Now().UnixNano()
		b := c.now()
		if b-a < best {
			best, wall = b-a, w-int64(a+(b-a)/2)
		}
	}
	return wall
}

// step is how far the wall clock has moved against the monotonic one since
// the start: above a few microseconds it was set, and kernel stamps are off.
func (c *clock) step() time.Duration { return time.Duration(c.pair() - c.wall) }

// at brings a wall clock stamp over.
func (c *clock) at(wall int64) time.Duration { return time.Duration(wall - c.wall) }
