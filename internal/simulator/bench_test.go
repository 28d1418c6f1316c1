package simulator_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"calrun/internal/profile"
	"calrun/internal/shared"
	"calrun/internal/simulator"
	"calrun/internal/trace"
)

// load is a stream of n requests at a rate that keeps the engine busy and
// does not overload it.
func load(n int, rate float64) func() (trace.Request, bool) {
	rng := rand.New(rand.NewPCG(1, 2))
	i, due := 0, 0.0
	return func() (trace.Request, bool) {
		if i == n {
			return trace.Request{}, false
		}
		due += rng.ExpFloat64() / rate
		r := trace.Request{ID: i, Due: trace.FromSeconds(due), Prompt: 16 + rng.IntN(1000), Output: 4 + rng.IntN(200)}
		i++
		return r, true
	}
}

// models are a step-time model and, where the shared data are, an operator
// profile.
func models(b *testing.B) map[string]simulator.Model {
	out := map[string]simulator.Model{"steps": profile.StepTime{Base: 0.008, PerPrefillToken: 15e-6, PerSequence: 1e-4, PerContextToken: 2e-8}}
	p, err := profile.Open(shared.Path(b, "profiles/vidur"))
	if err != nil {
		b.Fatal(err)
	}
	m, err := p.Model(profile.Scale{})
	if err != nil {
		b.Fatal(err)
	}
	out["operators"] = m
	return out
}

// BenchmarkStream states requests per second on one core, by the clock and by
// what was computed, garbage collection and the drawing of the load included.
// The targets: a
// million with an unbounded cache, 50,000 with blocks that run out.
func BenchmarkStream(b *testing.B) {
	const n = 20000
	ms := models(b)
	for _, c := range []struct {
		name, model string
		rate        float64
		edit        func(*simulator.Config)
	}{
		{"aggregate", "steps", 20, func(*simulator.Config) {}},
		{"blocks", "steps", 20, func(c *simulator.Config) { c.Blocks = 1200 }},
		{"blocks-prefix", "steps", 20, func(c *simulator.Config) { c.Blocks, c.PrefixCache = 1200, true }},
		{"ahead", "steps", 20, func(c *simulator.Config) { c.LookAhead = true }},
		{"aggregate", "operators", 8, func(*simulator.Config) {}},
		{"blocks", "operators", 8, func(c *simulator.Config) { c.Blocks = 1200 }},
		{"ahead", "operators", 8, func(c *simulator.Config) { c.LookAhead = true }},
		{"sarathi", "operators", 8, func(c *simulator.Config) { c.Policy, c.MaxTokens, c.Watermark = simulator.Sarathi, 512, 0.01 }},
		{"vllm", "operators", 8, func(c *simulator.Config) { c.Policy, c.MaxTokens, c.Watermark = simulator.VLLM, 4096, 0.01 }},
	} {
		b.Run(c.name+"/"+c.model, func(b *testing.B) {
			cfg := simulator.Defaults()
			c.edit(&cfg)
			b.ReportAllocs()
			var stats simulator.Stats
			began := cpuTime()
			for b.Loop() {
				var err error
				if stats, err = simulator.Stream(context.Background(), load(n, c.rate), cfg, ms[c.model], func(*trace.Row) {}); err != nil {
					b.Fatal(err)
				}
			}
			per := float64(b.N) / b.Elapsed().Seconds()
			b.ReportMetric(per*n, "requests/s")
			if cpu := cpuTime() - began; cpu > 0 {
				b.ReportMetric(float64(b.N)*n/cpu.Seconds(), "requests/cpu-s")
			}
			b.ReportMetric(per*float64(stats.Steps), "steps/s")
			b.ReportMetric(float64(stats.PeakSeqs), "peak-seqs")
			b.ReportMetric(float64(stats.Preemptions), "preemptions")
		})
	}
}

// BenchmarkTrace is a recorded trace that saturates the engine: 2,000 requests
// of splitwise_conv, cut to 4,096 tokens. The real Vidur 0.0.26 computes 16 to
// 20 s on it with its predictors trained.
func BenchmarkTrace(b *testing.B) {
	reqs, err := trace.ReadCSV(shared.Path(b, "traces/splitwise_conv.csv"))
	if err != nil {
		b.Fatal(err)
	}
	reqs = reqs[:2000]
	for i := range reqs {
		reqs[i].Output = max(1, reqs[i].Output)
		reqs[i].Prompt = max(1, min(reqs[i].Prompt, 4096-reqs[i].Output))
	}
	m := models(b)["operators"]
	base := simulator.Config{MaxNumSeqs: 128, MaxTokens: 512, BlockSize: 16, Chunked: true, WholePrompt: true}
	for _, c := range []struct {
		name string
		edit func(*simulator.Config)
	}{
		{"aggregate", func(*simulator.Config) {}},
		{"blocks", func(c *simulator.Config) { c.Blocks, c.PrefixCache = 4000, true }},
		{"ahead", func(c *simulator.Config) { c.Blocks, c.LookAhead = 4000, true }},
		{"sarathi", func(c *simulator.Config) { c.Policy, c.Blocks, c.Watermark = simulator.Sarathi, 20000, 0.01 }},
		{"vllm", func(c *simulator.Config) {
			c.Policy, c.Blocks, c.Watermark, c.MaxTokens = simulator.VLLM, 20000, 0.01, 4096
		}},
	} {
		b.Run(c.name, func(b *testing.B) {
			cfg := base
			c.edit(&cfg)
			var stats simulator.Stats
			began := cpuTime()
			for b.Loop() {
				if _, stats, err = simulator.Run(context.Background(), reqs, cfg, m); err != nil {
					b.Fatal(err)
				}
			}
			done := float64(b.N * len(reqs))
			b.ReportMetric(done/b.Elapsed().Seconds(), "requests/s")
			if cpu := cpuTime() - began; cpu > 0 {
				b.ReportMetric(done/cpu.Seconds(), "requests/cpu-s")
			}
			b.ReportMetric(float64(stats.Steps), "steps")
			b.ReportMetric(float64(stats.Preemptions), "preemptions")
		})
	}
}

// What a stream needs does not grow with its length.
func TestStreamMemoryIsFlat(t *testing.T) {
	steps := profile.StepTime{Base: 0.008, PerPrefillToken: 15e-6, PerSequence: 1e-4}
	for _, p := range []simulator.Policy{simulator.V1, simulator.Sarathi, simulator.VLLM} {
		t.Run(fmt.Sprint(p), func(t *testing.T) {
			cfg := simulator.Defaults()
			cfg.Policy, cfg.Blocks = p, 1200
			allocated := func(n int) uint64 {
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				ended, last := 0, time.Duration(0)
				_, err := simulator.Stream(context.Background(), load(n, 18), cfg, steps, func(r *trace.Row) {
					ended++
					if r.Last < last {
						t.Fatalf("request %d ended at %v, the one before it at %v", r.ID, r.Last, last)
					}
					last = r.Last
				})
				if err != nil || ended != n {
					t.Fatalf("%d of %d requests ended: %v", ended, n, err)
				}
				runtime.ReadMemStats(&after)
				return after.TotalAlloc - before.TotalAlloc
			}
			few, many := allocated(2000), allocated(40000)
			if many > 4*few+1<<16 {
				t.Errorf("2,000 requests allocate %d bytes and 40,000 allocate %d", few, many)
			}
		})
	}
}
