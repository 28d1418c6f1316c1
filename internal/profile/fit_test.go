package profile

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// probe computes the medians that an engine with the given truth would show,
// with relative noise.
func probe(truth StepTime, front time.Duration, chunk int, noise float64, cells ...Cell) []Cell {
	rng := rand.New(rand.NewPCG(1, 2))
	x := [nCols]float64{float64(truth.Base), float64(truth.PerSequence), float64(truth.PerPrefillToken), front.Seconds(), float64(truth.PerContextToken)}
	for i := range cells {
		c := &cells[i]
		c.TTFT, c.TPOT = 1, 1
		for _, e := range equations([]Cell{*c}, FitOptions{Chunk: chunk}) {
			v := Cost(predict(e, x) * (1 + noise*rng.NormFloat64())).Duration()
			if e.metric == "ttft" {
				c.TTFT = v
			} else {
				c.TPOT = v
			}
		}
	}
	return cells
}

func TestFitStepsRecovers(t *testing.T) {
	truth := StepTime{Base: 8e-3, PerPrefillToken: 15e-6, PerSequence: 1e-4, PerContextToken: 2e-8}
	full := func() []Cell {
		var cs []Cell
		for _, p := range []int{16, 128, 1024, 4096} {
			for _, n := range []int{1, 4, 16} {
				cs = append(cs, Cell{Prompt: p, Output: 17, Concurrency: n, N: 10})
			}
		}
		return cs
	}
	for _, c := range []struct {
		why   string
		noise float64
		chunk int
		tol   float64
	}{
		{"without noise the truth itself comes out", 0, 0, 1e-4},
		{"prompts longer than a chunk pay for every step", 0, 512, 1e-4},
		{"0.2 % of noise on the medians moves the main prices little", 0.002, 512, 0.1},
	} {
		f, err := FitSteps(probe(truth, 2*time.Millisecond, c.chunk, c.noise, full()...), FitOptions{Chunk: c.chunk, Context: true})
		if err != nil {
			t.Errorf("%s: %v", c.why, err)
			continue
		}
		for _, x := range []struct {
			name      string
			got, want float64
		}{
			{"base", float64(f.Step.Base), 8e-3},
			{"per prefill token", float64(f.Step.PerPrefillToken), 15e-6},
			{"per sequence", float64(f.Step.PerSequence), 1e-4},
			{"front end", f.FrontEnd.Seconds(), 2e-3},
		} {
			if math.Abs(x.got/x.want-1) > c.tol {
				t.Errorf("%s: %s = %v, want %v", c.why, x.name, x.got, x.want)
			}
		}
		if f.Worst > 3.5*c.noise+1e-4 {
			t.Errorf("%s: worst residual %v", c.why, f.Worst)
		}
		if f.Covers != (Covers{Prompt: 4096, Context: 4113, Batch: 16}) {
			t.Errorf("%s: covers %+v", c.why, f.Covers)
		}
	}
}

func TestFitStepsRefuses(t *testing.T) {
	truth := StepTime{Base: 8e-3, PerPrefillToken: 15e-6, PerSequence: 1e-4, PerContextToken: 2e-8}
	cell := func(p, n, out int) Cell { return Cell{Prompt: p, Output: out, Concurrency: n} }
	for _, c := range []struct {
		why     string
		cells   []Cell
		context bool
		want    string
	}{
		{"one concurrency: base and per_sequence go together", []Cell{cell(16, 1, 9), cell(512, 1, 9), cell(2048, 1, 9)}, false, "per_sequence"},
		{"one prompt: the front-end hides the prefill's price", []Cell{cell(64, 1, 9), cell(64, 4, 9), cell(64, 8, 9), cell(64, 16, 9)}, false, "per_prefill_token"},
		{"outputs of one token: no TPOT, so nothing gives the base", []Cell{cell(16, 1, 1), cell(512, 1, 1), cell(2048, 1, 1), cell(4096, 1, 1)}, false, "TPOT"},
		{"too few medians", []Cell{cell(16, 1, 9)}, false, "add prompts"},
		{"contexts as good as equal", []Cell{cell(16, 1, 9), cell(16, 8, 9), cell(17, 1, 9), cell(18, 8, 9)}, true, "per_"},
	} {
		_, err := FitSteps(probe(truth, 2*time.Millisecond, 0, 0, c.cells...), FitOptions{Context: c.context})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one that names %q", c.why, err, c.want)
		}
	}
}
