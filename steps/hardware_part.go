package steps

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"calrun/internal/engine"
	"calrun/internal/loadgen"
	"calrun/internal/trace"
	"calrun/pipeline"
)

// bench measures the parts of a hardware run.
type bench struct {
	*HardwareRun
	session *Session
	rt      *pipeline.Runtime

	total, done time.Duration // what arrivals are expected to take
}

// part is a measured run and what goes with it.
type part struct {
	run     trace.Run
	metrics []byte          // the engine's counters and gauges, scraped each second
	Report  loadgen.Report  `json:"report"`
	Tokens  Tokens          `json:"tokens"`
	Hits    float64         `json:"prefix_cache_hits"`
	Waited  *float64        `json:"waited,omitempty"` // as [PointRun.Waited]
	Before  engine.Counters `json:"before"`
	After   engine.Counters `json:"after"`
	Ended   string          `json:"ended"`
	Began   string          `json:"began"`
}

// The files of a part beside those of a run.
const (
	partFile     = "part.json"
	metricsFile  = "metrics.jsonl"
	rejectedFile = "rejected.jsonl" // rows of a run that must not be used
)

// expected is the time that the arrivals of the points take.
func expected(points []trace.Point) time.Duration {
	var d time.Duration
	for _, p := range points {
		for _, r := range p.Runs {
			d += lasts(r)
		}
	}
	return d
}

func lasts(r trace.Run) time.Duration {
	if len(r.Requests) == 0 {
		return 0
	}
	return r.Requests[len(r.Requests)-1].Due + time.Second
}

// part measures a run, or finds it measured already.
func (b *bench) part(ctx context.Context, point trace.Point, run trace.Run) (*part, error) {
	name := fmt.Sprintf("%s seed %d", point.Name, run.Seed)
	key := b.key(name, point, run)
	b.rt.Progress(b.done.Seconds(), b.total.Seconds(), name)
	dir, reused, err := b.rt.Part(key, func(dir string) error {
		p, err := b.attempts(ctx, name, point, run)
		if err != nil {
			return err
		}
		return p.write(dir)
	})
	if err != nil {
		return nil, err
	}
	b.done += lasts(run)
	b.rt.Progress(b.done.Seconds(), b.total.Seconds(), name)
	p, err := readPart(dir)
	if err != nil {
		return nil, err
	}
	if reused {
		b.rt.Log().Info().Msgf("%s: measured already", name)
	}
	return p, nil
}

// key holds everything that decides what a run brings: the requests and how
// they are made and sent, the engine, and the limits by which an attempt is
// chosen. The limit of failures is not among them: it judges what is there.
func (b *bench) key(name string, point trace.Point, run trace.Run) string {
	return fmt.Sprintf("%s (%s): requests %s, seed of the prompts %d, engine %s, %s, warm-up %d, timeout %v, in flight %d, lateness %v, attempts %d",
		name, point.Group, digestRequests(run.Requests), b.Workload.Seed, b.session.Identity, b.Engine.asked(),
		b.WarmUp, b.Timeout, b.InFlight, b.Limits.Lateness, b.Limits.Attempts)
}

// attempts measures until the generator keeps its limits. When it never does,
// the last attempt's rows are kept aside and the run counts as skipped: an
// engine must not be judged by its client.
func (b *bench) attempts(ctx context.Context, name string, point trace.Point, run trace.Run) (*part, error) {
	var p *part
	for n := 1; n <= max(1, b.Limits.Attempts); n++ {
		var err error
		if p, err = b.once(ctx, fmt.Sprintf("%s attempt %d", name, n), point, run); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		trouble := p.Report.Trouble(b.Limits.Lateness)
		if trouble == "" {
			return p, nil
		}
		p.run.State, p.run.Reason = trace.Skipped, fmt.Sprintf("measured %d times, and not to be believed: %s", n, trouble)
		b.rt.Log().Warn().Msgf("%s: attempt %d of %d: %s", name, n, b.Limits.Attempts, trouble)
	}
	return p, nil
}

// once warms the engine up, waits until it is idle and sends the run.
func (b *bench) once(ctx context.Context, name string, point trace.Point, run trace.Run) (*part, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if died := b.session.Died(); died != nil {
		go func() {
			select {
			case <-died:
				cancel(errors.New("the engine's process ended; see engine.log in the step's folder"))
			case <-ctx.Done():
			}
		}()
	}
	nonce := fmt.Sprintf("%s/%d/%s", b.rt.Run(), time.Now().UnixNano(), name)
	if err := b.warmUp(ctx, nonce, run.Requests); err != nil {
		return nil, err
	}
	p := &part{Began: stamp(time.Now())}
	var err error
	if p.Before, err = b.session.Counters(ctx); err != nil {
		return nil, err
	}
	var scraped bytes.Buffer
	stop := b.session.Watch(ctx, &scraped, time.Second)
	waited, told := engine.Waited()
	rows, report, err := loadgen.Run(ctx, b.session.Target, run.Requests, loadgen.Options{
		Name: nonce, Seed: uint64(b.Workload.Seed), Alone: point.Alone(), InFlight: b.InFlight, Timeout: b.Timeout,
		Progress: func(done, total int) {
			share := time.Duration(float64(lasts(run)) * float64(done) / float64(total))
			b.rt.Progress((b.done + share).Seconds(), b.total.Seconds(), fmt.Sprintf("%s: %d of %d", name, done, total))
		},
	})
	stop()
	p.metrics = scraped.Bytes()
	if err != nil {
		return nil, err
	}
	p.Ended = stamp(time.Now())
	p.Report = report
	if until, ok := engine.Waited(); ok && told && report.Window > 0 {
		p.Waited = new(min(1, (until-waited).Seconds()/report.Window.Seconds()))
	}
	if err := b.stillThere(ctx, rows); err != nil {
		return nil, err
	}
	if err := b.tally(ctx, p, rows); err != nil {
		return nil, err
	}
	p.run = trace.Run{Seed: run.Seed, Requests: seenByServer(run.Requests, rows), Rows: rows, Window: report.Window}
	p.run.State, p.run.Reason = stateOf(point.Group, rows)
	return p, nil
}

// warmUp sends a few requests that nobody counts and waits until the engine
// has nothing left to do.
func (b *bench) warmUp(ctx context.Context, name string, reqs []trace.Request) error {
	warm := append([]trace.Request(nil), reqs[:min(b.WarmUp, len(reqs))]...)
	if len(warm) > 0 {
		rows, _, err := loadgen.Run(ctx, b.session.Target, warm, loadgen.Options{Name: name + " warm-up", Seed: uint64(b.Workload.Seed), Alone: true, Timeout: b.Timeout})
		if err != nil {
			return fmt.Errorf("warm-up: %w", err)
		}
		if failed(rows) == len(rows) {
			return fmt.Errorf("warm-up: every request failed: %s", rows[0].Error)
		}
	}
	const limit = 2 * time.Minute
	idle, err := b.session.Idle(ctx, limit)
	if err != nil {
		return err
	}
	if !idle {
		return fmt.Errorf("the engine was not idle for %v: who else uses it? (num_requests_running and num_requests_waiting of its /metrics)", limit)
	}
	return nil
}

func failed(rows []trace.Row) (n int) {
	for _, r := range rows {
		if !r.OK() {
			n++
		}
	}
	return n
}

// stillThere tells failed requests from an engine that has gone: the first
// are rows, the second ends the step, with what was measured before it kept.
func (b *bench) stillThere(ctx context.Context, rows []trace.Row) error {
	n := failed(rows)
	if n == 0 {
		return nil
	}
	last := ""
	for _, r := range rows {
		if !r.OK() {
			last = r.Error
		}
	}
	if err := b.session.Alive(ctx); err != nil {
		return fmt.Errorf("%d of %d requests failed (%s), and then the engine was gone: %w", n, len(rows), last, err)
	}
	if n == len(rows) {
		return fmt.Errorf("every one of %d requests failed: %s", n, last)
	}
	return nil
}

// tally compares the client's totals with the engine's own. The counters may
// trail the last token by a moment.
func (b *bench) tally(ctx context.Context, p *part, rows []trace.Row) error {
	for _, r := range rows {
		p.Tokens.Prompt += r.Prompted
		p.Tokens.Output += r.Tokens
	}
	for try := 0; ; try++ {
		var err error
		if p.After, err = b.session.Counters(ctx); err != nil {
			return err
		}
		p.Tokens.EnginePrompt = minus(p.After.Prompt, p.Before.Prompt)
		p.Tokens.EngineGenerated = minus(p.After.Generated, p.Before.Generated)
		if hits := minus(p.After.Hits, p.Before.Hits); hits != nil {
			p.Hits = *hits
		}
		if p.Tokens.EnginePrompt == nil || p.Tokens.EngineGenerated == nil {
			return nil
		}
		equal := *p.Tokens.EnginePrompt == float64(p.Tokens.Prompt) && *p.Tokens.EngineGenerated == float64(p.Tokens.Output)
		if failed(rows) == 0 {
			p.Tokens.Equal = &equal
		}
		if equal || failed(rows) > 0 || try == 20 {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func minus(after, before *float64) *float64 {
	if after == nil || before == nil {
		return nil
	}
	return new(*after - *before)
}

// stamp is a time that sorts as text.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000Z") }

// digestRequests is the content of a run's requests.
func digestRequests(reqs []trace.Request) string {
	h := sha256.New()
	for _, r := range reqs {
		fmt.Fprintf(h, "%d %d %d\n", r.Due, r.Prompt, r.Output)
		if c := r.Content; c != nil { // what it shares with others, an engine's prefix cache finds
			fmt.Fprintf(h, "blocks of %d: %d\n", c.Tokens, c.IDs)
		}
	}
	return fmt.Sprintf("sha256:%x", h.Sum(nil))
}

// write puts the part into its folder. Rows of a run that must not be used
// stand aside from the others.
func (p *part) write(dir string) error {
	run := p.run
	if run.State == trace.Skipped {
		if err := trace.WriteRows(filepath.Join(dir, rejectedFile), run.Rows); err != nil {
			return err
		}
		run.Rows = nil
	}
	if err := trace.WriteRun(dir, run); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, metricsFile), p.metrics, 0o644); err != nil {
		return fmt.Errorf("write part: %w", err)
	}
	if err := writeJSON(filepath.Join(dir, partFile), p); err != nil {
		return fmt.Errorf("write part: %w", err)
	}
	return nil
}

func readPart(dir string) (*part, error) {
	p := &part{}
	err := readJSON(filepath.Join(dir, partFile), p)
	if err == nil {
		p.metrics, err = os.ReadFile(filepath.Join(dir, metricsFile))
	}
	if err != nil {
		return nil, fmt.Errorf("read part: %w", err)
	}
	if p.run, err = trace.ReadRun(dir); err != nil {
		return nil, err
	}
	return p, nil
}

// writeMetrics puts the scrapes of all parts into one file, in the order in
// which they were made.
func writeMetrics(dir string, parts []*part) error {
	parts = slices.Clone(parts)
	slices.SortStableFunc(parts, func(a, b *part) int { return strings.Compare(a.Began, b.Began) })
	var all []byte
	for _, p := range parts {
		all = append(all, p.metrics...)
	}
	if err := os.WriteFile(filepath.Join(dir, metricsFile), all, 0o644); err != nil {
		return fmt.Errorf("write metrics: %w", err)
	}
	return nil
}
