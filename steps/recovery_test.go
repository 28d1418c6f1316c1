package steps

import (
	"context"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"calrun/internal/emulator"
	"calrun/internal/fit"
	"calrun/internal/profile"
	"calrun/internal/trace"
)

// hiddenParams are what a trial hides from the fit, as parameters of a
// simulator on the profile of recoveryProfile.
func hiddenParams(rng *rand.Rand) map[string]float64 {
	between := func(lo, hi float64) float64 { return lo + rng.Float64()*(hi-lo) }
	return map[string]float64{
		"cpu_overhead_s": between(0.5e-3, 4e-3),
		"per_sequence_s": between(0.05e-3, 0.3e-3),
		"front_end_s":    between(1e-3, 5e-3),
		"k_mlp":          between(0.8, 1.3),
	}
}

// recoveryKnobs are the ranges in which a fit looks for them.
func recoveryKnobs() map[string]KnobRange {
	return map[string]KnobRange{
		"cpu_overhead_s": {Hi: 0.02}, "per_sequence_s": {Hi: 0.002}, "front_end_s": {Hi: 0.02}, "k_mlp": {Lo: 0.4, Hi: 2.5},
	}
}

// recoveryEngine is an engine with the hidden parameters. A front end that is
// mostly idle takes its constant, its busy part and the mean of its jitter.
func recoveryEngine(seed uint64, p map[string]float64) played {
	e := emulated(seed, profile.StepTime{
		Base:            profile.Cost(5.5e-3*p["k_mlp"] + p["cpu_overhead_s"]),
		PerPrefillToken: profile.Cost(15e-6 * p["k_mlp"]),
		PerSequence:     profile.Cost(100e-6 + p["per_sequence_s"]),
	})
	e.cfg.FrontEnd = trace.FromSeconds(p["front_end_s"]) - e.cfg.FrontEndBusy - e.cfg.Jitter.FrontEnd
	return e
}

// recovered is the outcome of one trial.
type recovered struct {
	inside, params int // parameters, and those inside of their interval
	off            map[string]float64
	mape           float64 // mean |S−R|/R of P50 and mean of TTFT, TPOT, E2E at the held-out rates
	notes          []string
}

// asIs changes nothing of an engine; quiet takes away the terms that the
// simulator does not have.
func asIs(*played) {}

func quiet(e *played) {
	e.cfg.FrontEnd += e.cfg.FrontEndBusy + e.cfg.Jitter.FrontEnd
	e.cfg.FrontEndBusy, e.cfg.Jitter, e.cfg.WarmUp = 0, emulator.Jitter{}, emulator.WarmUp{}
}

// recoverOnce hides parameters, measures, fits on some points and looks at the
// others.
func recoverOnce(t *testing.T, seed uint64, change func(*played), fitOn ...string) recovered {
	t.Helper()
	hidden := hiddenParams(rand.New(rand.NewPCG(seed, 5)))
	e := recoveryEngine(seed, hidden)
	change(&e)
	points := e.measure(t, 20, 40, 60, 80)
	s := &Tune{FitOn: fitOn, Knobs: recoveryKnobs(), Simulator: embedded, Seed: 1}
	facts := e.facts()
	sim, err := openWhatIf(embedded, stepProfile(t, "5.5ms").Path, s.Deployment, facts)
	if err != nil {
		t.Fatal(err)
	}
	r, err := s.tune(context.Background(), scratch(t), points, facts, tuned{sim: sim})
	if err != nil {
		t.Fatal(err)
	}
	out := recovered{notes: r.Notes, off: map[string]float64{}}
	for _, k := range r.Knobs {
		out.params++
		out.off[k.Name] = math.Abs(k.Value/hidden[k.Name] - 1)
		if k.Low != nil && *k.Low <= hidden[k.Name] && hidden[k.Name] <= *k.High {
			out.inside++
		}
		if testing.Verbose() {
			t.Logf("seed %d: %-15s hidden %.4g, found %.4g in [%.4g, %.4g]", seed, k.Name, hidden[k.Name], k.Value, orZero(k.Low), orZero(k.High))
		}
	}
	held, _ := markOverloaded(points, unstable)
	held = []trace.Point{held[len(held)-3], held[len(held)-1]} // 40 and 80
	simulated, err := sim(context.Background(), held, r.Params)
	if err != nil {
		t.Fatal(err)
	}
	rs, err := fit.Compare(held, simulated, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range rs {
		out.mape += math.Abs(math.Expm1(x.Log)) / float64(len(rs))
	}
	if testing.Verbose() {
		t.Logf("seed %d: held-out MAPE %.2f %%, loss %.3g → %.3g, misfit %.2f, %d simulations; %s", seed, 100*out.mape, r.LossBefore, r.LossAfter, r.Misfit, r.Simulated, strings.Join(r.Notes, "; "))
	}
	return out
}

// Hidden parameters are found again, with honest intervals, and so are rates
// that the fit has not seen: in a few draws here, in a hundred where
// CALRUN_LONG is set.
func TestRecovery(t *testing.T) {
	for _, c := range []struct{ seeds, few, many int }{{1, 12, 100}, {2, 3, 100}} {
		n := trials(c.few, c.many)
		began := time.Now()
		inside, params, good := 0, 0, 0
		for seed := range uint64(n) {
			r := recoverOnce(t, seed, func(e *played) { e.runs = c.seeds }, "probes", "rps-20", "rps-60")
			inside, params = inside+r.inside, params+r.params
			if r.mape <= 0.03 {
				good++
			}
		}
		t.Logf("%d seeds a rate, %d draws in %v: %d of %d parameters inside their interval (%.1f %%), held-out MAPE at most 3 %% in %d (%.1f %%)",
			c.seeds, n, time.Since(began).Round(time.Second), inside, params, 100*float64(inside)/float64(params), good, 100*float64(good)/float64(n))
		if float64(inside) < 0.9*float64(params)-0.5 {
			t.Errorf("%d seeds a rate: %d of %d parameters inside their interval of 95 %%, want nine in ten", c.seeds, inside, params)
		}
		if float64(good) < 0.95*float64(n)-0.5 {
			t.Errorf("%d seeds a rate: held-out MAPE at most 3 %% in %d of %d draws, want 95 %%", c.seeds, good, n)
		}
	}
}

// One rate and no probe leave a time per step and a time per sequence open,
// and the warning says which rate to measure. A rate tells them apart if its
// batches are of another size.
func TestOneRateNamesTheMissingRate(t *testing.T) {
	for seed := range uint64(trials(3, 20)) {
		r := recoverOnce(t, seed, asIs, "rps-60")
		notes := strings.Join(r.notes, "\n")
		if !strings.Contains(notes, "per_sequence_s is only known to lie between") {
			t.Errorf("seed %d: per_sequence_s is said to be known: %s", seed, notes)
		}
		if !strings.Contains(notes, "add a rate above 60, as ") && !strings.Contains(notes, "add a rate below 60, as ") || !strings.Contains(notes, "so that it can be told from") {
			t.Errorf("seed %d: the notes name no rate to add: %s", seed, notes)
		}
		t.Log(r.notes)
	}
}

// The emulator's own terms matter: without jitter, a busy front end and a
// warm-up, the simulator is its equal and the fit comes closer to the truth
// than any engine would let it.
func TestRecoveryIsNoTautology(t *testing.T) {
	n := trials(4, 40)
	var mape, off [2]float64
	for seed := range uint64(n) {
		for i, change := range []func(*played){asIs, quiet} {
			r := recoverOnce(t, seed, change, "probes", "rps-20", "rps-60")
			mape[i] += r.mape / float64(n)
			for _, v := range r.off {
				off[i] += v / float64(n*r.params)
			}
		}
	}
	t.Logf("%d draws: held-out MAPE %.2f %% with the terms and %.2f %% without; parameters off by %.1f %% and %.1f %%", n, 100*mape[0], 100*mape[1], 100*off[0], 100*off[1])
	// A few draws do not settle how far off parameters are on average.
	if mape[1] > 0.75*mape[0] || n >= 40 && off[1] > 0.75*off[0] {
		t.Error("switching the terms off changes too little: the emulator is too much like the simulator")
	}
}
