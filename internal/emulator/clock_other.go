//go:build !linux

package emulator

import "time"

func newClock() clock { return plainClock{time.Now()} }
