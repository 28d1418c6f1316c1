package loadgen

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// warmConnections are opened before the first request is due.
	warmConnections = 32
	// spareConnections are kept open beside those in use, so that a request
	// meets an open one.
	spareConnections = 8
	// idleLimit is how long a used connection may wait for its next request:
	// uvicorn, vLLM's server, closes at 5 s.
	idleLimit = 4 * time.Second
	// unusedLimit is the same for one that never carried a request.
	unusedLimit = 20 * time.Second
)

// pool keeps connections to one engine.
type pool struct {
	addr  string
	tls   *tls.Config // nil for plain http
	clock atomic.Pointer[clock]

	mu     sync.Mutex
	idle   []*conn // the last is the freshest
	closed bool

	refill chan struct{}
	stop   context.CancelFunc
	gone   sync.WaitGroup
}

func newPool(base *url.URL) *pool {
	p := &pool{refill: make(chan struct{}, 1)}
	port := base.Port()
	if base.Scheme == "https" {
		p.tls = &tls.Config{ServerName: base.Hostname(), NextProtos: []string{"http/1.1"}, MinVersion: tls.VersionTLS12}
		port = cmp.Or(port, "443")
	}
	p.addr = net.JoinHostPort(base.Hostname(), cmp.Or(port, "80"))
	p.clock.Store(newClock())
	ctx, stop := context.WithCancel(context.Background())
	p.stop = stop
	p.gone.Go(func() { p.keep(ctx) })
	return p
}

// fill opens n connections. Only the first must succeed.
func (p *pool) fill(ctx context.Context, n int) error {
	for i := range n {
		c, err := p.dial(ctx)
		if err != nil {
			if i == 0 {
				return err
			}
			return nil
		}
		p.keepIdle(c)
	}
	return nil
}

// keep opens spare connections whenever take finds few.
func (p *pool) keep(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.refill:
		}
		for ctx.Err() == nil && p.size() < spareConnections {
			c, err := p.dial(ctx)
			if err != nil {
				break // the exchange that needs one will say so
			}
			p.keepIdle(c)
		}
	}
}

func (p *pool) size() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.idle)
}

func (p *pool) dial(ctx context.Context) (*conn, error) {
	var d net.Dialer
	raw, err := d.DialContext(ctx, "tcp", p.addr)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	c := newConn(raw, &p.clock)
	if p.tls != nil {
		secure := tls.Client(c.stamped, p.tls)
		if err := secure.HandshakeContext(ctx); err != nil {
			_ = raw.Close()
			return nil, fmt.Errorf("connect: %w", err)
		}
		c.wrap(secure)
	}
	c.in = bufio.NewReaderSize(c.Conn, 16<<10)
	c.idle, c.limit = time.Now(), unusedLimit
	return c, nil
}

// take returns an open idle connection, nil if there is none. It never waits.
func (p *pool) take() *conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer func() {
		if len(p.idle) < spareConnections {
			select {
			case p.refill <- struct{}{}:
			default:
			}
		}
	}()
	for len(p.idle) > 0 {
		c := p.idle[len(p.idle)-1]
		p.idle = p.idle[:len(p.idle)-1]
		if time.Since(c.idle) < c.limit && c.open() {
			return c
		}
		_ = c.Close()
	}
	return nil
}

// put gives a connection back.
func (p *pool) put(c *conn, reusable bool) {
	if !reusable || c.in.Buffered() > 0 {
		_ = c.Close()
		return
	}
	c.idle, c.limit = time.Now(), idleLimit
	p.keepIdle(c)
}

func (p *pool) keepIdle(c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		_ = c.Close()
		return
	}
	p.idle = append(p.idle, c)
}

func (p *pool) close() {
	p.stop()
	p.gone.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, c := range p.idle {
		_ = c.Close()
	}
	p.idle = nil
}
