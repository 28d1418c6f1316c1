package selftest

import (
	"context"
	"time"

	"calrun/internal/stats"
)

// Clock is what the clock and the timers of the machine resolve, in seconds.
type Clock struct {
	Step  float64 `json:"step_s"` // least difference of two readings that is not 0
	Read  float64 `json:"read_s"` // what a reading costs
	Sleep struct {
		P50 float64 `json:"p50_s"`
		P99 float64 `json:"p99_s"`
		Max float64 `json:"max_s"`
	} `json:"sleep_late"` // how late a sleep of 1 ms ends, by the timers of Go's runtime
}

const (
	readings = 20_000
	sleeps   = 200
)

// clock measures for a quarter of a second.
func clock(ctx context.Context) (c Clock) {
	began, last := time.Now(), time.Now()
	step := time.Hour
	for range readings {
		now := time.Now()
		if d := now.Sub(last); d > 0 {
			step = min(step, d)
		}
		last = now
	}
	c.Read, c.Step = time.Since(began).Seconds()/readings, step.Seconds()
	late := make([]float64, sleeps)
	for i := range late {
		began := time.Now()
		select {
		case <-time.After(time.Millisecond):
		case <-ctx.Done():
			return c
		}
		late[i] = (time.Since(began) - time.Millisecond).Seconds()
	}
	late = stats.Sorted(late)
	c.Sleep.P50, c.Sleep.P99, c.Sleep.Max = stats.Quantile(late, 0.5), stats.Quantile(late, 0.99), late[sleeps-1]
	return c
}
