//go:build real

package vidur

import (
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"calrun/internal/emulator"
	"calrun/internal/engine"
	"calrun/internal/profile"
	"calrun/internal/shared"
	"calrun/internal/trace"
	"calrun/internal/workload"
)

// hidden is what a step of the emulated engine takes beyond a line through the
// profile's own steps.
const hidden = 3e-3 // seconds

// recordA800 measures an emulated A800 at two rates, in counted time.
func recordA800(t *testing.T, dir string) {
	t.Helper()
	cfg := emulator.Config{
		Model:  "meta-llama/Llama-2-7b-hf",
		Step:   profile.StepTime{Base: 9.4e-3 + hidden, PerPrefillToken: 69e-6, PerSequence: 70e-6, PerContextToken: 0.26e-6},
		Jitter: emulator.Jitter{Step: 0.02}, MaxNumSeqs: 128, MaxTokens: 512, KVBlocks: 7424, MaxModelLen: 4096, Seed: 3,
	}.Filled()
	e, err := emulator.NewReplay(cfg)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 1))
	between := func(lo, median, hi float64) int {
		return int(min(hi, max(lo, median*math.Exp(0.8*rng.NormFloat64()))))
	}
	const n = 300
	reqs, gaps := make([]trace.Request, n), make([]float64, n)
	for i := range reqs {
		reqs[i] = trace.Request{ID: i, Prompt: between(32, 400, 2000), Output: between(8, 25, 60)}
		gaps[i] = rng.ExpFloat64()
	}
	var points []trace.Point
	for _, p := range []trace.Point{{Name: "rps-8", Rate: 8}, {Name: "rps-12", Rate: 12}} {
		p.Group = trace.Sweep
		asked, due := append([]trace.Request{}, reqs...), 0.0
		for i := range asked {
			due += gaps[i] / p.Rate
			asked[i].Due = trace.FromSeconds(due)
		}
		rows, err := e.Serve(asked)
		if err != nil {
			t.Fatal(err)
		}
		p.Runs = []trace.Run{{Seed: 1, Requests: asked, Rows: rows, State: trace.OK}}
		points = append(points, p)
	}
	yes, no := true, false
	facts := engine.Facts{
		Name: "calrun-emulator", Model: cfg.Model, MaxModelLen: &cfg.MaxModelLen, BlockSize: &cfg.BlockSize, KVBlocks: &cfg.KVBlocks,
		MaxNumSeqs: &cfg.MaxNumSeqs, MaxTokens: &cfg.MaxTokens, Chunked: &yes, PrefixCache: &no, Async: &no,
	}
	for _, err := range []error{
		os.MkdirAll(dir, 0o755), trace.WritePoints(dir, points), engine.WriteFacts(dir, facts),
		workload.WriteFacts(dir, workload.Facts{Ended: "2026-01-31T12:00:00Z"}),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// The real Vidur is tuned: it finds the hidden time of a step, with an interval
// that holds it, and comes closer at a rate that the fit has not seen.
func TestRealVidurTuned(t *testing.T) {
	began := time.Now()
	dir := t.TempDir()
	recording := filepath.Join(dir, "recording")
	recordA800(t, recording)
	calrun := build(t)
	var doc struct {
		Verdict string
		Steps   struct {
			Tuned struct {
				Result struct {
					Simulations int
					Improved    bool
					Notes       []string
					Knobs       []struct{ Value, Low, High float64 }
				}
			}
		}
	}
	calrun.json(t, &doc, "run", "examples/vidur/tune.yaml", "--dir", dir, "--input", "measurement="+recording, "--input", "profiles="+shared.Path(t, "profiles/vidur"))
	r := doc.Steps.Tuned.Result
	if len(r.Knobs) != 1 || !r.Improved {
		t.Fatalf("nothing was tuned: %+v", r)
	}
	k := r.Knobs[0]
	t.Logf("%d simulations by Vidur: %.2f ms (%.2f to %.2f) of %.2f ms hidden; %v", r.Simulations, 1e3*k.Value, 1e3*k.Low, 1e3*k.High, 1e3*hidden, r.Notes)
	if k.Low > hidden || hidden > k.High {
		t.Errorf("the interval %g to %g does not hold %g", k.Low, k.High, hidden)
	}
	if k.High-k.Low > hidden*1.5 { // an interval that holds everything tells nothing
		t.Errorf("the interval %g to %g is wider than what it is about", k.Low, k.High)
	}
	var versus struct {
		Rivals []struct {
			A, B    struct{ Step string }
			Overall struct{ Closer, Why string }
			Cells   []struct {
				Point, Metric, Stat, Why string
				APEA                     *float64 `json:"ape_a"`
				APEB                     *float64 `json:"ape_b"`
			}
		}
	}
	calrun.json(t, &versus, "compare", "latest", "--dir", dir)
	if len(versus.Rivals) != 1 || versus.Rivals[0].A.Step != "before" || versus.Rivals[0].B.Step != "after" {
		t.Fatalf("the run's two simulations are not compared: %+v", versus)
	}
	o := versus.Rivals[0].Overall
	if o.Closer != "b" {
		t.Errorf("tuned, it is not said to be closer: %+v", o)
	}
	held := 0
	for _, c := range versus.Rivals[0].Cells {
		if c.Point != "rps-12" || c.Stat != "p50" && c.Stat != "mean" || c.APEA == nil || c.APEB == nil {
			continue
		}
		held++
		t.Logf("%s %s %s: off by %.1f %% before, %.1f %% after", c.Point, c.Metric, c.Stat, 100**c.APEA, 100**c.APEB)
		if *c.APEB > 0.5**c.APEA {
			t.Errorf("%s %s of the held-out rate is off by %.1f %% after tuning, and was by %.1f %%", c.Metric, c.Stat, 100**c.APEB, 100**c.APEA)
		}
	}
	if held != 6 {
		t.Errorf("%d cells of the held-out rate, want 6", held)
	}
	t.Logf("took %v", time.Since(began).Round(time.Second))
}
