package loadgen

import (
	"encoding/binary"
	"io"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// newStamped asks the kernel to stamp what it receives.
func newStamped(raw net.Conn, clock *atomic.Pointer[clock]) *stamped {
	s := &stamped{Conn: raw, clock: clock}
	tcp, ok := raw.(*net.TCPConn)
	if !ok {
		return s
	}
	rc, err := tcp.SyscallConn()
	if err != nil {
		return s
	}
	var refused error
	err = rc.Control(func(fd uintptr) {
		refused = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1)
		// A prompt of many tokens should be handed over in one write.
		_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF, 1<<20)
	})
	if err != nil || refused != nil {
		return s
	}
	s.raw = rc
	s.reader.try = s.reader.recv // made once: a closure a read would be garbage a read
	return s
}

// stampReader reads with the kernel's stamp.
type stampReader struct {
	try  func(fd uintptr) bool
	p    []byte
	n    int
	wall int64
	err  error
	oob  [64]byte
}

// read waits for bytes and returns when the last of them was received, in
// nanoseconds of the wall clock; 0 if the kernel does not say.
func (r *stampReader) read(raw syscall.RawConn, p []byte) (n int, wall int64, err error) {
	if len(p) == 0 {
		return 0, 0, nil
	}
	r.p = p
	err = raw.Read(r.try)
	r.p = nil
	switch {
	case err != nil:
		return 0, 0, err
	case r.err != nil:
		return 0, 0, os.NewSyscallError("recvmsg", r.err)
	case r.n == 0:
		return 0, 0, io.EOF
	}
	return r.n, r.wall, nil
}

// recv is one non-blocking attempt.
func (r *stampReader) recv(fd uintptr) bool {
	for {
		n, oobn, _, _, err := unix.Recvmsg(int(fd), r.p, r.oob[:], 0)
		if err == unix.EINTR {
			continue
		}
		if err == unix.EAGAIN {
			return false
		}
		r.n, r.err, r.wall = n, err, stampOf(r.oob[:max(oobn, 0)])
		return true
	}
}

// stampOf finds the time in control messages: a header of length, level and
// type, then seconds and nanoseconds.
func stampOf(oob []byte) int64 {
	for len(oob) >= unix.SizeofCmsghdr {
		length := int(binary.NativeEndian.Uint64(oob))
		level := int32(binary.NativeEndian.Uint32(oob[8:]))
		kind := int32(binary.NativeEndian.Uint32(oob[12:]))
		if length < unix.SizeofCmsghdr || length > len(oob) {
			return 0
		}
		if level == unix.SOL_SOCKET && kind == unix.SCM_TIMESTAMPNS && length >= unix.SizeofCmsghdr+16 {
			sec := int64(binary.NativeEndian.Uint64(oob[16:]))
			return sec*1e9 + int64(binary.NativeEndian.Uint64(oob[24:]))
		}
		oob = oob[min((length+7)&^7, len(oob)):]
	}
	return 0
}

// writeNow is one non-blocking write.
func (s *stamped) writeNow(p []byte) int {
	if s.raw == nil {
		return 0
	}
	n := 0
	_ = s.raw.Write(func(fd uintptr) bool {
		n, _ = unix.Write(int(fd), p) // an error comes again when the rest is written
		return true
	})
	return max(n, 0)
}

// open says whether the engine still holds its end of an idle connection.
func (s *stamped) open() bool {
	if s.raw == nil {
		return true
	}
	open := false
	err := s.raw.Control(func(fd uintptr) {
		var b [1]byte
		_, _, err := unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		open = err == unix.EAGAIN
	})
	return err == nil && open
}

// holdStamps turns the kernel's stamping on and waits until it works: it is
// switched on by the first socket that asks, a little later than that socket
// is told, and what arrives in between has no stamp. It stays on until
// release. Where it never works the report will say so.
func holdStamps() (release func()) {
	a, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return func() {}
	}
	release = func() { _ = a.Close() }
	rc, err := a.SyscallConn()
	if err != nil {
		return release
	}
	_ = rc.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1)
	})
	var oob [64]byte
	var b [1]byte
	for range 100 {
		if _, err := a.WriteTo(b[:], a.LocalAddr()); err != nil {
			return release
		}
		_ = a.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
		_, n, _, _, err := a.ReadMsgUDP(b[:], oob[:])
		if err == nil && stampOf(oob[:n]) != 0 {
			return release
		}
		time.Sleep(time.Millisecond)
	}
	return release
}
