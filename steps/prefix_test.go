package steps

import (
	"context"
	"testing"
	"time"

	"calrun/internal/emulator"
	"calrun/internal/engine"
	"calrun/internal/loadgen"
	"calrun/internal/openai"
	"calrun/internal/profile"
	"calrun/internal/simulator"
	"calrun/internal/trace"
)

// A prompt is made of the blocks that the trace names, so that an engine's
// cache, which sees tokens alone, answers as the simulator's, which sees ids
// alone: over the wire, by token ids and as text, request by request and in the
// counters.
func TestPrefixCacheOverTheWire(t *testing.T) {
	step := profile.StepTime{Base: 1e-3, PerPrefillToken: 1e-6}
	content := func(ids ...uint64) *trace.Content { return &trace.Content{Tokens: 32, IDs: ids} }
	reqs := []trace.Request{
		{Prompt: 130, Content: content(1, 2, 3, 4)}, // and 2 tokens of its own
		{Prompt: 130, Content: content(1, 2, 3, 4)}, // all but the last block
		{Prompt: 128, Content: content(1, 2, 3, 4)}, // at least one token is computed
		{Prompt: 100, Content: content(1, 2, 9, 4)}, // alike to the third
		{Prompt: 100, Content: content(2, 1)},       // nothing alike
		{Prompt: 100},
		{Prompt: 120, Content: content(1, 2, 9, 4)}, // 4 was in no full block before
		{Prompt: 100},
	}
	for i := range reqs {
		reqs[i].ID, reqs[i].Output = i, 2
	}
	for _, text := range []bool{false, true} {
		for _, caches := range []bool{true, false} {
			e, err := emulator.New(emulator.Config{Step: step, PrefixCache: caches})
			if err != nil {
				t.Fatal(err)
			}
			url, err := e.Start(t.Context(), "")
			if err != nil {
				t.Fatal(err)
			}
			rows, _, err := loadgen.Run(t.Context(), loadgen.Target{URL: url, Model: "emulated", API: openai.Completions, Salt: true, Text: text},
				reqs, loadgen.Options{Name: "p", Seed: 1, Alone: true, Timeout: time.Minute})
			if err != nil {
				t.Fatal(err)
			}
			cfg := simulator.Defaults()
			cfg.Blocks, cfg.PrefixCache = 8192, caches
			want, stats, err := simulator.RunAlone(context.Background(), reqs, cfg, step)
			if err != nil {
				t.Fatal(err)
			}
			hits := 0
			for i, r := range rows {
				// A word and its space are two bytes, half a token to the emulator.
				if hits += r.Cached; !r.OK() || !text && r.Cached != want[i].Cached || text && i == 1 && caches != (r.Cached > 0) {
					t.Errorf("text %v: request %d found %d tokens, in the simulator %d (%s)", text, i, r.Cached, want[i].Cached, r.Error)
				}
			}
			if !text && (hits != stats.Cached || caches != (hits == 128+112+64+96)) {
				t.Errorf("the engine found %d tokens, the simulator %d", hits, stats.Cached)
			}
			u, err := engine.New(url)
			if err != nil {
				t.Fatal(err)
			}
			c, err := u.Counters(t.Context())
			if err != nil || c.Hits == nil || int(*c.Hits) != hits {
				t.Errorf("the counters say %v, the rows %d (%v)", c.Hits, hits, err)
			}
			if err := e.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}
