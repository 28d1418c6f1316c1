package steps

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"calrun/internal/profile"
	"calrun/internal/trace"
)

// fault is one thing that is wrong between an engine and its simulator.
type fault struct {
	name  string
	cause string
	apply func(*scene)
}

// scene is what a fault changes: the engine, what it was given, what the
// simulator has and is given.
type scene struct {
	engine played
	rates  []float64
	had    Params
	asked  func(*trace.Request) // what the client thinks of a request's lengths
}

// attentive is a step time of which attention is a good part.
func attentive() profile.StepTime {
	return profile.StepTime{Base: 8e-3, PerPrefillToken: 15e-6, PerSequence: 100e-6, PerContextToken: 1.5e-6}
}

// newScene is an engine and a simulator that agree, but for the terms that no
// simulator has.
func newScene(seed uint64) *scene {
	e := emulated(seed, attentive())
	e.n, e.out = 300, 12
	return &scene{engine: e, rates: []float64{8, 16, 24}, had: Params{FrontEnd: new(2.5e-3)}}
}

// tight makes the KV cache bind: long outputs and few blocks.
func (s *scene) tight(blocks int) {
	s.engine.cfg.KVBlocks, s.engine.cfg.MaxModelLen = blocks, 900
	s.engine.out, s.rates = 40, []float64{8, 12, 15}
}

var faults = []fault{
	{"KV blocks 5 % fewer than simulated", "kv", func(s *scene) {
		s.tight(96)
		s.had.KVBlocks = new(101)
	}},
	{"KV blocks of another utilisation", "kv", func(s *scene) {
		s.tight(96)
		s.had.KVBlocks = new(80)
	}},
	{"prefix cache off in the simulator", "input", func(s *scene) {
		s.engine.cfg.PrefixCache, s.engine.shares = true, true
		s.had.PrefixCache = new(false)
	}},
	{"max_num_seqs", "config", func(s *scene) {
		s.engine.cfg.MaxNumSeqs = 4
		s.had.BatchSizeCap = new(256)
	}},
	{"no look-ahead in the simulator", "scheduler", func(s *scene) {
		s.engine.cfg.Async = true
		s.had.LookAhead = new(false)
	}},
	{"k_mlp 1.15", "kernel", func(s *scene) { s.had.KMLP = new(1 / 1.15) }},
	{"k_attn 1.3", "kernel", func(s *scene) { s.had.KAttn = new(1 / 1.3) }},
	{"front end 10 ms later", "overhead", func(s *scene) { s.engine.cfg.FrontEnd += 10 * time.Millisecond }},
	{"lengths as the client counts them", "input", func(s *scene) {
		s.asked = func(q *trace.Request) { q.Prompt, q.Output = max(1, q.Prompt*4/5), max(1, q.Output*9/10) }
	}},
}

// play measures the engine of a scene and says what the simulator is given.
func (s *scene) play(t *testing.T) (measured, asked []trace.Point) {
	t.Helper()
	measured = s.engine.measure(t, s.rates...)
	asked = clonePoints(measured)
	for i := range asked {
		for j := range asked[i].Runs {
			asked[i].Runs[j].Rows = nil
			for n := range asked[i].Runs[j].Requests {
				if s.asked != nil {
					s.asked(&asked[i].Runs[j].Requests[n])
				}
			}
		}
	}
	return measured, asked
}

// attribute diagnoses a scene with the faults in it.
func attribute(t *testing.T, seed uint64, profiles string, fs ...fault) *DiagnoseResult {
	t.Helper()
	s := newScene(seed)
	for _, f := range fs {
		f.apply(s)
	}
	measured, asked := s.play(t)
	facts := s.engine.facts()
	c := &diagnosis{asked: asked, facts: facts, params: s.had, notes: []string{}}
	c.measured, _ = markOverloaded(measured, unstable)
	var err error
	if c.sim, err = openWhatIf(embedded, profiles, Deployment{}, facts); err != nil {
		t.Fatal(err)
	}
	r, err := (&Diagnose{Seed: 1}).diagnose(context.Background(), scratch(t), c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// One fault at a time is told apart from the others, and a kernel is blamed
// for no fault of another.
func TestAttribution(t *testing.T) {
	profiles := profileOf(t, attentive())
	n := trials(1, 8)
	right, all, explained, surely := 0, 0, 0, 0
	for _, f := range faults {
		for seed := range uint64(n) {
			r := attribute(t, seed, profiles, f)
			all++
			for _, e := range r.Evidence {
				if !(0 <= e.Low && e.Low <= e.Explains && e.Explains <= e.High && e.High <= 1) || e.Enough && e.High == 0 {
					t.Errorf("%s, seed %d: %s explains %.2f, in [%.2f, %.2f]", f.name, seed, e.Hypothesis, e.Explains, e.Low, e.High)
				}
				if e.Cause == f.cause && e.Enough {
					if explained++; e.Low >= 0.5 {
						surely++
					}
				}
			}
			if r.Cause == f.cause {
				right++
			} else {
				t.Logf("%s, seed %d: %s (%s), want %s; ranking %v", f.name, seed, r.Cause, r.Confidence, f.cause, causes(r))
			}
			if r.Kernel && f.cause != "kernel" {
				t.Errorf("%s, seed %d: a kernel is blamed: %s", f.name, seed, r.Confidence)
			}
		}
	}
	t.Logf("%d of %d single faults named right (%.0f %%)", right, all, 100*float64(right)/float64(all))
	// A queue near saturation is one long block: what is said of it is not sure.
	t.Logf("of %d right hypotheses %d explain half of the loss at least, at the level of 95 %%", explained, surely)
	if 2*surely < explained || explained < right {
		t.Errorf("of %d right hypotheses only %d surely explain half of the loss", explained, surely)
	}
	if float64(right) < 0.9*float64(all) {
		t.Errorf("%d of %d single faults named right, want nine in ten", right, all)
	}
}

// Of two faults at once both are among the three likeliest causes.
func TestAttributionOfTwo(t *testing.T) {
	profiles := profileOf(t, attentive())
	n := trials(1, 3)
	right, all, pairs := 0, 0, 0
	for i, a := range faults {
		for _, b := range faults[i+1:] {
			pairs++
			if a.cause == b.cause || n == 1 && pairs%6 > 0 {
				continue
			}
			for seed := range uint64(n) {
				r := attribute(t, seed, profiles, a, b)
				all++
				top := causes(r)[:min(3, len(r.Ranking))]
				if slices.Contains(top, a.cause) && slices.Contains(top, b.cause) {
					right++
					continue
				}
				t.Logf("%s and %s, seed %d: ranking %v (%s)", a.name, b.name, seed, causes(r), r.Confidence)
			}
		}
	}
	t.Logf("%d of %d pairs of faults with both in the top three (%.0f %%)", right, all, 100*float64(right)/float64(all))
	if float64(right) < 0.9*float64(all) {
		t.Errorf("%d of %d pairs of faults have both in the top three, want nine in ten", right, all)
	}
}

func causes(r *DiagnoseResult) []string {
	var names []string
	for _, x := range r.Ranking {
		names = append(names, x.Cause)
	}
	return names
}

// profileOf writes a step time as a profile and yields its folder.
func profileOf(t *testing.T, s profile.StepTime) string {
	t.Helper()
	return writeProfile(t, fmt.Sprintf("{base: %v, per_prefill_token: %v, per_sequence: %v, per_context_token: %v}", s.Base, s.PerPrefillToken, s.PerSequence, s.PerContextToken)).Path
}
