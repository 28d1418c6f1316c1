package emulator

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"calrun/internal/simulator"
)

// Engine is an emulated engine. It runs from [New] to [Engine.Close].
type Engine struct {
	cfg     Config
	clock   clock
	started time.Time

	mu       sync.Mutex
	arrived  []*request // not yet taken over by the loop
	gone     []*request // whose client has gone
	all      []*request // in order of receipt
	received int        // requests counted for faults, refused ones too
	frontRNG *rand.Rand
	frontEnd time.Duration // the front end is at work until then
	counts   counts

	wake chan struct{} // arrived or gone has grown; capacity 1
	stop context.CancelFunc
	done chan struct{} // closed when the loop has ended

	server *http.Server
	served chan struct{} // closed when nobody is served any more
}

// New makes an engine and starts its loop; requests come by its handler.
func New(cfg Config) (*Engine, error) { return newEngine(cfg, newClock()) }

func newEngine(cfg Config, c clock) (*Engine, error) {
	l, err := assemble(cfg, c)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	l.stop = stop
	go func() {
		defer close(l.done)
		l.run(ctx)
	}()
	return l.Engine, nil
}

// assemble makes an engine whose loop does not run yet.
func assemble(cfg Config, c clock) (*loop, error) {
	if err := cfg.Check(); err != nil {
		return nil, fmt.Errorf("emulator: %w", err)
	}
	cfg = cfg.Filled()
	sched, err := simulator.NewScheduler(cfg.scheduler())
	if err != nil {
		return nil, fmt.Errorf("emulator: %w", err)
	}
	e := &Engine{
		cfg: cfg, clock: c, started: time.Now(),
		frontRNG: rand.New(rand.NewPCG(uint64(cfg.Seed), 1)),
		wake:     make(chan struct{}, 1), done: make(chan struct{}),
	}
	return &loop{
		Engine: e, sched: sched, live: map[int]*request{},
		rng: rand.New(rand.NewPCG(uint64(cfg.Seed), 2)),
	}, nil
}

// Start serves the engine on addr ("127.0.0.1:0": any free port) and says
// under which URL. Requests inherit nothing of ctx; when it ends the engine is
// closed.
func (e *Engine) Start(ctx context.Context, addr string) (url string, err error) {
	if e.server != nil {
		return "", fmt.Errorf("emulator: it is served already")
	}
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if err != nil {
		return "", fmt.Errorf("emulator: %w; choose another address, or port 0 for any free one", err)
	}
	server, served := &http.Server{Handler: e.Handler(), ReadHeaderTimeout: time.Minute}, make(chan struct{})
	e.server, e.served = server, served
	go func() {
		defer close(served)
		_ = server.Serve(ln) // ends when it is closed
	}()
	context.AfterFunc(ctx, func() { _ = server.Close() }) // not through e, which Close clears
	return "http://" + ln.Addr().String(), nil
}

// Close ends all connections and the loop, and writes the truth where the
// configuration asks for it. It waits for both. A second call does nothing.
func (e *Engine) Close() error {
	if e.server != nil {
		_ = e.server.Close()
		<-e.served
		e.server = nil
	}
	select {
	case <-e.done:
		return nil
	default:
	}
	e.stop()
	<-e.done
	if e.cfg.Truth == "" {
		return nil
	}
	return e.writeTruth(e.cfg.Truth)
}

// accept takes a request in. Its random delay is drawn in order of receipt,
// in which requests also wait for the front end.
func (e *Engine) accept(r *request) {
	e.mu.Lock()
	r.id = len(e.all)
	e.frontEnd = max(e.frontEnd, r.recv) + e.cfg.FrontEndBusy
	r.seen = e.frontEnd + e.cfg.FrontEnd + time.Duration(math.Round(e.frontRNG.ExpFloat64()*float64(e.cfg.Jitter.FrontEnd)))
	e.all = append(e.all, r)
	e.arrived = append(e.arrived, r)
	e.mu.Unlock()
	e.nudge()
}

// leave tells the loop that a request's client has gone.
func (e *Engine) leave(r *request) {
	e.mu.Lock()
	e.gone = append(e.gone, r)
	e.mu.Unlock()
	e.nudge()
}

func (e *Engine) nudge() {
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// loop owns the scheduler and the timeline.
type loop struct {
	*Engine
	sched   *simulator.Scheduler
	rng     *rand.Rand
	pending []*request       // accepted, not yet seen by the scheduler, by seen
	live    map[int]*request // seen and not ended
	yields  []*request       // get a token at the end of the step under way
	at      time.Duration    // where the timeline is: end of the last step
	steps   int
}

func (l *loop) run(ctx context.Context) {
	for ctx.Err() == nil {
		l.collect()
		l.show()
		batch := l.sched.Next()
		if batch != nil {
			l.step(batch)
			continue
		}
		l.gauge()
		if len(l.pending) > 0 {
			l.at = max(l.at, l.pending[0].seen)
			l.clock.SleepUntil(l.at)
			continue
		}
		select {
		case <-l.wake:
		case <-ctx.Done():
		}
	}
}

// collect takes over what the handlers left.
func (l *loop) collect() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.arrived {
		at, _ := slices.BinarySearchFunc(l.pending, r, func(a, b *request) int {
			if a.seen <= b.seen { // after its equals
				return -1
			}
			return 1
		})
		l.pending = slices.Insert(l.pending, at, r)
	}
	l.arrived = l.arrived[:0]
	for _, r := range l.gone {
		if i := slices.Index(l.pending, r); i >= 0 {
			l.pending = slices.Delete(l.pending, i, i+1)
		} else if l.live[r.id] != nil {
			l.sched.Remove(r.id)
			delete(l.live, r.id)
		}
	}
	l.gone = l.gone[:0]
}

// show lets the scheduler see who has come by now.
func (l *loop) show() {
	n := 0
	for ; n < len(l.pending) && l.pending[n].seen <= l.at; n++ {
		r := l.pending[n]
		if err := l.sched.Add(r.id, r.prompt, r.output, r.keys); err != nil {
			// The handler let in only what fits.
			panic("emulator: " + err.Error())
		}
		l.live[r.id] = r
	}
	l.pending = slices.Delete(l.pending, 0, n)
}

// step lets the time of a step pass and hands out its tokens.
func (l *loop) step(batch *simulator.Batch) {
	d := l.duration(batch)
	l.sched.Begins(func(id int) { l.live[id].began = l.at })
	l.yields = l.yields[:0]
	l.sched.Yields(func(id int) { l.yields = append(l.yields, l.live[id]) })
	l.gauge()
	l.at += d
	l.clock.SleepUntil(l.at)
	out := l.sched.Done()
	for _, f := range out.Found {
		if r := l.live[f.ID]; r != nil { // else its client has gone
			r.cached = f.Tokens
		}
	}
	l.count(out.First, out.Last)
	for _, r := range l.yields {
		n := int(r.produced.Load()) + 1
		if n == 1 {
			r.first = l.at
		}
		if n == r.output {
			r.last = l.at
			delete(l.live, r.id)
		}
		r.tell(n)
	}
}

// duration is the true time of the next step.
func (l *loop) duration(batch *simulator.Batch) time.Duration {
	d, _ := l.cfg.Step.Step(batch)
	f := 1.0
	if s := l.cfg.Jitter.Step; s > 0 {
		f = math.Exp(s*l.rng.NormFloat64() - s*s/2)
	}
	if l.steps < l.cfg.WarmUp.Steps {
		f *= l.cfg.WarmUp.Factor
	}
	l.steps++
	return max(1, time.Duration(math.Round(float64(d)*f)))
}
