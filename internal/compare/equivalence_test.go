package compare

import (
	"math"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"calrun/internal/trace"
)

// twice is a sweep, a replay and probes of one toy, measured twice; the second
// time it is slower by a factor.
func twice(trial uint64, seeds int, factor, jitter float64) (recorded, again []trace.Point) {
	w := world{rates: []float64{1}, seeds: seeds, n: 20, slots: 64, jitter: jitter, from: trial, repeats: seeds, probes: true}
	recorded, again = w.sides()
	for i, p := range again {
		for k, r := range p.Runs {
			rng := rand.New(rand.NewPCG(trial, uint64(1000*i+k)))
			p.Runs[k].Rows = toy{64, factor, jitter, rng}.serve(r.Requests)
		}
	}
	return recorded, again
}

// Two one-sided tests at 5 % call a truth at the margin equivalent in 5 % of
// cases at most, and find what is well inside and well outside. Of the times
// of the toy TPOT grows by the factor alone.
func TestEquivalenceKeepsItsLevel(t *testing.T) {
	trials := 60
	if os.Getenv("CALRUN_LONG") != "" {
		trials = 2000
	}
	const margin = 0.1
	edge := 0.05 + 3*math.Sqrt(0.05*0.95/float64(trials))
	for _, truth := range []struct {
		factor           float64
		alike, different [2]float64 // least and most shares
	}{
		{1, [2]float64{0.9, 1}, [2]float64{0, 0.01}},
		{1 + margin, [2]float64{0, edge}, [2]float64{0, 0.02}},
		{1 / (1 + margin), [2]float64{0, edge}, [2]float64{0, 0.02}},
		{2, [2]float64{0, 0}, [2]float64{0.9, 1}},
	} {
		count := map[string]int{}
		for trial := range uint64(trials) {
			recorded, again := twice(trial, 5, truth.factor, 0.2)
			cells, err := Equivalent(recorded[3:], again[3:], margin) // a sweep point and the replay
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range cells {
				if c.Stat == "mean" && c.Metric == "tpot" {
					count[c.Point+" "+c.Finding]++
				}
			}
		}
		for _, point := range []string{"rps-1", "replay"} {
			share := func(finding string) float64 { return float64(count[point+" "+finding]) / float64(trials) }
			alike, different := share(CellEquivalent), share(CellDifferent)
			t.Logf("×%.3f %-6s equivalent %.4f, different %.4f", truth.factor, point, alike, different)
			if alike < truth.alike[0] || alike > truth.alike[1] || different < truth.different[0] || different > truth.different[1] {
				t.Errorf("×%.3f %s: equivalent %.3f, different %.3f; want %v and %v", truth.factor, point, alike, different, truth.alike, truth.different)
			}
		}
	}
}

// Requests of a probe are its units: one run of enough of them decides.
func TestAProbeIsJudgedByItsRequests(t *testing.T) {
	for factor, want := range map[float64]string{1: CellEquivalent, 1.3: CellDifferent} {
		recorded, again := twice(3, 1, factor, 0.02)
		cells, err := Equivalent(recorded[:3], again[:3], 0.1)
		if err != nil || len(cells) != 9 {
			t.Fatalf("%d cells, %v; want the means of three metrics at three probes", len(cells), err)
		}
		for _, c := range cells {
			if c.Finding != want || c.Units != 10 {
				t.Errorf("×%g: %s %s is %s from %d units (%s), want %s from 10", factor, c.Point, c.Metric, c.Finding, c.Units, c.Why, want)
			}
		}
	}
}

func TestTooFewRepeatsDecideNothing(t *testing.T) {
	recorded, again := twice(1, 2, 1, 0.1)
	cells, err := Equivalent(recorded, again, 0.5)
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, c := range cells {
		if strings.HasPrefix(c.Point, "probe") {
			continue
		}
		seen++
		if c.Finding != CellUndecided || !strings.Contains(c.Why, "2 of at least 3 repeats") || c.Low != nil {
			t.Errorf("%+v, want it undecided for want of repeats", c)
		}
	}
	if seen != 2*16 {
		t.Errorf("%d cells, want five of three metrics and the throughput at two points", seen)
	}
}

// An engine that fails now and did not then is another one, whatever the times
// of the rest; where the recorded one failed nothing can be said.
func TestFailuresAreNoTimes(t *testing.T) {
	for _, r := range []struct {
		now  bool
		want string
	}{{true, CellDifferent}, {false, CellUndecided}} {
		recorded, again := twice(1, 3, 1, 0.1)
		side := recorded
		if r.now {
			side = again
		}
		for i := range side {
			for k := range side[i].Runs {
				side[i].Runs[k].Rows[0].Error = "the connection was reset"
			}
		}
		cells, err := Equivalent(recorded, again, 0.1)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range cells {
			if c.Finding != r.want || !strings.Contains(c.Why, "failed") {
				t.Errorf("failed now: %v: %+v, want %s", r.now, c, r.want)
			}
		}
	}
}

func TestWhatCannotBeHeldAgainstEachOther(t *testing.T) {
	recorded, again := twice(1, 3, 1, 0.1)
	for _, margin := range []float64{0, -0.1, math.NaN(), math.Inf(1)} {
		if _, err := Equivalent(recorded, again, margin); err == nil {
			t.Errorf("a margin of %g is taken", margin)
		}
	}
	if _, err := Equivalent(recorded, again[1:], 0.1); err == nil {
		t.Error("a point is missing, and nobody says so")
	}
	same, err := Equivalent(recorded, recorded, 0.001)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range same {
		if c.Finding == CellDifferent || !strings.HasPrefix(c.Point, "probe") && !strings.HasPrefix(c.Point, "replay") && c.Finding != CellEquivalent {
			t.Errorf("a measurement against itself: %+v", c)
		}
	}
	again[len(again)-2].Runs[0].Requests[3].Prompt++ // rows still say what was served
	again[len(again)-2].Runs[0].Rows[3].Prompted++
	cells, err := Equivalent(recorded, again, 0.1)
	if err != nil {
		t.Fatal(err)
	}
	unlike := 0
	for _, c := range cells {
		if strings.Contains(c.Why, "not the same requests") && c.Finding == CellUndecided {
			unlike++
		}
	}
	if unlike != 16 {
		t.Errorf("%d cells of another request, want the 16 of its point", unlike)
	}
}
