package simulator

import (
	"context"
	"errors"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"calrun/internal/profile"
	"calrun/internal/trace"
)

// linear is the step-time model of these tests.
var linear = profile.StepTime{Base: 0.008, PerPrefillToken: 15e-6, PerSequence: 1e-4, PerContextToken: 2e-8}

func drawRequests(t *rapid.T) []trace.Request {
	reqs := make([]trace.Request, rapid.IntRange(0, 40).Draw(t, "n"))
	for i := range reqs {
		reqs[i] = trace.Request{
			ID:  i,
			Due: time.Duration(rapid.IntRange(0, 2000).Draw(t, "due_ms")) * time.Millisecond, // not in order

			Prompt: rapid.IntRange(0, 60).Draw(t, "prompt"), Output: rapid.IntRange(0, 30).Draw(t, "output"),
		}
	}
	return reqs
}

// witness notes the steps that a run computes.
type witness struct {
	cfg   Config
	t     *rapid.T
	steps int
	busy  time.Duration
}

func (w *witness) Step(b *Batch) (time.Duration, bool) {
	if b.Tokens() > w.cfg.MaxTokens || b.Sequences() > w.cfg.MaxNumSeqs || b.Tokens() < 1 {
		w.t.Fatalf("INV-6: %+v with %+v", *b, w.cfg)
	}
	d, _ := linear.Step(b)
	w.steps++
	w.busy += d
	return d, w.steps%3 == 0
}

func TestRunLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cfg := drawConfig(t)
		cfg.FrontEnd = time.Duration(rapid.IntRange(0, 5).Draw(t, "front_ms")) * time.Millisecond
		reqs := drawRequests(t)
		w := &witness{cfg: cfg, t: t}
		rows, stats, err := Run(context.Background(), reqs, cfg, w)
		if err != nil {
			t.Fatal(err)
		}
		checkRows(t, reqs, rows, cfg)
		if stats.Steps != w.steps || stats.Busy != w.busy || stats.Outside != w.steps/3 {
			t.Fatalf("INV-3: stats %+v, the model saw %d steps of %v", stats, w.steps, w.busy)
		}
		again, _, err := Run(context.Background(), reqs, cfg, &witness{cfg: cfg, t: t})
		if err != nil || !reflect.DeepEqual(rows, again) {
			t.Fatalf("INV-7: a second run differs (%v)", err)
		}
		checkWork(t, rows, stats, cfg)
	})
}

func checkRows(t *rapid.T, reqs []trace.Request, rows []trace.Row, cfg Config) {
	if len(rows) != len(reqs) {
		t.Fatalf("INV-1: %d rows for %d requests", len(rows), len(reqs))
	}
	for i, r := range rows {
		if r.Request != reqs[i] || r.Sent != r.Due || r.Prompted != r.Prompt {
			t.Fatalf("INV-1: row %d is %+v for %+v", i, r, reqs[i])
		}
		if fits := cfg.Fits(r.Prompt, r.Output) == nil; fits != r.OK() {
			t.Fatalf("INV-1: row %d fits: %v, error %q", i, fits, r.Error)
		}
		if !r.OK() {
			continue
		}
		if r.Tokens != r.Output {
			t.Fatalf("INV-1: row %d has %d of %d tokens", i, r.Tokens, r.Output)
		}
		if r.First <= r.Due+cfg.FrontEnd || r.Last < r.First || (r.Tokens == 1) != (r.Last == r.First) {
			t.Fatalf("INV-2: row %d: due %v, first %v, last %v", i, r.Due, r.First, r.Last)
		}
	}
}

// checkWork holds a run to work conservation: idle time exists only while no
// request is in the engine.
func checkWork(t *rapid.T, rows []trace.Row, stats Stats, cfg Config) {
	var idle, end time.Duration
	for _, i := range byDue(requestsOf(rows)) {
		r := rows[i]
		if !r.OK() {
			continue
		}
		if seen := r.Due + cfg.FrontEnd; seen > end {
			idle += seen - end
		}
		end = max(end, r.Last)
	}
	if idle+stats.Busy != stats.End {
		t.Fatalf("INV-5: idle %v + busy %v is not the end %v", idle, stats.Busy, stats.End)
	}
}

func requestsOf(rows []trace.Row) []trace.Request {
	reqs := make([]trace.Request, len(rows))
	for i, r := range rows {
		reqs[i] = r.Request
	}
	return reqs
}

func TestRunAlone(t *testing.T) {
	cfg := Defaults()
	cfg.FrontEnd = 2 * time.Millisecond
	reqs := []trace.Request{
		{ID: 0, Due: time.Second, Prompt: 100, Output: 3},
		{ID: 1, Due: time.Second, Prompt: 100, Output: 3},
		{ID: 2, Due: 0, Prompt: 3000, Output: 1},
	}
	rows, _, err := RunAlone(context.Background(), reqs, cfg, linear)
	if err != nil {
		t.Fatal(err)
	}
	// 8 ms + 100 × 15 µs + 0.1 ms after the front-end's 2 ms.
	if got := rows[0].TTFT(); got != 2*time.Millisecond+9600*time.Microsecond {
		t.Errorf("TTFT alone is %v", got)
	}
	// Two decode steps with 100 and 101 tokens of context, 20 ns each.
	if got := rows[0].Last - rows[0].First; got != 2*8100*time.Microsecond+201*20*time.Nanosecond {
		t.Errorf("decoding alone took %v", got)
	}
	if rows[0].TTFT() != rows[1].TTFT() || rows[0].E2E() != rows[1].E2E() {
		t.Errorf("two alike, alone, differ: %v and %v", rows[0], rows[1])
	}
	// Two chunks: 2048 and 952 tokens.
	if want := 2*time.Millisecond + 2*8100*time.Microsecond + 3000*15*time.Microsecond + 2048*20*time.Nanosecond; rows[2].TTFT() != want {
		t.Errorf("a prompt in two chunks took %v, want %v", rows[2].TTFT(), want)
	}
}

func TestRunRefuses(t *testing.T) {
	one := []trace.Request{{Prompt: 10, Output: 10}}
	if _, _, err := Run(context.Background(), one, Config{}, linear); err == nil || !strings.Contains(err.Error(), "max_num_seqs") {
		t.Errorf("a configuration of zeros: %v", err)
	}
	if _, _, err := Run(context.Background(), one, Defaults(), profile.StepTime{}); err == nil || !strings.Contains(err.Error(), "must take time") {
		t.Errorf("steps that take no time: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, _, err := Run(ctx, one, Defaults(), linear); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled run: %v", err)
	}
	cfg := Defaults()
	cfg.Blocks = 3
	rows, stats, err := Run(context.Background(), []trace.Request{{Prompt: 33, Output: 1}, {Prompt: 31, Output: 2}}, cfg, linear)
	if err != nil || rows[0].OK() || !rows[1].OK() || stats.Refused != 1 {
		t.Errorf("33 tokens in two blocks of 16, and 32: %+v, %v", rows, err)
	}
}

func TestDigest(t *testing.T) {
	if d := Digest(); !strings.HasPrefix(d, "sha256:") || len(d) != 71 || d != Digest() {
		t.Errorf("digest is %q", d)
	}
}

// load is a steady stream of requests that keeps the engine busy.
func load(n int, rate float64) []trace.Request {
	rng := rand.New(rand.NewPCG(1, 2))
	reqs := make([]trace.Request, n)
	var due float64
	for i := range reqs {
		due += rng.ExpFloat64() / rate
		reqs[i] = trace.Request{ID: i, Due: trace.FromSeconds(due), Prompt: 16 + rng.IntN(1000), Output: 4 + rng.IntN(200)}
	}
	return reqs
}

func BenchmarkRun(b *testing.B) {
	for _, c := range []struct {
		name   string
		blocks int
		rate   float64
	}{{"unbounded", 0, 20}, {"preempting", 1200, 20}} {
		b.Run(c.name, func(b *testing.B) {
			reqs := load(20000, c.rate)
			cfg := Defaults()
			cfg.Blocks = c.blocks
			b.ReportAllocs()
			var stats Stats
			for b.Loop() {
				var err error
				if _, stats, err = Run(context.Background(), reqs, cfg, linear); err != nil {
					b.Fatal(err)
				}
			}
			per := float64(b.N) / b.Elapsed().Seconds()
			b.ReportMetric(per*float64(len(reqs)), "requests/s")
			b.ReportMetric(per*float64(stats.Steps), "steps/s")
			b.ReportMetric(float64(stats.PeakSeqs), "peak-seqs")
			b.ReportMetric(float64(stats.Preemptions), "preemptions")
		})
	}
}
