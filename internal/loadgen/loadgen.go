// Package loadgen sends a trace to an engine on schedule and stamps what
// comes back.
//
// [Run] is open-loop: a request is sent when it is due, whatever became of
// those before it; what cannot be sent is counted as failed, never delayed in
// silence. One goroutine paces and writes; another for each stream
// reads. Receive times are the kernel's where it gives them, so that a
// reader that wakes late does not add to an engine's latency; [Report] says
// which clock it was, how late the generator itself ran and how busy it was.
package loadgen

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"calrun/internal/openai"
	"calrun/internal/trace"
)

// Target is an engine and how it is spoken to.
type Target struct {
	URL   string // base URL, "http://127.0.0.1:8000"
	Model string
	API   openai.API // empty is [openai.Completions]
	Text  bool       // prompts as text although the API takes token ids
	Plain bool       // only fields of OpenAI's own API
	Salt  bool       // a cache_salt for each request
	Key   string     // bearer token, may be empty
	Vocab int        // token ids are drawn below it; 0 is [DefaultVocab]
}

// DefaultVocab bounds the token ids of prompts: every usual vocabulary is
// larger, and the special tokens that sit at its end are kept out.
const DefaultVocab = 4000

// Options say how a trace is sent.
type Options struct {
	Name     string        // seeds the content of prompts: runs of two names share no prefix
	Seed     uint64        // likewise
	Alone    bool          // one request at a time; Due of the rows is then when each was begun
	InFlight int           // most requests at a time; 0 is [DefaultInFlight]
	Timeout  time.Duration // of one request; 0 is [DefaultTimeout]
	Progress func(done, total int)
}

// Defaults of Options.
const (
	DefaultInFlight = 2048
	DefaultTimeout  = 5 * time.Minute
)

// pause lies between two requests that have the engine to themselves: what
// the engine does after a last token must not meet the next request.
const pause = 10 * time.Millisecond

// Run sends the requests and waits for all of them. The rows are in the order
// of reqs; a request that failed is a row with Error, and Status where a
// status came. An error is returned when nothing could be tried: a bad URL,
// an engine that accepts no connection, a context that ended.
func Run(ctx context.Context, t Target, reqs []trace.Request, opt Options) ([]trace.Row, Report, error) {
	if opt.InFlight <= 0 {
		opt.InFlight = DefaultInFlight
	}
	if opt.Timeout <= 0 {
		opt.Timeout = DefaultTimeout
	}
	base, err := url.Parse(t.URL)
	if err != nil || base.Host == "" || (base.Scheme != "http" && base.Scheme != "https") {
		return nil, Report{}, fmt.Errorf("send requests: %q is not the base URL of an engine, as http://127.0.0.1:8000", t.URL)
	}
	r := &run{target: t, base: base, opt: opt, rows: make([]trace.Row, len(reqs))}
	for i, q := range reqs {
		r.rows[i].Request = q
	}
	r.pool = newPool(base)
	defer r.pool.close()
	defer holdStamps()()
	warm := 1
	if !opt.Alone {
		warm = min(len(reqs), warmConnections)
	}
	if err := r.pool.fill(ctx, warm); err != nil {
		return nil, Report{}, fmt.Errorf("send requests to %s: %w; is the engine still running?", t.URL, err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	busy := startMeter()
	r.clock = newClock()
	r.pool.clock.Store(r.clock)
	if opt.Alone {
		r.oneByOne(ctx)
	} else {
		r.onSchedule(ctx)
	}
	window := r.clock.now()
	if err := ctx.Err(); err != nil {
		return nil, Report{}, context.Cause(ctx)
	}
	return r.rows, r.report(window, busy.share()), nil
}

// run is one pass over the requests.
type run struct {
	target Target
	base   *url.URL
	opt    Options
	clock  *clock
	pool   *pool
	rows   []trace.Row // each is its exchange's own until that ends

	inFlight, peak, done atomic.Int64
	mu                   sync.Mutex
	lags                 []time.Duration // user-space return minus kernel stamp, of first and last tokens
	userStamps           atomic.Int64    // token events without a kernel stamp
	bunched              atomic.Int64    // requests whose first two token events came in one read
}

// prepared is a request ready for the wire.
type prepared struct {
	row  *trace.Row
	wire []byte
	sent int // bytes of wire already with the kernel
}

// prepare builds requests ahead of their time: at their time only the write
// is left.
func (r *run) prepare(ctx context.Context) <-chan *prepared {
	out := make(chan *prepared, 64)
	go func() {
		defer close(out)
		for i := range r.rows {
			p := &prepared{row: &r.rows[i], wire: r.target.wire(r.base, r.opt, r.rows[i].Request)}
			select {
			case out <- p:
			case <-ctx.Done():
				return
			}
		}
	}()
	return out
}

func (r *run) oneByOne(ctx context.Context) {
	for p := range r.prepare(ctx) {
		if ctx.Err() != nil {
			return
		}
		r.enter()
		c := r.pool.take()
		if c == nil {
			c, _ = r.pool.dial(ctx) // an error comes again in exchange, and is recorded there
		}
		p.row.Due = r.clock.now()
		if c != nil {
			r.write(c, p)
		}
		r.exchange(ctx, c, p)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
	}
}

func (r *run) onSchedule(ctx context.Context) {
	var streams sync.WaitGroup
	defer streams.Wait()
	p := newPacer(r.clock)
	defer p.close()
	for next := range r.prepare(ctx) {
		if p.wait(ctx, next.row.Due) != nil {
			return
		}
		if n := r.inFlight.Load(); n >= int64(r.opt.InFlight) {
			next.row.Error = fmt.Sprintf("not sent: %d requests were in flight, the bound is %d", n, r.opt.InFlight)
			r.progress()
			continue
		}
		r.enter()
		c := r.pool.take()
		if c != nil {
			r.write(c, next)
		}
		streams.Go(func() { r.exchange(ctx, c, next) })
	}
}

func (r *run) enter() {
	n := r.inFlight.Add(1)
	if n > r.peak.Load() {
		r.peak.Store(n) // only the pacing goroutine enters
	}
}

func (r *run) progress() {
	n := r.done.Add(1)
	if r.opt.Progress != nil {
		r.opt.Progress(int(n), len(r.rows))
	}
}

// write hands over as much as the kernel takes at once; what is left is
// written by the exchange.
func (r *run) write(c *conn, p *prepared) {
	p.sent = c.writeNow(p.wire)
	if p.sent == len(p.wire) {
		p.row.Sent = r.clock.now()
	}
}

// exchange sees a request through to its row.
func (r *run) exchange(ctx context.Context, c *conn, p *prepared) {
	defer r.progress()
	defer r.inFlight.Add(-1)
	ctx, cancel := context.WithTimeoutCause(ctx, r.opt.Timeout, fmt.Errorf("no end after %v, the limit of one request", r.opt.Timeout))
	defer cancel()
	err := r.roundTrip(ctx, c, p)
	if err == nil {
		return
	}
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		err = cause
	}
	p.row.Error = err.Error()
}

func (r *run) roundTrip(ctx context.Context, c *conn, p *prepared) error {
	if c == nil {
		var err error
		if c, err = r.pool.dial(ctx); err != nil {
			return err
		}
	}
	reusable := false
	defer func() { r.pool.put(c, reusable) }()
	stop := context.AfterFunc(ctx, func() { c.abort() })
	defer stop()
	if p.sent < len(p.wire) {
		if _, err := c.Write(p.wire[p.sent:]); err != nil {
			return fmt.Errorf("send the request: %w", err)
		}
		p.row.Sent = r.clock.now()
	}
	var err error
	reusable, err = r.receive(c, p.row)
	return err
}
