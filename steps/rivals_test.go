package steps

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"calrun/internal/compare"
	"calrun/internal/profile"
	"calrun/internal/trace"
	"calrun/pipeline"
)

// rivalRun is a run that measured an engine and compared simulations with it.
type rivalRun struct {
	t     *testing.T
	state *pipeline.State
	paths map[string]string // of artefacts, by digest
}

func newRivalRun(t *testing.T, id string) *rivalRun {
	round := &pipeline.Round{N: 1, Steps: map[string]*pipeline.StepState{}}
	return &rivalRun{t, &pipeline.State{Run: id, Rounds: []*pipeline.Round{round}}, map[string]string{}}
}

func (r *rivalRun) record() RunRecord {
	return RunRecord{State: r.state, Artefact: func(a pipeline.Artefact) (string, error) {
		if path, ok := r.paths[a.Digest]; ok {
			return path, nil
		}
		return "", fmt.Errorf("%s was removed", a.Digest)
	}}
}

// diff adds a simulation and its comparison with a measurement, both by name.
func (r *rivalRun) diff(name, measurement string, measured []trace.Point, simulation string, points []trace.Point, fittedOn ...string) {
	r.t.Helper()
	put := func(of, digest string, points []trace.Point) pipeline.Artefact {
		if r.paths[digest] == "" {
			r.paths[digest] = r.t.TempDir()
			if err := trace.WritePoints(r.paths[digest], points); err != nil {
				r.t.Fatal(err)
			}
		}
		return pipeline.Artefact{Of: of, Digest: digest}
	}
	m, s := put("measurement", measurement, measured), put("simulation", simulation, points)
	file, err := json.Marshal(simulationFile{Params: Params{FittedOn: fittedOn}})
	if err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(r.paths[simulation], "simulation.json"), file, 0o644); err != nil {
		r.t.Fatal(err)
	}
	raw := func(v any) json.RawMessage {
		data, err := json.Marshal(v)
		if err != nil {
			r.t.Fatal(err)
		}
		return data
	}
	steps := r.state.Rounds[0].Steps
	steps["sim-"+simulation] = &pipeline.StepState{Name: "sim-" + simulation, Kind: simulateKind.Name, Result: raw(map[string]any{"simulation": s, "simulator": "the one of " + simulation})}
	steps[name] = &pipeline.StepState{Name: name, Kind: diffKind.Name, Result: raw(map[string]any{}), With: raw(map[string]any{"measured": m, "simulated": s, "scope": "stable"})}
}

// A simulator with a planted bias is told from the right one, on an engine that
// has terms that neither knows; of two that are the engine's equals, but for
// chance, neither is called closer in nineteen of twenty.
func TestRivalsOnTheEmulator(t *testing.T) {
	n := trials(20, 100)
	told, wrong, apart := 0, 0, 0
	for seed := range uint64(n) {
		e := emulated(seed, profile.StepTime{Base: 8e-3, PerPrefillToken: 15e-6, PerSequence: 100e-6})
		measured := e.measure(t, 20, 40)
		sim, err := openWhatIf(embedded, writeProfile(t, "{base: 8ms, per_prefill_token: 15us, per_sequence: 100us}").Path, Deployment{}, e.facts())
		if err != nil {
			t.Fatal(err)
		}
		against := func(a, b []trace.Point) compare.RivalCell {
			r, err := compare.Rivals(measured, compare.Simulation{Points: a}, compare.Simulation{Points: b}, compare.Options{Draws: 400, Seed: 1})
			if err != nil {
				t.Fatal(err)
			}
			if r.Overall.Low == nil {
				t.Fatalf("seed %d: %s", seed, r.Overall.Why)
			}
			return r.Overall
		}
		simulate := func(p Params) []trace.Point {
			out, err := sim(context.Background(), measured, p)
			if err != nil {
				t.Fatal(err)
			}
			return out
		}
		front := 2.5e-3 // its constant, its busy part and the mean of its jitter
		switch against(simulate(Params{FrontEnd: &front}), simulate(Params{FrontEnd: &front, KMLP: new(1.15)})).Closer {
		case compare.CloserA:
			told++
		case compare.CloserB:
			wrong++
		}
		twin := func(by int) []trace.Point {
			other := e
			other.cfg.Seed += by
			return other.measure(t, 20, 40)
		}
		if against(twin(1000), twin(2000)).Closer != compare.CloserNone {
			apart++
		}
	}
	t.Logf("%d seeds: the planted bias is told in %d and taken for right in %d; one of two equals is called closer in %d", n, told, wrong, apart)
	if wrong > 0 || float64(told) < 0.95*float64(n) {
		t.Errorf("a simulator that is 15 %% off is told from the right one in %d of %d, and taken for it in %d", told, n, wrong)
	}
	if limit := 0.05*float64(n) + 3*math.Sqrt(0.05*0.95*float64(n)); float64(apart) > limit {
		t.Errorf("of two equals one is called closer in %d of %d", apart, n)
	}
}

// Which simulations are rivals: those of one measurement, in one run or by the
// names of their diff steps in two.
func TestRivalsOfRuns(t *testing.T) {
	e := quick(1)
	measured := e.measure(t, 20)
	slow := quick(1)
	slow.front *= 3
	off := slow.measure(t, 20)

	one := newRivalRun(t, "one")
	one.diff("embedded", "m", measured, "s1", measured)
	one.diff("vidur", "m", measured, "s2", off, "rps-20")
	in, err := RivalsIn(one.record())
	if err != nil || len(in) != 1 {
		t.Fatalf("%d rivals in one run: %v", len(in), err)
	}
	r := in[0]
	if r.A != (RivalOrigin{"one", "sim-s1", "embedded", "the one of s1", "s1"}) || r.B.Diff != "vidur" || r.Measurement != "m" {
		t.Errorf("%+v against %+v of %s", r.A, r.B, r.Measurement)
	}
	if r.Overall.Why != "no cell can be judged" { // the only rate was fitted on
		t.Errorf("%+v", r.Overall)
	}

	for _, row := range []struct {
		why    string
		second func(r *rivalRun)
		pairs  string
		apart  bool
	}{
		{"the same names", func(r *rivalRun) {
			r.diff("embedded", "m", measured, "s3", off)
			r.diff("vidur", "m", measured, "s2", off, "rps-20")
		}, "embedded:embedded", false},
		{"a name that the other has not, among two", func(r *rivalRun) { r.diff("own", "m", measured, "s3", off) }, "", false},
		{"another measurement", func(r *rivalRun) { r.diff("embedded", "n", off, "s3", off) }, "", true},
		{"no simulation", func(*rivalRun) {}, "", false},
	} {
		two := newRivalRun(t, "two")
		row.second(two)
		found, apart, err := RivalsOf(one.record(), two.record())
		if err != nil {
			t.Fatalf("%s: %v", row.why, err)
		}
		var pairs []string
		for _, f := range found {
			pairs = append(pairs, f.A.Diff+":"+f.B.Diff)
		}
		if got := strings.Join(pairs, " "); got != row.pairs || apart != row.apart {
			t.Errorf("%s: %q, apart %v; want %q, %v", row.why, got, apart, row.pairs, row.apart)
		}
	}

	// One for each: the names of the steps do not matter.
	x, y := newRivalRun(t, "x"), newRivalRun(t, "y")
	x.diff("error", "m", measured, "s1", measured)
	y.diff("own", "m", measured, "s3", off)
	found, _, err := RivalsOf(x.record(), y.record())
	if err != nil || len(found) != 1 || found[0].Overall.Closer != compare.CloserA {
		t.Errorf("%+v: %v", found, err)
	}
	y.paths = map[string]string{}
	if _, _, err := RivalsOf(x.record(), y.record()); err == nil || !strings.Contains(err.Error(), "the simulation of run y: s3 was removed") {
		t.Errorf("a simulation that is gone: %v", err)
	}
}
