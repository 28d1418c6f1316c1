package fit

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"calrun/internal/trace"
)

// noisy stretches every request of the toy's points by a random factor.
func noisy(points []trace.Point, by float64, seed uint64) []trace.Point {
	rng := rand.New(rand.NewPCG(seed, 3))
	for i := range points {
		for j := range points[i].Runs {
			rows := points[i].Runs[j].Rows
			for n := range rows {
				f := 1 + by*rng.NormFloat64()
				rows[n].First = rows[n].Due + time.Duration(f*float64(rows[n].First-rows[n].Due))
				rows[n].Last = rows[n].Due + time.Duration(f*float64(rows[n].Last-rows[n].Due))
			}
		}
	}
	return points
}

func TestIntervalsHoldTheTruth(t *testing.T) {
	wrong := truth
	wrong.base, wrong.front = 5.5e-3, 0
	knobs := []Knob{{Name: "overhead", Hi: 0.02}, {Name: "front", Hi: 0.01}}
	want := Params{{"overhead", 2.5e-3}, {"front", 2e-3}}
	inside, all := 0, 0
	for seed := range uint64(40) {
		f, err := Calibrate(context.Background(), Problem{Measured: noisy(truth.points(), 0.03, seed), Knobs: knobs, Simulate: simulator(wrong)}, Options{Seed: 1})
		if err != nil {
			t.Fatal(err)
		}
		for i, k := range f.Knobs {
			all++
			if k.Interval == nil {
				t.Fatalf("seed %d: %s has no interval", seed, k.Name)
			}
			if k.Interval.Low <= want[i].Value && want[i].Value <= k.Interval.High {
				inside++
			}
			if k.Interval.Low > k.Value || k.Value > k.Interval.High {
				t.Errorf("seed %d: %s is %g, outside of its own interval %v", seed, k.Name, k.Value, *k.Interval)
			}
		}
	}
	t.Logf("%d of %d values inside their interval", inside, all)
	if inside < all*9/10 {
		t.Errorf("%d of %d values inside their interval of 95 %%", inside, all)
	}
}

// More requests make narrower intervals.
func TestIntervalsNarrowWithTheRun(t *testing.T) {
	width := func(repeat int) float64 {
		points := truth.points()
		for i := range points {
			for range repeat - 1 {
				more := truth.points()[i].Runs[0]
				points[i].Runs[0].Rows = append(points[i].Runs[0].Rows, more.Rows...)
				points[i].Runs[0].Requests = append(points[i].Runs[0].Requests, more.Requests...)
			}
		}
		clean := points
		sim := func(_ context.Context, p Params) ([]trace.Point, error) {
			out := truth.turned(p).points()
			for i := range out {
				for range repeat - 1 {
					out[i].Runs[0].Rows = append(out[i].Runs[0].Rows, truth.turned(p).points()[i].Runs[0].Rows...)
				}
			}
			return out, nil
		}
		f, err := Calibrate(context.Background(), Problem{Measured: noisy(clean, 0.05, 1), Knobs: []Knob{{Name: "k", Lo: 0.5, Hi: 2, Start: 1.3}}, Simulate: sim}, Options{})
		if err != nil {
			t.Fatal(err)
		}
		return f.Knobs[0].Interval.High - f.Knobs[0].Interval.Low
	}
	if few, many := width(1), width(16); many > few/2 {
		t.Errorf("sixteen times the requests narrow the interval from %g to %g, want about a quarter", few, many)
	}
}

// Points that only a compromise could serve: one is right at the start, and
// must stay so.
func TestWhatHeldIsNotBroken(t *testing.T) {
	measured := truth.turned(Params{{"k", 1.3}}).points()
	kept := slices.IndexFunc(measured, func(p trace.Point) bool { return p.Name == "rps-1" })
	measured[kept] = truth.points()[kept] // k = 1 is right here, 1.3 everywhere else
	p := Problem{Measured: measured, Knobs: []Knob{{Name: "k", Lo: 0.5, Hi: 2, Start: 1}}, Simulate: simulator(truth), Tolerance: 0.05}
	f, err := Calibrate(context.Background(), p, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range f.Residuals {
		if before := f.Before[i]; math.Abs(before.Log) <= p.Tolerance && math.Abs(r.Log) > p.Tolerance {
			t.Errorf("%s %s of %s was off by %.3f and is by %.3f", r.Metric, r.Statistic, r.Point, before.Log, r.Log)
		}
	}
	if !strings.HasSuffix(f.Withheld, "of rps-1") || !f.Improved {
		t.Errorf("improved %v, withheld for %q; up to 5 %% was to be gained, and more was withheld for rps-1", f.Improved, f.Withheld)
	}
	p.Tolerance = 0
	if f, err = Calibrate(context.Background(), p, Options{}); err != nil || f.Values[0].Value < 1.1 || f.Withheld != "" {
		t.Errorf("without a tolerance k is %v, withheld %q, %v; the many should win", f.Values, f.Withheld, err)
	}
}

// Two knobs that do the same: the prior keeps the one nearer that is believed
// to stay, and does not move what the points decide.
func TestPriorDecidesWhereThePointsDoNot(t *testing.T) {
	want := truth.turned(Params{{"overhead", 2e-3}}).points()
	knobs := []Knob{{Name: "overhead", Hi: 0.01, Spread: 0.01}, {Name: "twin", Hi: 0.01, Spread: 1e-4}}
	f, err := Calibrate(context.Background(), Problem{Measured: want, Knobs: knobs, Simulate: simulator(truth)}, Options{Budget: 400})
	if err != nil {
		t.Fatal(err)
	}
	if a, b := f.Values[0].Value, f.Values[1].Value; math.Abs(a+b-2e-3) > 1e-4 || b > 5e-4 {
		t.Errorf("overhead %g and twin %g; their sum is 2 ms, and the twin is believed to be 0.1 ms at most", a, b)
	}
}

func TestAdviceNamesWhatTellsKnobsApart(t *testing.T) {
	wrong := truth.turned(Params{{"front", 1e-3}})
	// On one prompt length a factor and a constant do the same.
	one := func(t toy, prompt int) []trace.Point {
		return []trace.Point{t.point("rps-1", trace.Sweep, 1.2, func(int) int { return prompt })}
	}
	p := Problem{
		Measured: noisy(one(truth.turned(Params{{"k", 1.2}, {"overhead", 1e-3}}), 200), 0.02, 1),
		Knobs:    []Knob{{Name: "k", Lo: 0.5, Hi: 2, Start: 1}, {Name: "overhead", Hi: 0.01}, {Name: "front", Hi: 0.01, Start: 1e-3}},
		Simulate: func(_ context.Context, v Params) ([]trace.Point, error) { return one(wrong.turned(v), 200), nil },
	}
	f, err := Calibrate(context.Background(), p, Options{})
	if err != nil {
		t.Fatal(err)
	}
	ask := func(name string, prompt int) Experiment {
		return Experiment{Name: name, Simulate: func(_ context.Context, v Params) ([]trace.Point, error) { return one(wrong.turned(v), prompt), nil }}
	}
	as, err := Advise(context.Background(), p, f, []Experiment{ask("the same again", 200), ask("long prompts", 2000)})
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(as, func(a Advice) bool { return a.Knob == "k" })
	if i < 0 || as[i].Experiment != "long prompts" || as[i].From == "" {
		t.Errorf("advice %+v for %+v; only long prompts tell the factor from the constants", as, f.Knobs)
	}
}
