package simulator_test

import (
	"context"
	"encoding/csv"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"calrun/internal/profile"
	"calrun/internal/simulator"
	"calrun/internal/trace"
)

// shared is a file of the shared data; without it the test is skipped, except
// in CI.
func shared(t testing.TB, name string) string {
	t.Helper()
	path := filepath.Join("..", "..", "..", "shared", "data", filepath.FromSlash(name))
	if _, err := os.Stat(path); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("shared data: %v", err)
		}
		t.Skipf("shared data: %v", err)
	}
	return path
}

// measured reads paired.csv: what a real vLLM made of each request. First and
// Last count from the same zero as Due.
func measured(t *testing.T, path string) []trace.Row {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	at := func(name string) int { return slices.Index(lines[0], name) }
	var rows []trace.Row
	for i, l := range lines[1:] {
		n := func(name string) float64 {
			v, err := strconv.ParseFloat(l[at(name)], 64)
			if err != nil {
				t.Fatalf("line %d: %v", i+2, err)
			}
			return v
		}
		due := trace.FromSeconds(n("real_arrival_s"))
		rows = append(rows, trace.Row{
			Request: trace.Request{ID: i, Due: due, Prompt: int(n("input_toks")), Output: int(n("output_toks"))},
			First:   due + trace.FromSeconds(n("real_ttft_ms")/1e3), Last: due + trace.FromSeconds(n("real_e2e_ms")/1e3),
			Tokens: int(n("output_toks")),
		})
	}
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

// A real overloaded run, its own card's profile, the engine's own block count,
// nothing calibrated.
func TestRTX4090(t *testing.T) {
	prof, err := profile.Open(shared(t, "measured/RTX4090_profile"))
	if err != nil {
		t.Fatal(err)
	}
	m, err := prof.Model(profile.Scale{})
	if err != nil {
		t.Fatal(err)
	}
	real := measured(t, shared(t, "measured/RTX4090_Llama-3.1-8B/paired.csv"))
	reqs := make([]trace.Request, len(real))
	for i, r := range real {
		reqs[i] = r.Request
	}
	cfg := simulator.Defaults()
	cfg.Blocks, cfg.PrefixCache = 2588, true
	began := time.Now()
	rows, stats, err := simulator.Run(context.Background(), reqs, cfg, m)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d requests in %v: %+v", len(rows), time.Since(began), stats)
	want, got := statistics(real), statistics(rows)
	sum, worst := 0.0, 0.0
	for _, name := range []string{"ttft mean", "ttft p50", "ttft p99", "tpot mean", "tpot p50", "tpot p99", "e2e mean", "e2e p50", "e2e p99"} {
		e := got[name]/want[name] - 1
		sum, worst = sum+math.Abs(e), max(worst, math.Abs(e))
		t.Logf("%-10s measured %9.4f s, simulated %9.4f s, error %+.2f %%", name, want[name], got[name], 100*e)
	}
	t.Logf("mean error %.2f %%, worst %.2f %%", 100*sum/9, 100*worst)
	if sum/9 > 0.025 || worst > 0.05 {
		t.Errorf("mean error %.2f %%, worst %.2f %%; at most 2.5 %% and 5 %% are expected", 100*sum/9, 100*worst)
	}
}
