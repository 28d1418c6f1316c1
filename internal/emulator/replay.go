package emulator

import (
	"fmt"
	"time"

	"calrun/internal/trace"
)

// Replay is an engine whose clients are lists of requests and whose time is
// only counted: hours of service take seconds. What it does to a request is
// what [Engine] does to it over HTTP, jitter included.
type Replay struct{ loop *loop }

// NewReplay makes an idle engine.
func NewReplay(cfg Config) (*Replay, error) {
	l, err := assemble(cfg, countedClock{})
	if err != nil {
		return nil, err
	}
	return &Replay{l}, nil
}

// Serve lets the requests arrive when they are due, counted from now, and
// yields what became of them, in their order and by the same clock. The
// engine is idle again afterwards, and as warm and as far in its random terms
// as the requests made it. Requests must be in order of due.
func (r *Replay) Serve(reqs []trace.Request) ([]trace.Row, error) {
	start := r.loop.at
	for i, q := range reqs {
		if i > 0 && q.Due < reqs[i-1].Due {
			return nil, fmt.Errorf("emulator: request %d is due before the one ahead of it; put them in order", i)
		}
		if err := r.admit(q, start+q.Due); err != nil {
			return nil, err
		}
	}
	r.finish()
	return r.rows(reqs, start), nil
}

// Alone serves each request when the one before it is through, as probes are
// measured: it is due, and received, at that moment.
func (r *Replay) Alone(reqs []trace.Request) ([]trace.Row, error) {
	var rows []trace.Row
	for _, q := range reqs {
		start := r.loop.at
		if err := r.admit(q, start); err != nil {
			return nil, err
		}
		r.finish()
		row := r.rows([]trace.Request{q}, start)[0]
		row.First += q.Due
		row.Last += q.Due
		rows = append(rows, row)
	}
	return rows, nil
}

func (r *Replay) admit(q trace.Request, at time.Duration) error {
	if most := r.loop.cfg.MaxModelLen; q.Prompt < 1 || q.Output < 1 || q.Prompt+q.Output > most {
		return fmt.Errorf("emulator: request %d has %d prompt and %d output tokens; both must be at least 1, and together at most max_model_len, %d", q.ID, q.Prompt, q.Output, most)
	}
	r.loop.accept(&request{prompt: q.Prompt, output: q.Output, keys: q.Keys(r.loop.cfg.BlockSize), recv: at, more: make(chan struct{}, 1)})
	return nil
}

// finish computes steps until nothing is left to do.
func (r *Replay) finish() {
	l := r.loop
	l.collect()
	for {
		l.show()
		switch batch := l.sched.Next(); {
		case batch != nil:
			l.step(batch)
		case len(l.pending) > 0:
			l.at = max(l.at, l.pending[0].seen)
		default:
			return
		}
	}
}

// rows is what became of the requests received last.
func (r *Replay) rows(reqs []trace.Request, start time.Duration) []trace.Row {
	served := r.loop.all[len(r.loop.all)-len(reqs):]
	rows := make([]trace.Row, len(reqs))
	for i, q := range served {
		rows[i] = trace.Row{
			Request: reqs[i], Sent: reqs[i].Due, First: q.first - start, Last: q.last - start,
			FirstTokens: 1, Prompted: q.prompt, Cached: q.cached, Tokens: q.output, Status: 200,
		}
	}
	return rows
}

// countedClock never waits.
type countedClock struct{}

func (countedClock) Now() time.Duration       { return 0 }
func (countedClock) SleepUntil(time.Duration) {}
