package steps

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"calrun/internal/engine"
	"calrun/internal/profile"
	"calrun/internal/simulator"
	"calrun/internal/trace"
	"calrun/pipeline"
)

// hidden is an engine whose truth a test knows: the simulator's scheduler with
// step times of its own and jitter that the simulator does not have.
type hidden struct {
	model  profile.Model
	front  time.Duration
	jitter float64
	facts  engine.Facts
	seed   uint64
	long   int // prompts are so many times the quickstart's; 0 is 1
}

// jittered stretches each step by 1 ± jitter, uniformly.
type jittered struct {
	profile.Model
	by  float64
	rng *rand.Rand
}

func (j jittered) Step(b *profile.Batch) (time.Duration, bool) {
	d, outside := j.Model.Step(b)
	return time.Duration(float64(d) * (1 + j.by*(2*j.rng.Float64()-1))), outside
}

// requests are n arrivals at a rate; rate 0 is a probe: all alike, one after
// the other.
func (h hidden) requests(n int, rate float64, prompt func(*rand.Rand) int) []trace.Request {
	rng := rand.New(rand.NewPCG(h.seed, 1)) // the same requests at every rate
	reqs, due := make([]trace.Request, n), 0.0
	for i := range reqs {
		if rate > 0 {
			due += rng.ExpFloat64() / rate
		}
		reqs[i] = trace.Request{ID: i, Due: trace.FromSeconds(due), Prompt: prompt(rng), Output: 4 + rng.IntN(9)}
	}
	return reqs
}

// measure is what the engine answers to a plan of probes and rates.
func (h hidden) measure(t *testing.T, rates ...float64) []trace.Point {
	t.Helper()
	long := max(1, h.long)
	mixed := func(rng *rand.Rand) int {
		return long * int(min(512, max(16, 200*math.Exp(rng.NormFloat64()*0.7))))
	}
	var points []trace.Point
	for _, p := range []int{64, 200, 512} {
		reqs := h.requests(10, 0, func(*rand.Rand) int { return long * p })
		points = append(points, h.point(t, trace.Point{Name: fmt.Sprintf("probe-%d-12", long*p), Group: trace.Probe}, reqs))
	}
	for _, rate := range rates {
		points = append(points, h.point(t, trace.Point{Name: fmt.Sprintf("rps-%g", rate), Group: trace.Sweep, Rate: rate}, h.requests(300, rate, mixed)))
	}
	return points
}

func (h hidden) point(t *testing.T, p trace.Point, reqs []trace.Request) trace.Point {
	t.Helper()
	cfg := simulator.Defaults()
	cfg.FrontEnd = h.front
	if h.facts.KVBlocks != nil {
		cfg.Blocks = *h.facts.KVBlocks
	}
	if h.facts.MaxNumSeqs != nil {
		cfg.MaxNumSeqs = *h.facts.MaxNumSeqs
	}
	run := simulator.Run
	if p.Alone() {
		run = simulator.RunAlone
	}
	m := jittered{h.model, h.jitter, rand.New(rand.NewPCG(h.seed, uint64(p.Rate*1000)+2))}
	rows, stats, err := run(context.Background(), reqs, cfg, m)
	if err != nil {
		t.Fatal(err)
	}
	for i := range rows {
		if !rows[i].OK() {
			t.Fatalf("%s: request %d: %s", p.Name, i, rows[i].Error)
		}
		rows[i].Status = 200
	}
	p.Runs = []trace.Run{{Seed: 1, Requests: reqs, Rows: rows, State: trace.OK, Window: stats.End}}
	return p
}

// folder writes points and facts as a measurement or a workload.
func folder(t *testing.T, of string, points []trace.Point, f engine.Facts) pipeline.Artefact {
	t.Helper()
	dir := filepath.Join(t.TempDir(), of)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if of == "workload" {
		bare := slices.Clone(points)
		for i := range bare {
			bare[i].Runs = slices.Clone(bare[i].Runs)
			for j, r := range bare[i].Runs {
				bare[i].Runs[j] = trace.Run{Seed: r.Seed, Requests: r.Requests}
			}
		}
		points = bare
	}
	if err := trace.WritePoints(dir, points); err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "engine.json"), data, 0o644); err != nil {
		t.Fatal(err)
	}
	return pipeline.Artefact{Of: of, Path: dir}
}

// stepProfile writes calrun's own step-time profile.
func stepProfile(t *testing.T, base string) pipeline.Artefact {
	t.Helper()
	return writeProfile(t, "{base: "+base+", per_prefill_token: 15us, per_sequence: 100us}")
}

func writeProfile(t *testing.T, step string) pipeline.Artefact {
	t.Helper()
	dir := t.TempDir()
	text := "format: steps\nmodel: emulated\ngpu: emulated\nstep: " + step + "\n"
	if err := os.WriteFile(filepath.Join(dir, "profile.yaml"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return pipeline.Artefact{Of: "profiles", Path: dir}
}

func scratch(t *testing.T) *pipeline.Runtime {
	t.Helper()
	return pipeline.NewScratch(t.TempDir(), zerolog.Nop())
}

// quick is the engine of the quickstart plan: 8 ms a step, 2 ms in front.
func quick(seed uint64) hidden {
	return hidden{
		model: profile.StepTime{Base: 8e-3, PerPrefillToken: 15e-6, PerSequence: 100e-6},
		front: 2 * time.Millisecond, jitter: 0.05, seed: seed,
	}
}

func TestTuneRecoversTheQuickstart(t *testing.T) {
	for seed := range uint64(5) {
		h := quick(seed)
		points := h.measure(t, 25, 35, 45)
		step := &Tune{
			Measured: folder(t, "measurement", points, h.facts), Profiles: stepProfile(t, "5.5ms"), Simulator: embedded, Seed: 1,
			FitOn: []string{"probes", "rps-35"},
			Knobs: map[string]KnobRange{"cpu_overhead_s": {Lo: 0, Hi: 0.02}, "front_end_s": {Lo: 0, Hi: 0.01}},
		}
		began := time.Now()
		out, err := step.Run(context.Background(), scratch(t))
		if err != nil {
			t.Fatal(err)
		}
		r := out.(*TuneResult)
		t.Logf("seed %d: overhead %.3f ms, front end %.3f ms, loss %.3g → %.3g, %d simulations in %v", seed,
			1e3*orZero(r.Params.CPUOverhead), 1e3*orZero(r.Params.FrontEnd), r.LossBefore, r.LossAfter, r.Simulated, time.Since(began).Round(time.Millisecond))
		if d := orZero(r.Params.CPUOverhead) - 2.5e-3; math.Abs(d) > 0.2e-3 {
			t.Errorf("seed %d: overhead %g s, want 2.5 ms", seed, *r.Params.CPUOverhead)
		}
		if d := orZero(r.Params.FrontEnd) - 2e-3; math.Abs(d) > 0.4e-3 {
			t.Errorf("seed %d: front end %g s, want 2 ms", seed, *r.Params.FrontEnd)
		}
		want := []string{"probe-200-12", "probe-512-12", "probe-64-12", "rps-35"}
		if !slices.Equal(r.FittedOn, want) || !slices.Equal(r.Params.FittedOn, want) || !r.Improved {
			t.Errorf("seed %d: fitted on %v, params say %v, improved %v; want %v", seed, r.FittedOn, r.Params.FittedOn, r.Improved, want)
		}
		if worst := heldOut(t, step, r.Params, points); worst > 0.05 {
			t.Errorf("seed %d: a held-out median is off by %.1f %%", seed, 100*worst)
		}
	}
}

// heldOut is the largest relative error of a median of TTFT or TPOT at the
// rates that were not fitted on.
func heldOut(t *testing.T, s *Tune, p Params, measured []trace.Point) float64 {
	t.Helper()
	sim, err := openWhatIf(embedded, s.Profiles.Path, s.Deployment, engine.Facts{})
	if err != nil {
		t.Fatal(err)
	}
	out, err := sim(context.Background(), measured, p)
	if err != nil {
		t.Fatal(err)
	}
	median := func(p trace.Point, of func(trace.Row) float64) float64 {
		var x []float64
		for _, r := range p.Runs[0].Rows {
			x = append(x, of(r))
		}
		slices.Sort(x)
		return x[len(x)/2]
	}
	ttft := func(r trace.Row) float64 { return r.TTFT().Seconds() }
	tpot := func(r trace.Row) float64 { d, _ := r.TPOT(); return d.Seconds() }
	worst := 0.0
	for i, m := range measured {
		if m.Alone() || m.Name == "rps-35" {
			continue
		}
		for _, f := range []func(trace.Row) float64{ttft, tpot} {
			worst = max(worst, math.Abs(median(out[i], f)/median(m, f)-1))
		}
	}
	return worst
}

func TestTuneMakesNoProgressTwice(t *testing.T) {
	h := quick(1)
	step := &Tune{
		Measured: folder(t, "measurement", h.measure(t, 35), h.facts), Profiles: stepProfile(t, "5.5ms"), Simulator: embedded, Seed: 1,
		FitOn: []string{"probes"}, Knobs: map[string]KnobRange{"cpu_overhead_s": {Lo: 0, Hi: 0.02}, "front_end_s": {Lo: 0, Hi: 0.01}},
	}
	first, err := step.Run(context.Background(), scratch(t))
	if err != nil {
		t.Fatal(err)
	}
	step.Start = first.(*TuneResult).Params
	second, err := step.Run(context.Background(), scratch(t))
	if err != nil {
		t.Fatal(err)
	}
	a, _ := json.Marshal(step.Start)
	b, _ := json.Marshal(second.(*TuneResult).Params)
	if string(a) != string(b) || second.(*TuneResult).Improved {
		t.Errorf("a second fit of the same points moved the parameters from %s to %s, so that the route would not close", a, b)
	}
}

func TestTunePinsWhatTheEngineStates(t *testing.T) {
	h := quick(1)
	h.facts.MaxNumSeqs = new(64)
	step := &Tune{
		Measured: folder(t, "measurement", h.measure(t, 35), h.facts), Profiles: stepProfile(t, "8ms"), Simulator: embedded, Seed: 1,
		Start: Params{BatchSizeCap: new(32)}, FitOn: []string{"rps-35"},
		Knobs: map[string]KnobRange{"batch_size_cap": {Lo: 8, Hi: 256}},
	}
	out, err := step.Run(context.Background(), scratch(t))
	if err != nil {
		t.Fatal(err)
	}
	r := out.(*TuneResult)
	if r.Improved || len(r.Pinned) != 1 || r.Pinned[0].Engine != 64 || *r.Params.BatchSizeCap != 32 || r.Simulated != 0 {
		t.Errorf("a stated knob was turned: %+v", r)
	}
	if !strings.Contains(strings.Join(r.Notes, "\n"), "pinned at 32, but the engine states 64") {
		t.Errorf("the notes do not say that the start differs from the engine: %q", r.Notes)
	}
	step.Knobs["batch_size_cap"] = KnobRange{Lo: 8, Hi: 256, Free: true}
	out, err = step.Run(context.Background(), scratch(t))
	if err != nil {
		t.Fatal(err)
	}
	if r := out.(*TuneResult); len(r.Pinned) != 0 || len(r.Knobs) != 1 || r.Simulated == 0 {
		t.Errorf("free: true did not free the knob: %+v", r)
	}
}

func TestTuneSaysWhatIsMissing(t *testing.T) {
	h := quick(1)
	measured := folder(t, "measurement", h.measure(t, 35)[3:], h.facts)
	knobs := map[string]KnobRange{"cpu_overhead_s": {Lo: 0, Hi: 0.02}}
	for _, c := range []struct {
		why  string
		step Tune
		want string
	}{
		{"a point that is not there", Tune{FitOn: []string{"rps-30"}, Knobs: knobs}, `no point "rps-30"; points: rps-35, probes`},
		{"no probes were measured", Tune{FitOn: []string{"probes"}, Knobs: knobs}, `no point "probes"`},
		{"an unknown knob", Tune{FitOn: []string{"rps-35"}, Knobs: map[string]KnobRange{"cpu_overhed_s": {Hi: 1}}}, `did you mean "cpu_overhead_s"?`},
		{"bounds outside of the parameter's", Tune{FitOn: []string{"rps-35"}, Knobs: map[string]KnobRange{"front_end_s": {Lo: -1, Hi: 1}}}, "cannot be below 0"},
	} {
		c.step.Measured, c.step.Profiles, c.step.Simulator = measured, stepProfile(t, "8ms"), embedded
		_, err := c.step.Run(context.Background(), scratch(t))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one that says %s", c.why, err, c.want)
		}
	}
}

func TestTuneCheck(t *testing.T) {
	for _, c := range []struct {
		why   string
		step  Tune
		field string
		want  string // in message or suggestion
	}{
		{"nothing to fit on", Tune{Knobs: map[string]KnobRange{"k_mlp": {Lo: 0.5, Hi: 2}}}, "fit_on", "no point"},
		{"nothing to turn", Tune{FitOn: []string{"probes"}}, "knobs", "no knob"},
		{"a misspelt knob", Tune{FitOn: []string{"probes"}, Knobs: map[string]KnobRange{"kv_bloks": {Lo: 1, Hi: 2}}}, "knobs.kv_bloks", `"kv_blocks"`},
		{"a fraction of a block", Tune{FitOn: []string{"probes"}, Knobs: map[string]KnobRange{"kv_blocks": {Lo: 1.5, Hi: 2}}}, "knobs.kv_blocks", "whole number"},
		{"a range the wrong way round", Tune{FitOn: []string{"probes"}, Knobs: map[string]KnobRange{"k_mlp": {Lo: 2, Hi: 1}}}, "knobs.k_mlp", "smaller"},
	} {
		ps := c.step.Check(pipeline.Static{})
		if len(ps) != 1 || ps[0].Field != c.field || !strings.Contains(ps[0].Message+ps[0].Suggest, c.want) {
			t.Errorf("%s: %+v, want one problem at %s with %s", c.why, ps, c.field, c.want)
		}
	}
}

func TestKnobRange(t *testing.T) {
	for _, c := range []struct {
		why, text string
		want      KnobRange
		err       string
	}{
		{"short form", `[0, 0.02]`, KnobRange{Lo: 0, Hi: 0.02}, ""},
		{"long form", `{"range": [32, 512], "free": true}`, KnobRange{Lo: 32, Hi: 512, Free: true}, ""},
		{"long form without free", `{"range": [32, 512]}`, KnobRange{Lo: 32, Hi: 512}, ""},
		{"one number", `[1]`, KnobRange{}, "two numbers"},
		{"a misspelt key", `{"rnge": [1, 2]}`, KnobRange{}, "[lo, hi] or"},
		{"text", `"0..1"`, KnobRange{}, "[lo, hi] or"},
	} {
		var got KnobRange
		err := json.Unmarshal([]byte(c.text), &got)
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%s: error %v, want %s", c.why, err, c.err)
			}
			continue
		}
		if err != nil || got != c.want {
			t.Errorf("%s: %+v, %v", c.why, got, err)
		}
		data, err := json.Marshal(got)
		var back KnobRange
		if err != nil || json.Unmarshal(data, &back) != nil || back != got {
			t.Errorf("%s: written as %s, it reads back as %+v", c.why, data, back)
		}
	}
}

func TestEveryNumberOfParamsIsAKnob(t *testing.T) {
	var p Params
	for i, k := range knobs() {
		if _, set := k.of(p); set {
			t.Errorf("%s is set in empty params", k.name)
		}
		k.put(&p, float64(i+1))
		if v, set := k.of(p); !set || v != float64(i+1) {
			t.Errorf("%s: put %d, got %g", k.name, i+1, v)
		}
	}
	data, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	var all map[string]any
	if err := json.Unmarshal(data, &all); err != nil {
		t.Fatal(err)
	}
	for name := range all {
		if _, ok := lookupKnob(name); !ok {
			t.Errorf("parameter %s is no knob", name)
		}
	}
	if len(all) != len(knobs()) {
		t.Errorf("%d knobs, %d parameters", len(knobs()), len(all))
	}
}
