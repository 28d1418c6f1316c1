package fit

import (
	"context"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"calrun/internal/trace"
)

// toy is an engine that can be written down: a step takes
// k·(base + slope·prompt) + overhead, a request waits a front-end delay, and
// the load of a point stretches every step. It has no queue and no noise, so
// that the right answer is known.
type toy struct {
	base, slope, overhead, front, k float64
	blocks                          float64 // above what a point needs it does nothing
}

var truth = toy{base: 8e-3, slope: 15e-6, front: 2e-3, k: 1}

func (t toy) row(due float64, prompt, output int, load float64) trace.Row {
	step := (t.k*t.base + t.overhead) * load
	if t.blocks > 0 && t.blocks < 100 {
		step *= 1 + (100-t.blocks)/100*(load-1)*4
	}
	r := trace.Row{Request: trace.Request{Due: trace.FromSeconds(due), Prompt: prompt, Output: output}, Prompted: prompt, Tokens: output}
	r.Sent = r.Due
	r.First = r.Due + trace.FromSeconds(t.front+step+t.k*t.slope*float64(prompt)*load)
	r.Last = r.First + trace.FromSeconds(step*float64(output-1))
	return r
}

func (t toy) points() []trace.Point {
	var ps []trace.Point
	for _, prompt := range []int{16, 200, 512} {
		ps = append(ps, t.point(fmt.Sprintf("probe-%d-8", prompt), trace.Probe, 1, func(int) int { return prompt }))
	}
	for i, rate := range []float64{1, 2} {
		ps = append(ps, t.point(fmt.Sprintf("rps-%g", rate), trace.Sweep, 1.2+0.4*float64(i), func(n int) int { return 16 + n*37%400 }))
	}
	return ps
}

func (t toy) point(name string, g trace.Group, load float64, prompt func(int) int) trace.Point {
	run := trace.Run{Seed: 1, State: trace.OK}
	for i := range 20 {
		row := t.row(float64(i), prompt(i), 4+i%8, load)
		row.ID = i
		run.Rows, run.Requests = append(run.Rows, row), append(run.Requests, row.Request)
	}
	return trace.Point{Name: name, Group: g, Runs: []trace.Run{run}}
}

// turned is the toy with the named knobs set.
func (t toy) turned(p Params) toy {
	for _, v := range p {
		switch v.Name {
		case "overhead":
			t.overhead = v.Value
		case "front":
			t.front = v.Value
		case "k":
			t.k = v.Value
		case "blocks":
			t.blocks = v.Value
		case "twin":
			t.overhead += v.Value
		}
	}
	return t
}

func simulator(t toy) Simulate {
	return func(_ context.Context, p Params) ([]trace.Point, error) { return t.turned(p).points(), nil }
}

func TestRecoversWhatIsHidden(t *testing.T) {
	wrong := truth
	wrong.base, wrong.front = 5.5e-3, 0
	for _, c := range []struct {
		why    string
		truth  toy
		start  toy
		knobs  []Knob
		want   Params
		within float64 // of the knob's range
	}{
		{
			"a constant a step and a constant a request: the quickstart's fault", truth, wrong,
			[]Knob{{Name: "overhead", Hi: 0.02}, {Name: "front", Hi: 0.01}},
			Params{{"overhead", 2.5e-3}, {"front", 2e-3}},
			0.005,
		},
		{
			"a factor on the kernels, searched by ratio", truth.turned(Params{{"k", 1.15}}), truth,
			[]Knob{{Name: "k", Lo: 0.2, Hi: 5, Start: 1}},
			Params{{"k", 1.15}},
			0.005,
		},
		{
			"factor and overhead together: only prompts of several lengths tell them apart", truth.turned(Params{{"k", 1.2}, {"overhead", 1e-3}}), truth,
			[]Knob{{Name: "k", Lo: 0.2, Hi: 5, Start: 1}, {Name: "overhead", Hi: 0.01}},
			Params{{"k", 1.2}, {"overhead", 1e-3}},
			0.02,
		},
		{
			"a count", truth.turned(Params{{"blocks", 60}}), truth.turned(Params{{"blocks", 90}}),
			[]Knob{{Name: "blocks", Lo: 10, Hi: 400, Start: 90, Integer: true}},
			Params{{"blocks", 60}},
			1e-9,
		},
		{
			"the truth outside the range: as near as the box allows", truth, wrong,
			[]Knob{{Name: "overhead", Hi: 0.001}, {Name: "front", Hi: 0.01}},
			Params{{"overhead", 0.001}},
			1e-9,
		},
	} {
		f, err := Calibrate(context.Background(), Problem{Measured: c.truth.points(), Knobs: c.knobs, Simulate: simulator(c.start)}, Options{Seed: 1})
		if err != nil {
			t.Fatalf("%s: %v", c.why, err)
		}
		for _, w := range c.want {
			i := slices.IndexFunc(c.knobs, func(k Knob) bool { return k.Name == w.Name })
			got, _ := f.Values.Get(w.Name)
			if math.Abs(got-w.Value) > c.within*(c.knobs[i].Hi-c.knobs[i].Lo) {
				t.Errorf("%s: %s = %g, want %g (loss %g after %d simulations)", c.why, w.Name, got, w.Value, f.Loss, f.Evaluations)
			}
		}
		if !f.Improved || f.Loss >= f.StartLoss {
			t.Errorf("%s: improved %v, loss %g from %g", c.why, f.Improved, f.Loss, f.StartLoss)
		}
		t.Logf("%s: %v, loss %.3g → %.3g, %d simulations, condition %.3g", c.why, f.Values, f.StartLoss, f.Loss, f.Evaluations, f.Condition)
	}
}

func TestNeverWorseThanItsStart(t *testing.T) {
	for _, c := range []struct {
		why   string
		knobs []Knob
	}{
		{"the start is the truth", []Knob{{Name: "overhead", Hi: 0.02}, {Name: "front", Hi: 0.01, Start: 2e-3}}},
		{"the range holds only worse places", []Knob{{Name: "overhead", Lo: 0.01, Hi: 0.02, Start: 0}}},
		{"the knob does nothing", []Knob{{Name: "nothing", Hi: 1, Start: 0.3}}},
	} {
		f, err := Calibrate(context.Background(), Problem{Measured: truth.points(), Knobs: c.knobs, Simulate: simulator(truth)}, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if f.Improved || f.Loss != f.StartLoss || !reflect.DeepEqual(f.Values, f.Start) {
			t.Errorf("%s: values %v from %v, loss %g from %g, improved %v", c.why, f.Values, f.Start, f.Loss, f.StartLoss, f.Improved)
		}
	}
}

func TestSameSeedSameFit(t *testing.T) {
	p := Problem{Measured: truth.points(), Knobs: []Knob{{Name: "overhead", Hi: 0.02}, {Name: "k", Lo: 0.2, Hi: 5, Start: 1}}, Simulate: simulator(truth.turned(Params{{"front", 0}}))}
	a, err := Calibrate(context.Background(), p, Options{Seed: 7})
	if err != nil {
		t.Fatal(err)
	}
	b, err := Calibrate(context.Background(), p, Options{Seed: 7})
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(a, b) {
		t.Errorf("two fits with one seed differ: %v and %v", a.Values, b.Values)
	}
}

func TestKnobsThatTheDataDoNotNeed(t *testing.T) {
	wrong := truth
	wrong.base = 5.5e-3
	knobs := []Knob{{Name: "blocks", Lo: 200, Hi: 400, Start: 300, Integer: true}, {Name: "overhead", Hi: 0.02}}
	f, err := Calibrate(context.Background(), Problem{Measured: truth.points(), Knobs: knobs, Simulate: simulator(wrong)}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if k := f.Knobs[0]; !k.Idle || k.Value != 300 {
		t.Errorf("blocks bind nowhere, yet the fit says %+v; it must stay at 300 and be named", k)
	}
	if k := f.Knobs[1]; k.Idle || math.Abs(k.Value-2.5e-3) > 1e-4 {
		t.Errorf("overhead: %+v, want 2.5 ms", k)
	}
}

func TestConfoundedKnobsAreNamed(t *testing.T) {
	wrong := truth
	wrong.base = 5.5e-3
	twin := func(_ context.Context, p Params) ([]trace.Point, error) {
		x := wrong.turned(p)
		a, _ := p.Get("overhead")
		b, _ := p.Get("twin")
		x.overhead = a + b*1.0001
		return x.points(), nil
	}
	// Both are needed for the fit only because neither range reaches alone.
	knobs := []Knob{{Name: "overhead", Hi: 0.0018}, {Name: "twin", Hi: 0.0018}}
	f, err := Calibrate(context.Background(), Problem{Measured: truth.points(), Knobs: knobs, Simulate: twin}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if f.Condition < 100 || f.Confounded != [2]string{"overhead", "twin"} {
		t.Errorf("condition %g, confounded %v; two knobs that do the same must be named", f.Condition, f.Confounded)
	}
}

func TestBudgetIsKept(t *testing.T) {
	for _, budget := range []int{1, 2, 5, 17} {
		n := 0
		sim := func(_ context.Context, p Params) ([]trace.Point, error) {
			n++
			return truth.turned(p).points(), nil
		}
		knobs := []Knob{{Name: "overhead", Hi: 0.02, Start: 0.01}, {Name: "front", Hi: 0.01}}
		f, err := Calibrate(context.Background(), Problem{Measured: truth.points(), Knobs: knobs, Simulate: sim}, Options{Budget: budget})
		if err != nil {
			t.Fatal(err)
		}
		// Putting knobs back costs a simulation a knob, the intervals one; the
		// surface is centred at most three times.
		if n != f.Evaluations || n > budget+len(knobs)+1+3*(7+8*len(knobs)) || !f.Exhausted {
			t.Errorf("budget %d: %d simulations, reported %d, exhausted %v", budget, n, f.Evaluations, f.Exhausted)
		}
	}
}

func TestErrorsSayWhere(t *testing.T) {
	broken := func(context.Context, Params) ([]trace.Point, error) { return nil, errors.New("the simulator died") }
	cancelled, cancel := context.WithCancel(context.Background())
	cancel()
	failed := truth.points()
	for i := range failed {
		for r := range failed[i].Runs[0].Rows {
			failed[i].Runs[0].Rows[r].Error = "HTTP 503"
		}
	}
	one := []Knob{{Name: "k", Lo: 0.5, Hi: 2, Start: 1}}
	for _, c := range []struct {
		why  string
		ctx  context.Context
		p    Problem
		want string
	}{
		{"no points", context.Background(), Problem{Measured: nil, Knobs: one, Simulate: simulator(truth)}, "no measured point"},
		{"no knobs", context.Background(), Problem{Measured: truth.points(), Knobs: nil, Simulate: simulator(truth)}, "no knob"},
		{"bounds the wrong way round", context.Background(), Problem{Measured: truth.points(), Knobs: []Knob{{Name: "k", Lo: 2, Hi: 1}}, Simulate: simulator(truth)}, "[2, 1]"},
		{"no whole number inside", context.Background(), Problem{Measured: truth.points(), Knobs: []Knob{{Name: "k", Lo: 1.2, Hi: 1.8, Integer: true}}, Simulate: simulator(truth)}, "whole number"},
		{"a knob twice", context.Background(), Problem{Measured: truth.points(), Knobs: slices.Concat(one, one), Simulate: simulator(truth)}, "twice"},
		{"the simulator fails", context.Background(), Problem{Measured: truth.points(), Knobs: one, Simulate: broken}, "k=1: the simulator died"},
		{"stopped", cancelled, Problem{Measured: truth.points(), Knobs: one, Simulate: simulator(truth)}, "context canceled"},
		{"every request failed", context.Background(), Problem{Measured: failed, Knobs: one, Simulate: simulator(truth)}, "no request completed"},
	} {
		_, err := Calibrate(c.ctx, c.p, Options{})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one that says %q", c.why, err, c.want)
		}
	}
}

func TestRefusedValuesAreNoEnd(t *testing.T) {
	sim := func(_ context.Context, p Params) ([]trace.Point, error) {
		if v, _ := p.Get("overhead"); v > 4e-3 {
			return nil, errors.New("too slow to be true")
		}
		return truth.turned(p).points(), nil
	}
	want := truth.turned(Params{{"overhead", 3e-3}}).points()
	f, err := Calibrate(context.Background(), Problem{Measured: want, Knobs: []Knob{{Name: "overhead", Hi: 0.02}}, Simulate: sim}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if v := f.Values[0].Value; math.Abs(v-3e-3) > 1e-5 || f.Refused == 0 || !strings.Contains(f.Refusal, "too slow to be true") {
		t.Errorf("overhead %g, want 3 ms; %d refused: %s", v, f.Refused, f.Refusal)
	}
}

func TestCompare(t *testing.T) {
	m, s := truth.points(), truth.points()
	m[3].Runs[0].Rows[0].Error = "HTTP 503"
	m[3].Runs[0].Rows[0].First = time.Hour // must not count: it failed
	rs, err := Compare(m, s, 1)
	if err != nil {
		t.Fatal(err)
	}
	if got := Loss(rs); got != 0 {
		t.Errorf("a perfect simulator has loss %g", got)
	}
	if len(rs) != 5*3*2 {
		t.Errorf("%d residuals, want 5 points × 3 metrics × 2 statistics", len(rs))
	}
	total := 0.0
	for _, r := range rs {
		total += r.Weight
	}
	if math.Abs(total-3) > 1e-12 {
		t.Errorf("weights sum to %g, want 3: the probes as one, and two rates", total)
	}
	s[3].Runs[0].Rows[5].Error = "did not finish"
	rs, err = Compare(m[3:4], s, 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rs {
		if r.Log != worst || r.Simulated != 0 {
			t.Errorf("5 %% of the requests left unfinished: %+v", r)
		}
	}
	m[4].Runs[0].State = trace.Overloaded
	rs, err = Compare(m[4:], truth.points(), 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rs {
		if r.Metric != "tpot" {
			t.Errorf("an overloaded rate was compared by %s", r.Metric)
		}
	}
	m[4].Runs[0].State = trace.Skipped
	if rs, err = Compare(m[4:], truth.points(), 1); err != nil || len(rs) != 0 {
		t.Errorf("rows of a skipped run were used: %v, %v", rs, err)
	}
	if _, err = Compare(m, s[:2], 1); err == nil || !strings.Contains(err.Error(), "probe-512-8") {
		t.Errorf("a point that was not simulated: %v", err)
	}
}

func TestAttribute(t *testing.T) {
	for _, c := range []struct {
		why   string
		truth toy
		first string // the hypothesis that leaves nothing
	}{
		{"constants missing", truth.turned(Params{{"overhead", 2e-3}, {"front", 4e-3}}), "overhead"},
		{"kernels slow", truth.turned(Params{{"k", 1.3}}), "kernel"},
		{"blocks differ", truth.turned(Params{{"blocks", 50}}), "kv"},
	} {
		sim := simulator(truth)
		on := &Problem{Measured: c.truth.points()[:3], Simulate: sim}
		as, err := Attribute(context.Background(), Case{Measured: c.truth.points(), Simulate: sim}, []Hypothesis{
			{Name: "kv", Set: Params{{"blocks", 50}}},
			{Name: "overhead", Knobs: []Knob{{Name: "overhead", Hi: 0.02}, {Name: "front", Hi: 0.02, Start: 2e-3}}, On: on},
			{Name: "kernel", Knobs: []Knob{{Name: "k", Lo: 0.25, Hi: 4, Start: 1}}, On: on},
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range as {
			t.Logf("%s: %s explains %.3f (%.3g → %.3g) with %v", c.why, a.Name, a.Explains, a.Before, a.After, a.Values)
			// A share alone tells little: a constant mimics a factor to
			// within 2 %, which is 99 % of the loss. What is left tells more.
			if (a.Name == c.first) != (a.After < 1e-6) {
				t.Errorf("%s: %s leaves a loss of %g", c.why, a.Name, a.After)
			}
		}
	}
}

// Two ends of a search that fit as well are two answers, and both are told. A
// response that is alike on either side of a ridge has two.
func TestEquifinalStartsAreTold(t *testing.T) {
	ridge := func(_ context.Context, p Params) ([]trace.Point, error) {
		x := p[0].Value
		return truth.turned(Params{{"overhead", 4e-3 * (x - 0.5) * (x - 0.5) * 4}}).points(), nil
	}
	measured := truth.turned(Params{{"overhead", 1e-3}}).points() // x is 0.25 or 0.75
	f, err := Calibrate(context.Background(), Problem{
		Measured: measured, Simulate: ridge, Knobs: []Knob{{Name: "x", Hi: 1, Start: 0.5}},
	}, Options{Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	ends := []float64{f.Values[0].Value}
	for _, e := range f.Equifinal {
		ends = append(ends, e[0].Value)
	}
	if len(ends) < 2 || math.Abs(slices.Min(ends)-0.25) > 0.01 || math.Abs(slices.Max(ends)-0.75) > 0.01 {
		t.Errorf("ends at %v, want 0.25 and 0.75", ends)
	}
	for _, e := range f.Equifinal {
		if math.Abs(e[0].Value-f.Values[0].Value) < distant {
			t.Errorf("%v is the same answer as %v", e, f.Values)
		}
	}
	one, err := Calibrate(context.Background(), Problem{
		Measured: measured, Simulate: simulator(truth), Knobs: []Knob{{Name: "overhead", Hi: 0.02}},
	}, Options{Seed: 1})
	if err != nil || len(one.Equifinal) > 0 {
		t.Errorf("one answer, and others are told: %v, %v", one.Equifinal, err)
	}
}
