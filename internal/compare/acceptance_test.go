package compare

import (
	"fmt"
	"math"
	"os"
	"strings"
	"testing"
)

// worldsOf is how many worlds an acceptance test looks at: few by default,
// many with CALRUN_LONG set.
func worldsOf(few, many int) int {
	if os.Getenv("CALRUN_LONG") != "" {
		return many
	}
	return few
}

// Intervals of judged cells cover the truth: the error that runs of this
// length have on average, known from 200 seeds of the same queue.
func TestAcceptanceCoverage(t *testing.T) {
	if raced {
		t.Skip("nothing here runs in parallel that TestDeterminism does not")
	}
	worlds := worldsOf(25, 400)
	for _, w := range []world{
		{rates: []float64{4}, seeds: 1, n: 300}, // ρ = 0.5: a lone seed's medians
		{rates: []float64{6}, seeds: 5, n: 200}, // ρ = 0.8
	} {
		w.factor, w.jitter = 1.05, 0.2
		t.Run(fmt.Sprintf("rate %g, seeds %d", w.rates[0], w.seeds), func(t *testing.T) {
			many := w
			many.seeds, many.from = 200, 100000
			truth := map[string]float64{}
			for _, c := range compared(t, many, Options{Draws: 1, Scope: ScopeAll}).Detail.Cells {
				truth[c.Metric+" "+c.Stat] = *c.Bias
			}
			hit, judged := map[string]int{}, map[string]int{}
			hits, all := 0, 0
			for from := range worlds {
				w.from = uint64(from + 1)
				for _, c := range compared(t, w, Options{Draws: 300, Scope: ScopeAll, Seed: uint64(from)}).Detail.Cells {
					name := c.Metric + " " + c.Stat
					if c.Doubt != "" || w.seeds == 1 && c.Stat == "mean" {
						continue // a lone seed's means are doubted where the load is known to be high
					}
					all++
					judged[name]++
					if *c.Low <= truth[name] && truth[name] <= *c.High {
						hits++
						hit[name]++
					}
				}
			}
			for name, n := range judged {
				if share := float64(hit[name]) / float64(n); share < 0.92-3*math.Sqrt(0.92*0.08/float64(n)) {
					t.Errorf("%s: covered in %.3f of %d worlds", name, share, n)
				}
			}
			if share := float64(hits) / float64(all); all == 0 || share < 0.92 {
				t.Errorf("covered in %.3f of %d cells, 0.92 is the least", share, all)
			}
		})
	}
}

// judge is a gate's verdict on `name < limit`, as package gate gives it: pass,
// fail or neither.
func judge(c *Comparison, name string, limit float64) string {
	for p := name; p != ""; p = p[:strings.LastIndex(p, "/")] {
		if c.Draws.Doubts[p] != "" {
			return "doubt"
		}
	}
	share := func(set string) float64 {
		m, leaf := c.Draws.Sets[set], c.Draws.Leaves[name]
		holds, draws := 0, len(m.Values)/m.Cols
		for d := range draws {
			sum := 0.0
			for _, col := range leaf.Cols {
				sum += math.Abs(m.Values[d*m.Cols+col])
			}
			if sum/float64(len(leaf.Cols)) < limit {
				holds++
			}
		}
		return float64(holds) / float64(draws)
	}
	switch in := share("replicates"); {
	case in >= 0.975:
		return "pass"
	case in <= 0.025 && share("null") >= 0.95:
		return "fail"
	}
	return "open"
}

// A simulator whose error lies above the threshold does not pass; a perfect
// one does not fail.
func TestAcceptanceVerdicts(t *testing.T) {
	if raced {
		t.Skip("nothing here runs in parallel that TestDeterminism does not")
	}
	worlds := worldsOf(25, 400)
	made := map[float64][]*Comparison{} // by factor: several questions are asked of one comparison
	for _, c := range []struct {
		why      string
		factor   float64
		name     string
		limit    float64
		never    string
		mostly   string // what at least half of the worlds should say
		tolerate float64
	}{
		{"8 % off never passes 5 %", 1.08, "/tpot/p50/mape", 0.05, "pass", "fail", 0.05},
		{"6 % off hardly ever passes 5 %", 1.06, "/tpot/p50/mape", 0.05, "pass", "", 0.05},
		{"12 % off never passes 8 % of TTFT", 1.12, "/ttft/p50/mape", 0.08, "pass", "", 0.05},
		{"a perfect simulator does not fail TPOT", 1, "/tpot/p50/mape", 0.05, "fail", "pass", 0.01},
		{"nor TTFT, even where n is far too small", 1, "/ttft/p50/mape", 0.005, "fail", "", 0.01},
		{"nor tails", 1, "/e2e/p90/mape", 0.05, "fail", "", 0.01},
	} {
		for from := len(made[c.factor]); from < worlds; from++ {
			w := world{rates: []float64{2, 4}, seeds: 5, n: 120, factor: c.factor, jitter: 0.1, from: uint64(from + 1)}
			made[c.factor] = append(made[c.factor], compared(t, w, Options{Draws: 200, Seed: uint64(from)}))
		}
		got := map[string]int{}
		for _, made := range made[c.factor] {
			got[judge(made, c.name, c.limit)]++
		}
		if share := float64(got[c.never]) / float64(worlds); share > c.tolerate {
			t.Errorf("%s: %v", c.why, got)
		}
		if c.mostly != "" && got[c.mostly] < worlds/2 {
			t.Errorf("%s: too timid: %v", c.why, got)
		}
		t.Logf("%s: %v", c.why, got)
	}
}

// The engine's side alone decides what is stable; steady points are rarely
// called overloaded, overloaded ones nearly always.
func TestAcceptanceStability(t *testing.T) {
	worlds := worldsOf(150, 1000)
	for _, c := range []struct {
		rate        float64 // 7.5 saturates
		seeds, n    int
		least, most float64
	}{
		{2, 1, 300, 0, 0.05},
		{6, 1, 600, 0, 0.05},
		{6, 5, 300, 0, 0.05},
		{10, 1, 600, 0.98, 1},
		{10, 5, 300, 0.99, 1},
	} {
		flagged := 0
		for from := range worlds {
			w := world{rates: []float64{c.rate}, seeds: c.seeds, n: c.n, jitter: 0.05, from: uint64(from + 1)}
			m, _ := w.sides()
			if !StabilityOf(m[0]).Stable {
				flagged++
			}
		}
		if share := float64(flagged) / float64(worlds); share < c.least || share > c.most {
			t.Errorf("rate %g, %d seeds of %d: %.3f called overloaded, want %.2f to %.2f", c.rate, c.seeds, c.n, share, c.least, c.most)
		}
	}
}

// The size that must stay within a couple of seconds on one core: 9 points,
// 5 seeds of 600 requests, 2,000 replicates.
func BenchmarkCompare(b *testing.B) {
	m, s := world{rates: []float64{1, 2, 3, 4, 5, 5.5, 6, 6.5, 9}, seeds: 5, n: 600, factor: 1.05, jitter: 0.1}.sides()
	for b.Loop() {
		if _, err := Compare(m, s, Options{}); err != nil {
			b.Fatal(err)
		}
	}
}
