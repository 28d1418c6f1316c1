//go:build !linux

package loadgen

import (
	"context"
	"time"
)

// pacer waits for due times with the runtime's timers, late by their grain.
type pacer struct{ clock *clock }

func newPacer(c *clock) *pacer { return &pacer{clock: c} }

func (p *pacer) wait(ctx context.Context, due time.Duration) error {
	timer := time.NewTimer(due - p.clock.now())
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
