//go:build !linux

package loadgen

import (
	"context"
	"time"
)

// pacer waits for due times with the runtime's timers.
type pacer struct{ clock *clock }

func newPacer(c *clock) *pacer { return &pacer{clock: c} }

func (p *pacer) wait(ctx context.Context, due time.Duration) error {
	return sleep(ctx, due-p.clock.now())
}

func (p *pacer) close() {}
