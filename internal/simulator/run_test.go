package simulator

import (
	"context"
	"errors"
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
		if p := Policy(rapid.IntRange(0, int(VLLM)).Draw(t, "policy")); p != V1 {
			cfg.Policy, cfg.LookAhead, cfg.Graphs, cfg.Watermark = p, false, 0, rapid.SampledFrom([]float64{0, 0.01, 0.2}).Draw(t, "watermark")
		}
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

// Two paths, one result: what coasts gives to the bit what asks the scheduler
// before every step, and a stream gives what a run gives.
func TestPathsAgree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cfg := drawConfig(t)
		cfg.LookAhead = false
		cfg.FrontEnd = time.Duration(rapid.IntRange(0, 5).Draw(t, "front_ms")) * time.Millisecond
		reqs := drawRequests(t)
		for i := range reqs { // seldom, so that there is something to coast
			reqs[i].Due *= time.Duration(1 + i%20)
		}
		order := byDue(reqs)
		run := func(coasts bool) ([]trace.Row, Stats, []Batch) {
			n, i := &notes{}, 0
			var rows []trace.Row
			e, err := newEngine(cfg, n, func(_ int, r *trace.Row) { rows = append(rows, *r) })
			if err != nil {
				t.Fatal(err)
			}
			if !coasts {
				e.smooth = nil
			}
			if err := e.run(context.Background(), func() (r trace.Request, more bool) {
				if more = i < len(order); more {
					r = reqs[order[i]]
					i++
				}
				return r, more
			}); err != nil {
				t.Fatal(err)
			}
			return rows, e.closed(), n.batches
		}
		fast, stats, batches := run(true)
		slow, want, steps := run(false)
		if !reflect.DeepEqual(fast, slow) || stats != want || !reflect.DeepEqual(batches, steps) {
			t.Fatalf("coasting gives %+v, stepping %+v", stats, want)
		}
		all, _, err := Run(context.Background(), reqs, cfg, linear)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range slow {
			if all[r.ID] != r {
				t.Fatalf("a run gives %+v, the stream %+v", all[r.ID], r)
			}
		}
	})
}

// A cache that is counted and never runs out is one without bounds.
func TestBlocksThatDoNotBind(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cfg := drawConfig(t)
		cfg.Chunked, cfg.Policy = true, Policy(rapid.IntRange(0, int(VLLM)).Draw(t, "policy"))
		if cfg.Policy != V1 {
			cfg.LookAhead, cfg.Graphs = false, 0
		}
		cfg.MaxTokens += 100 // so that no bound on a whole prompt binds either
		reqs := drawRequests(t)
		var all [2][]trace.Row
		for i, blocks := range []int{0, 1 << 20} {
			cfg.Blocks = blocks
			rows, stats, err := Run(context.Background(), reqs, cfg, linear)
			if err != nil || stats.Preemptions > 0 {
				t.Fatal(stats, err)
			}
			all[i] = rows
		}
		if !reflect.DeepEqual(all[0], all[1]) {
			t.Fatalf("without bounds %+v, with many blocks %+v", all[0], all[1])
		}
	})
}

// notes is the model of these tests and keeps what it was asked.
type notes struct{ batches []Batch }

func (n *notes) Step(b *Batch) (time.Duration, bool) {
	c := *b
	c.Prefills = append([]Chunk(nil), b.Prefills...)
	n.batches = append(n.batches, c)
	d, _ := linear.Step(b)
	return d, b.Sequences() > 3
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
		// Sarathi takes half a prompt that was restarted for a whole one.
		odd := cfg.Policy == Sarathi && r.Last > r.First
		if r.First <= r.Due+cfg.FrontEnd || r.Last < r.First || (r.Tokens == 1) != (r.Last == r.First) && !odd {
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
	back := []trace.Request{{Due: time.Second, Prompt: 1, Output: 1}, {Prompt: 1, Output: 1}}
	if _, err := Stream(context.Background(), func() (trace.Request, bool) {
		if len(back) == 0 {
			return trace.Request{}, false
		}
		r := back[0]
		back = back[1:]
		return r, true
	}, Defaults(), linear, func(*trace.Row) {}); err == nil || !strings.Contains(err.Error(), "order of arrival") {
		t.Errorf("a stream that goes back: %v", err)
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
