package emulator

import (
	"context"
	"encoding/csv"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"calrun/internal/simulator"
	"calrun/internal/trace"
)

// replay sends requests when they are due and returns what was received.
func replay(b *bubble, reqs []trace.Request) [][]event {
	got := make([][]event, len(reqs))
	var wg sync.WaitGroup
	for i, r := range reqs {
		wg.Go(func() {
			time.Sleep(r.Due)
			body := fmt.Sprintf(`{"model":"tiny","prompt":%s,"max_tokens":%d,"stream":true,"stream_options":{"include_usage":true,"continuous_usage_stats":true}}`, prompt(r.Prompt), r.Output)
			events, done, err := b.stream(b.t.Context(), "/v1/completions", body)
			if err != nil || !done {
				b.t.Errorf("request %d: %v, done: %v", i, err, done)
			}
			got[i] = events
		})
	}
	wg.Wait()
	return got
}

func someRequests() []trace.Request {
	reqs := make([]trace.Request, 60)
	for i := range reqs {
		reqs[i] = trace.Request{
			ID: i, Due: time.Duration(i)*9137*time.Microsecond + time.Duration(i*i)*1013,
			Prompt: 16 + 37*i%400, Output: 1 + 5*i%11,
		}
	}
	return reqs
}

// Without its noise the emulator is the simulator with a socket: the same
// tokens at the same nanosecond. The connections of the bubble take no time.
func TestEngineAgreesWithTheSimulator(t *testing.T) {
	t.Run("one step at a time", func(t *testing.T) { agreesWithTheSimulator(t, false) })
	t.Run("one step ahead", func(t *testing.T) { agreesWithTheSimulator(t, true) })
}

func agreesWithTheSimulator(t *testing.T, async bool) {
	synctest.Test(t, func(t *testing.T) {
		cfg := testConfig()
		cfg.Async = async
		cfg.KVBlocks, cfg.MaxNumSeqs, cfg.MaxTokens, cfg.MaxModelLen = 60, 6, 128, 512
		b := newBubble(t, cfg)
		reqs := someRequests()
		got := replay(b, reqs)
		sim := cfg.Filled().scheduler()
		sim.FrontEnd = cfg.FrontEnd
		want, stats, err := simulator.Run(context.Background(), reqs, sim, cfg.Step)
		if err != nil {
			t.Fatal(err)
		}
		truth := b.engine.Truth()
		for i, r := range truth {
			if w := want[i]; r.Due != w.Due || r.First != w.First || r.Last != w.Last || r.Tokens != w.Tokens || !r.OK() {
				t.Fatalf("request %d: truth %+v, simulator %+v", i, r, w)
			}
			if first, last := got[i][0].at, got[i][r.Tokens-1].at; first != r.First || last != r.Last {
				t.Fatalf("request %d was received at %v and %v, truth %v and %v", i, first, last, r.First, r.Last)
			}
		}
		if n := metric(t, b, "iteration_tokens_total_count"); n != float64(stats.Steps) {
			t.Errorf("the engine counts %v steps, the simulator %d", n, stats.Steps)
		}
		if n := metric(t, b, "num_preemptions_total"); n != float64(stats.Preemptions) {
			t.Errorf("the engine counts %v preemptions, the simulator %d", n, stats.Preemptions)
		}
	})
}

func TestTokenTotals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, testConfig())
		reqs := someRequests()
		got := replay(b, reqs)
		prompts, outputs := 0, 0
		for i, events := range got {
			prompts, outputs = prompts+reqs[i].Prompt, outputs+reqs[i].Output
			if len(events) != reqs[i].Output+1 {
				t.Fatalf("request %d: %d events for %d tokens", i, len(events), reqs[i].Output)
			}
			for n, e := range events[:reqs[i].Output] {
				if u := e.Usage; u == nil || u.Completion != n+1 || u.Prompt != reqs[i].Prompt || u.Total != u.Prompt+u.Completion {
					t.Fatalf("request %d, token %d: %s", i, n+1, e.raw)
				}
			}
		}
		for name, want := range map[string]int{
			"prompt_tokens_total": prompts, "generation_tokens_total": outputs, "iteration_tokens_total_sum": prompts + outputs,
			"request_prompt_tokens_sum": prompts, "request_generation_tokens_sum": outputs, "time_to_first_token_seconds_count": len(reqs),
			"num_requests_running": 0, "num_requests_waiting": 0, "kv_cache_usage_perc": 0,
		} {
			if v := metric(t, b, name); v != float64(want) {
				t.Errorf("%s is %v, want %d", name, v, want)
			}
		}
		if itl, decode := metric(t, b, "inter_token_latency_seconds_sum"), metric(t, b, "request_decode_time_seconds_sum"); itl != decode || itl == 0 {
			t.Errorf("inter-token sum %v, decode sum %v", itl, decode)
		}
	})
}

// metric is the value of the first line of that name.
func metric(t *testing.T, b *bubble, name string) float64 {
	t.Helper()
	for line := range strings.Lines(b.get("/metrics")) {
		if rest, ok := strings.CutPrefix(line, "vllm:"+name+"{"); ok {
			v, err := strconv.ParseFloat(strings.TrimSpace(rest[strings.LastIndex(rest, " "):]), 64)
			if err != nil {
				t.Fatal(err)
			}
			return v
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}

func TestNoise(t *testing.T) {
	run := func(t *testing.T, seed int, edit func(*Config)) (rows []trace.Row) {
		synctest.Test(t, func(t *testing.T) {
			cfg := testConfig()
			cfg.Seed = seed
			edit(&cfg)
			b := newBubble(t, cfg)
			replay(b, someRequests())
			rows = b.engine.Truth()
		})
		return rows
	}
	quiet := run(t, 1, func(*Config) {})
	noisy := func(c *Config) { c.Jitter = Jitter{Step: 0.1, FrontEnd: time.Millisecond} }
	one, same, other := run(t, 1, noisy), run(t, 1, noisy), run(t, 2, noisy)
	if !reflect.DeepEqual(one, same) {
		t.Error("the same seed gives other times")
	}
	if reflect.DeepEqual(one, other) || reflect.DeepEqual(one, quiet) {
		t.Error("noise or seed has no effect")
	}
	for i, r := range one {
		if r.First < r.Due+2*time.Millisecond || r.Last < r.First {
			t.Errorf("row %d runs backwards: %+v", i, r)
		}
	}
	warm := run(t, 1, func(c *Config) { c.WarmUp = WarmUp{Steps: 1, Factor: 3} })
	if slow, usual := warm[0].TTFT(), quiet[0].TTFT(); slow != 3*(usual-2*time.Millisecond)+2*time.Millisecond {
		t.Errorf("the first step took %v cold and %v warm, want three times the step", slow, usual)
	}
}

func TestAbort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, testConfig())
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(100*time.Millisecond, cancel)
		_, done, err := b.stream(ctx, "/v1/completions", `{"prompt":[1,2,3],"max_tokens":1000,"stream":true}`)
		if err == nil || done {
			t.Fatalf("the cancelled stream ended well: %v", err)
		}
		time.Sleep(time.Second)
		if n := metric(t, b, "num_requests_running"); n != 0 {
			t.Errorf("%v requests run on after their client has gone", n)
		}
		if v := metric(t, b, "kv_cache_usage_perc"); v != 0 {
			t.Errorf("the cache is still used: %v", v)
		}
		if row := b.engine.Truth()[0]; row.OK() || row.Tokens == 0 || row.Tokens >= 1000 {
			t.Errorf("truth of an aborted request: %+v", row)
		}
		if got := replay(b, someRequests()[:3]); len(got[2]) == 0 {
			t.Error("the engine is stuck after an abort")
		}
	})
}

func TestFaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := testConfig()
		cfg.Faults = Faults{Every: 3, Status: 429, Truncate: 2}
		b := newBubble(t, cfg)
		var seen []string
		for range 6 {
			events, done, err := b.stream(t.Context(), "/v1/completions", `{"prompt":[1],"max_tokens":6,"stream":true}`)
			switch {
			case err != nil && strings.HasPrefix(err.Error(), "429: {\"error\":"):
				seen = append(seen, "429")
			case err != nil && len(events) == 3 && !done:
				seen = append(seen, "cut")
			case err == nil && done && len(events) == 6:
				seen = append(seen, "ok")
			default:
				seen = append(seen, fmt.Sprint(len(events), done, err))
			}
		}
		if want := []string{"ok", "cut", "429", "cut", "ok", "429"}; !reflect.DeepEqual(seen, want) {
			t.Errorf("requests went %q, want %q", seen, want)
		}
	})
}

func TestTruthFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "truth.csv")
	synctest.Test(t, func(t *testing.T) {
		cfg := testConfig()
		cfg.Truth = path
		b := newBubble(t, cfg)
		replay(b, someRequests()[:5])
		if err := b.engine.Close(); err != nil {
			t.Fatal(err)
		}
	})
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines, err := csv.NewReader(f).ReadAll()
	if err != nil || len(lines) != 6 || len(lines[0]) != len(lines[5]) || lines[1][3] != lines[1][4] {
		t.Errorf("the truth has %d lines, %v; first request %q", len(lines), err, lines[1])
	}
}
