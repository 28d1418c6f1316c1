package steps

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"calrun/internal/compare"
	"calrun/pipeline"
)

// remeasured is three seeds of one rate on the emulated engine.
const remeasured = `version: calrun/v1
name: remeasured
steps:
  hardware:
    uses: hardware-run
    with:
      engine: {emulator: {model: emulated, step: {base: 4ms}}}
      workload:
        seed: 1
        probes: {lengths: [[64, 4]], requests: 6}
        sweep:
          arrivals: poisson
          rps: [20]
          requests: 20
          seeds: SEEDS
          distribution: {prompt: {min: 16, max: 64, median: 32}, output: {min: 2, max: 6}}
`

// A real measurement of the emulated engine is made again from its lock, and
// every cell is judged from the units that it has. What the times come to
// belongs to the machine that the test runs on.
func TestTheEngineIsMeasuredAgain(t *testing.T) {
	for seeds, judged := range map[int]bool{3: true, 1: false} {
		plan := filepath.Join(t.TempDir(), "remeasured.yaml")
		if err := os.WriteFile(plan, []byte(strings.Replace(remeasured, "SEEDS", strconv.Itoa(seeds), 1)), 0o644); err != nil {
			t.Fatal(err)
		}
		accepted, _ := runAndAccept(t, plan)
		got, err := pipeline.Reproduce(t.Context(), accepted.LockFile, pipeline.ReproduceOptions{
			Kinds: pipeline.NewKinds(Builtin()...), Log: zerolog.Nop(), Page: pageOf, Limit: 1 << 30, Rerun: true, Margin: 9,
		})
		if err != nil {
			t.Fatal(err)
		}
		c := got.Checks[slices.IndexFunc(got.Checks, func(c pipeline.Check) bool { return c.What == "round 1 hardware" })]
		t.Logf("%d seeds: %s: %s", seeds, c.Finding, c.Note)
		if strings.Contains(c.Note, "requests failed") {
			t.Log("a busy machine overloads even this engine")
			continue
		}
		cells, _ := c.Cells.([]compare.EquivalenceCell)
		if len(cells) != 16+3 || !judged && c.Finding == pipeline.Alike || got.Match != (c.Finding != pipeline.Different) || got.Unsure != (c.Finding == pipeline.Undecided) {
			t.Errorf("%d seeds: %s, %d cells, match %v, unsure %v; want 19 cells, and nothing equivalent for want of seeds", seeds, c.Finding, len(cells), got.Match, got.Unsure)
		}
		for _, cell := range cells {
			units := seeds
			if strings.HasPrefix(cell.Point, "probe") {
				units = 6
			}
			if cell.Units != units || (cell.Low != nil) != (units >= 3) || cell.Ratio == nil || cell.Recorded == nil || cell.Again == nil {
				t.Errorf("%+v, want %d units and an interval from 3 on", cell, units)
			}
		}
	}
}

// One cell that differs decides; a tail that does not is no obstacle.
func TestTheWorstCellIsNamed(t *testing.T) {
	cell := func(stat, finding string, ratio float64) compare.EquivalenceCell {
		return compare.EquivalenceCell{Point: "rps-1", Metric: "ttft", Stat: stat, Finding: finding, Ratio: &ratio, Why: "w"}
	}
	for _, r := range []struct {
		cells      []compare.EquivalenceCell
		want, note string
	}{
		{[]compare.EquivalenceCell{cell("p50", "equivalent", 1), cell("p99", "inconclusive", 1.2)}, "equivalent", "1 undecided (1 of them tails)"},
		{[]compare.EquivalenceCell{cell("p50", "inconclusive", 1.1), cell("mean", "inconclusive", 0.8)}, "inconclusive", "rps-1 ttft mean ×0.800: w"},
		{[]compare.EquivalenceCell{cell("mean", "inconclusive", 3), cell("p50", "different", 1.3), cell("p99", "different", 1.5), cell("p90", "different", 1.4)}, "different", "rps-1 ttft p99 ×1.500: w"},
	} {
		got := equivalence(r.cells, 0.1)
		if got.Verdict != r.want || !strings.Contains(got.Note, r.note) {
			t.Errorf("%s: %s, want %s: … %s", got.Verdict, got.Note, r.want, r.note)
		}
	}
}
