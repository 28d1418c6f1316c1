package selftest

import (
	"math"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"calrun/internal/trace"
)

func TestJudge(t *testing.T) {
	share := func(v float64) *float64 { return &v }
	rate := func(rps float64, trouble string, off ...float64) Rate {
		d := deviation(off)
		return Rate{RPS: rps, Trouble: trouble, Error: PerMetric[Deviation]{d, d, d}}
	}
	for _, c := range []struct {
		name    string
		others  *float64
		rates   []Rate
		highest float64 // 0: none
		adds    Bound
		reason  string
	}{
		{"all kept; magnitudes count", share(0.01), []Rate{rate(10, "", -3, 0), rate(50, "", 1)}, 50, Bound{1, 2.96}, ""},
		{"what was not kept adds nothing", nil, []Rate{rate(10, "", 1), rate(50, "late", 9)}, 10, Bound{1, 1}, ""},
		{"nor what was kept above it", nil, []Rate{rate(10, "", 1), rate(50, "late", 9), rate(99, "", 9)}, 10, Bound{1, 1}, ""},
		{"too slow", nil, []Rate{rate(10, "late", 1)}, 0, Bound{}, "not even 10 requests/s were kept: late"},
		{"too busy", share(0.5), []Rate{rate(10, "", 1)}, 10, Bound{1, 1}, "others took 50 %"},
	} {
		r := &Result{Verdict: "pass", Rates: c.rates, Machine: Machine{Others: c.others}}
		r.judge()
		if (r.Highest == nil) != (c.highest == 0) || r.Highest != nil && (*r.Highest != c.highest || math.Abs(r.Adds.TPOT.P50-c.adds.P50)+math.Abs(r.Adds.TPOT.P99-c.adds.P99) > 1e-9) {
			t.Errorf("%s: up to %v, adds %+v", c.name, r.Highest, r.Adds)
		}
		reasons := strings.Join(r.Reasons, "; ")
		if (r.Verdict == "pass") != (c.reason == "") || !strings.Contains(reasons, c.reason) {
			t.Errorf("%s: %s (%s)", c.name, r.Verdict, reasons)
		}
	}
}

// Rows that were late by a known time deviate by it, in whatever order the
// engine has them.
func TestDeviations(t *testing.T) {
	reqs := arrivals(100, 1000)
	var rows, truth []trace.Row
	for i, q := range reqs {
		if i > 0 && q.Due < reqs[i-1].Due {
			t.Fatal("arrivals go back in time")
		}
		first := q.Due + 50*time.Millisecond
		last := first + time.Duration(q.Output-1)*10*time.Millisecond
		truth = append(truth, trace.Row{Request: q, First: first, Last: last, Tokens: q.Output})
		late := time.Duration(i%2) * time.Millisecond // of the first token alone
		rows = append(rows, trace.Row{Request: q, First: first + 2*time.Millisecond + late, Last: last + 2*time.Millisecond, Tokens: q.Output})
	}
	for i := 0; i+1 < len(truth); i += 2 {
		truth[i], truth[i+1] = truth[i+1], truth[i]
	}
	got, err := deviations(rows, truth)
	if err != nil {
		t.Fatal(err)
	}
	near := func(a, b float64) bool { return math.Abs(a-b) < 1e-9 }
	if d := got.TTFT; d.N != 1000 || !near(d.P1, 2e-3) || !near(d.P50, 2.5e-3) || !near(d.P99, 3e-3) {
		t.Errorf("TTFT: %+v", d)
	}
	if d := got.E2E; !near(d.P1, 2e-3) || !near(d.P99, 2e-3) {
		t.Errorf("E2E: %+v", d)
	}
	if d := got.TPOT; d.P1 >= 0 || d.P99 > 1e-9 { // a late first token makes it too small
		t.Errorf("TPOT: %+v", d)
	}
	if _, err := deviations(rows, truth[:999]); err == nil || !strings.Contains(err.Error(), "knows nothing of it") {
		t.Errorf("a request that the engine did not see: %v", err)
	}
}

// No two requests of a rate are alike, up to the most that are allowed.
func TestArrivalsCanBeToldApart(t *testing.T) {
	seen := map[[2]int]bool{}
	for _, q := range arrivals(1000, MostRequests) {
		seen[[2]int{q.Prompt, q.Output}] = true
	}
	if len(seen) != MostRequests {
		t.Errorf("%d of %d requests are unlike the others", len(seen), MostRequests)
	}
}

func TestOthers(t *testing.T) {
	before := parseUsage("cpu  100 0 50 800 50 0 0 0 0 0\ncpu0 1 2 3\n")
	after := parseUsage("cpu  150 0 60 900 80 0 5 5 0 0\n")
	after.own = 300 * time.Millisecond // 30 ticks
	got := after.others(before)
	if got == nil || math.Abs(*got-0.2) > 1e-9 { // 70 busy of 200, 30 of them this process
		t.Errorf("others took %v", got)
	}
	for _, text := range []string{"", "cpu 1 2 3\n", "cpu  a 0 0 0 0 0 0 0\n"} {
		if u := parseUsage(text); u.known || after.others(u) != nil {
			t.Errorf("%q is taken for a usage", text)
		}
	}
}

// The whole of it, briefly: laws, no latencies.
func TestRun(t *testing.T) {
	var told atomic.Int64
	r, err := Run(t.Context(), Options{
		Rates: []float64{20, 40}, Time: 2 * time.Second, Limit: time.Minute,
		Progress: func(done, total time.Duration, _ string) {
			told.Add(1)
			if done < 0 || done > total {
				t.Errorf("%v of %v are done", done, total)
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Rates) != 2 || told.Load() < 30 || r.Clock.Step <= 0 || r.Clock.Sleep.P50 < 0 || r.Clock.Sleep.P50 > r.Clock.Sleep.Max || r.Machine.Cores < 1 {
		t.Errorf("%+v", r)
	}
	for i, rate := range r.Rates {
		if rate.Generator.Completed != []int{10, 20}[i] || rate.Error.TTFT.N != rate.Generator.Completed || rate.Generator.Failed != 0 {
			t.Errorf("%g/s: %+v", rate.RPS, rate)
		}
		// A token cannot be received before it was there; the request was sent
		// before it was received.
		if rate.Error.TTFT.P1 < 0 || rate.Error.TTFT.P1 > rate.Error.TTFT.P99 {
			t.Errorf("%g/s: TTFT is shorter than the truth: %+v", rate.RPS, rate.Error.TTFT)
		}
	}
}
