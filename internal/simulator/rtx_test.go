package simulator_test

import (
	"context"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"calrun/internal/profile"
	"calrun/internal/shared"
	"calrun/internal/simulator"
	"calrun/internal/trace"
)

// measured reads paired.csv: what a real vLLM made of each request. First and
// Last count from the same zero as Due.
func measured(t *testing.T, path string) []trace.Row {
	t.Helper()
	var rows []trace.Row
	readNumbers(t, path, func(n func(string) float64) {
		due := trace.FromSeconds(n("real_arrival_s"))
		rows = append(rows, trace.Row{
			Request: trace.Request{ID: len(rows), Due: due, Prompt: int(n("input_toks")), Output: int(n("output_toks"))},
			First:   due + trace.FromSeconds(n("real_ttft_ms")/1e3), Last: due + trace.FromSeconds(n("real_e2e_ms")/1e3),
			Tokens: int(n("output_toks")),
		})
	})
	return rows
}

// statistics are the mean, P50 and P99 of TTFT, TPOT and E2E, in seconds.
func statistics(rows []trace.Row) map[string]float64 {
	values := map[string][]float64{}
	for _, r := range rows {
		values["ttft"] = append(values["ttft"], r.TTFT().Seconds())
		values["e2e"] = append(values["e2e"], r.E2E().Seconds())
		if v, ok := r.TPOT(); ok {
			values["tpot"] = append(values["tpot"], v.Seconds())
		}
	}
	out := map[string]float64{}
	for name, v := range values {
		slices.Sort(v)
		sum := 0.0
		for _, x := range v {
			sum += x
		}
		at := func(q float64) float64 {
			h := q * float64(len(v)-1)
			i := int(h)
			return v[i] + (h-float64(i))*(v[min(i+1, len(v)-1)]-v[i])
		}
		out[name+" mean"], out[name+" p50"], out[name+" p99"] = sum/float64(len(v)), at(0.5), at(0.99)
	}
	return out
}

// cells are the errors of nine statistics; the mean and the worst are of their
// absolute values.
func cells(t *testing.T, real, simulated []trace.Row) (mean, worst float64) {
	t.Helper()
	want, got := statistics(real), statistics(simulated)
	names := []string{"ttft mean", "ttft p50", "ttft p99", "tpot mean", "tpot p50", "tpot p99", "e2e mean", "e2e p50", "e2e p99"}
	for _, name := range names {
		e := got[name]/want[name] - 1
		mean, worst = mean+math.Abs(e)/float64(len(names)), max(worst, math.Abs(e))
		t.Logf("%-10s measured %9.4f s, simulated %9.4f s, error %+.2f %%", name, want[name], got[name], 100*e)
	}
	t.Logf("mean error %.2f %%, worst %.2f %%", 100*mean, 100*worst)
	return mean, worst
}

func requestsOf(rows []trace.Row) []trace.Request {
	reqs := make([]trace.Request, len(rows))
	for i, r := range rows {
		reqs[i] = r.Request
	}
	return reqs
}

// A real overloaded run, its own card's profile, the engine's own block count,
// nothing calibrated. The engine looked one step ahead and had graphs for up
// to 512 tokens; neither matters much to an engine that is overloaded.
func TestRTX4090(t *testing.T) {
	prof, err := profile.Open(shared.Path(t, "measured/RTX4090_profile"))
	if err != nil {
		t.Fatal(err)
	}
	m, err := prof.Model(profile.Scale{})
	if err != nil {
		t.Fatal(err)
	}
	real := measured(t, shared.Path(t, "measured/RTX4090_Llama-3.1-8B/paired.csv"))
	for _, c := range []struct {
		ahead  bool
		graphs int
	}{{false, 0}, {true, 0}, {true, 512}} {
		t.Run(fmt.Sprintf("look-ahead %v, graphs to %d", c.ahead, c.graphs), func(t *testing.T) {
			cfg := simulator.Defaults()
			cfg.Blocks, cfg.PrefixCache, cfg.LookAhead, cfg.Graphs = 2588, true, c.ahead, c.graphs
			began := time.Now()
			rows, stats, err := simulator.Run(context.Background(), requestsOf(real), cfg, m)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%d requests in %v: %+v", len(rows), time.Since(began), stats)
			if mean, worst := cells(t, real, rows); mean > 0.025 || worst > 0.05 {
				t.Errorf("mean error %.2f %%, worst %.2f %%; at most 2.5 %% and 5 %% are expected", 100*mean, 100*worst)
			}
		})
	}
}

// The same model on another card, whose profile nobody published: the RTX
// 4090's, scaled by the ratio of the memory bandwidths in the data sheets
// (1,008 and 1,792 GB/s), and by the one factor that brings the mean TPOT right.
// The cache is taken to be without bounds: 96 GB hold 128 sequences.
//
// The worst cell is the median of TTFT, which is seconds of waiting: it moves
// by 2.7 % for each percent of the steps' time, as the second factor shows.
// Pricing what the projections compute above 164 tokens by the ratio of peak
// FLOPs instead of bandwidths (0.66) makes every other cell worse.
func TestRTXPRO6000(t *testing.T) {
	prof, err := profile.Open(shared.Path(t, "measured/RTX4090_profile"))
	if err != nil {
		t.Fatal(err)
	}
	real := measured(t, shared.Path(t, "measured/RTXPRO6000_Llama-3.1-8B/paired.csv"))
	cfg := simulator.Defaults()
	cfg.MaxNumSeqs, cfg.LookAhead = 128, true
	run := func(k float64) []trace.Row {
		m, err := prof.Model(profile.Scale{MLP: k, Attn: k})
		if err != nil {
			t.Fatal(err)
		}
		rows, _, err := simulator.Run(context.Background(), requestsOf(real), cfg, m)
		if err != nil {
			t.Fatal(err)
		}
		return rows
	}
	t.Run("bandwidths", func(t *testing.T) {
		const k = 1008.0 / 1792
		t.Logf("factor %.3f, nothing fitted", k)
		if mean, worst := cells(t, real, run(k)); mean > 0.026 || worst > 0.095 {
			t.Errorf("mean error %.2f %%, worst %.2f %%; 2.5 %% and 9.3 %% were seen", 100*mean, 100*worst)
		}
	})
	t.Run("one factor", func(t *testing.T) {
		lo, hi := 0.3, 1.5
		for range 30 {
			k := (lo + hi) / 2
			if statistics(run(k))["tpot mean"] > statistics(real)["tpot mean"] {
				hi = k
			} else {
				lo = k
			}
		}
		t.Logf("factor %.3f, fitted on the mean TPOT", lo)
		if mean, worst := cells(t, real, run(lo)); mean > 0.032 || worst > 0.074 {
			t.Errorf("mean error %.2f %%, worst %.2f %%; 3.1 %% and 7.2 %% were seen", 100*mean, 100*worst)
		}
	})
}
