//go:build !linux

package loadgen

import (
	"net"
	"sync/atomic"
	"syscall"
)

// newStamped has no kernel stamps to ask for here: the return of the read
// stands in, and the report says so.
func newStamped(raw net.Conn, clock *atomic.Pointer[clock]) *stamped {
	return &stamped{Conn: raw, clock: clock}
}

type stampReader struct{}

func (stampReader) read(syscall.RawConn, []byte) (int, int64, error) { return 0, 0, syscall.ENOSYS }

func (s *stamped) writeNow([]byte) int { return 0 }

func (s *stamped) open() bool { return true }

func holdStamps() (release func()) { return func() {} }
