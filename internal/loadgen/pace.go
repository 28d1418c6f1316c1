package loadgen

import (
	"context"
	"time"
)

// sleep waits with the runtime's timers, late by their grain.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
