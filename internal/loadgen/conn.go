package loadgen

import (
	"bufio"
	"net"
	"sync/atomic"
	"syscall"
	"time"
)

// conn is a connection that knows when the bytes of its last read arrived.
// It is one exchange's own while that lasts.
type conn struct {
	net.Conn // what is read and written: the stamped one, or TLS over it
	in       *bufio.Reader
	*stamped           // of the plain connection underneath
	idle     time.Time // since when
	limit    time.Duration

	lagFirst, lagLast time.Duration // user-space return minus arrival, of the exchange's tokens
}

func newConn(raw net.Conn, clock *atomic.Pointer[clock]) *conn {
	s := newStamped(raw, clock)
	return &conn{Conn: s, stamped: s}
}

// wrap puts TLS over the connection: the stamps stay those of the bytes that
// completed a record.
func (c *conn) wrap(secure net.Conn) { c.Conn = secure }

// Write and Close are those of the connection as it is spoken, not of what
// lies underneath; reads go through in.
func (c *conn) Write(p []byte) (int, error) { return c.Conn.Write(p) }
func (c *conn) Close() error                { return c.Conn.Close() }

// abort makes reads and writes in progress fail.
func (c *conn) abort() { _ = c.SetDeadline(time.Unix(1, 0)) }

// writeNow writes what the kernel takes without waiting and returns how much
// that was. Under TLS, and where the platform has no such write, it is 0.
func (c *conn) writeNow(p []byte) int {
	if c.Conn != net.Conn(c.stamped) {
		return 0
	}
	return c.stamped.writeNow(p)
}

// stamped is a plain connection that stamps what it reads. at, user and
// kernel are about the last read.
type stamped struct {
	net.Conn
	clock  *atomic.Pointer[clock]
	raw    syscall.RawConn // nil where there are no kernel stamps
	at     time.Duration   // arrival: by the kernel if kernel is set, else the return of the read
	user   time.Duration   // return of the read
	kernel bool
	reads  int // how many there were
	reader stampReader
}

func (s *stamped) Read(p []byte) (int, error) {
	s.reads++
	if s.raw == nil {
		n, err := s.Conn.Read(p)
		s.user = s.clock.Load().now()
		s.at, s.kernel = s.user, false
		return n, err
	}
	n, wall, err := s.reader.read(s.raw, p)
	clock := s.clock.Load()
	s.user = clock.now()
	s.at, s.kernel = s.user, false
	if wall != 0 {
		s.at, s.kernel = clock.at(wall), true
	}
	return n, err
}
