package workload

import (
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"calrun/internal/shared"
	"calrun/internal/trace"
)

func drawn(rps ...float64) *Spec {
	return &Spec{Seed: 1, Sweep: &Sweep{
		Arrivals: Poisson, RPS: rps, Requests: 400, Seeds: 2,
		Draw: &Distribution{Prompt: Range{Min: 16, Max: 512, Median: 200}, Output: Range{Min: 4, Max: 12}},
	}}
}

func build(t testing.TB, s *Spec, src Sources) ([]trace.Point, Counts) {
	t.Helper()
	points, counts, err := Build(s, src)
	if err != nil {
		t.Fatal(err)
	}
	return points, counts
}

// All rates of a seed are one experiment: same requests, same gaps over rate.
func TestRatesShareTheirDraws(t *testing.T) {
	points, _ := build(t, drawn(4, 2), Sources{})
	if points[0].Name != "rps-2" || points[1].Name != "rps-4" {
		t.Fatalf("points %s, %s: rates ascend", points[0].Name, points[1].Name)
	}
	for k := range points[0].Runs {
		slow, fast := points[0].Runs[k].Requests, points[1].Runs[k].Requests
		for i := range slow {
			if slow[i].Prompt != fast[i].Prompt || slow[i].Output != fast[i].Output {
				t.Fatalf("seed %d request %d: %+v and %+v", k+1, i, slow[i], fast[i])
			}
			if d := slow[i].Due - 2*fast[i].Due; d < -2 || d > 2 {
				t.Fatalf("seed %d request %d: due %v and %v", k+1, i, slow[i].Due, fast[i].Due)
			}
		}
	}
	if reflect.DeepEqual(points[0].Runs[0].Requests, points[0].Runs[1].Requests) {
		t.Error("two seeds are one draw")
	}
	again, _ := build(t, drawn(4, 2), Sources{})
	if !reflect.DeepEqual(points, again) {
		t.Error("the same spec gave other requests")
	}
}

// A seed's draws do not depend on how many seeds or rates there are: what was
// measured stays usable when a plan asks for more.
func TestMoreSeedsKeepTheFirst(t *testing.T) {
	few, _ := build(t, drawn(2), Sources{})
	s := drawn(1, 2)
	s.Sweep.Seeds = 3
	more, _ := build(t, s, Sources{})
	if !reflect.DeepEqual(few[0].Runs, more[1].Runs[:2]) {
		t.Error("seeds 1 and 2 changed")
	}
}

func TestArrivalsArePoisson(t *testing.T) {
	s := drawn(1)
	s.Sweep.Requests, s.Sweep.Seeds = 20000, 1
	points, _ := build(t, s, Sources{})
	reqs := points[0].Runs[0].Requests
	var sum, squares float64
	last := time.Duration(0)
	prompts := make([]int, len(reqs))
	for i, r := range reqs {
		g := (r.Due - last).Seconds()
		sum, squares, last = sum+g, squares+g*g, r.Due
		prompts[i] = r.Prompt
	}
	n := float64(len(reqs))
	mean := sum / n
	if cv2 := squares/n/mean/mean - 1; math.Abs(mean-1) > 0.03 || math.Abs(cv2-1) > 0.06 {
		t.Errorf("gaps have mean %.3f and squared variation %.3f, both should be 1", mean, cv2)
	}
	slices.Sort(prompts)
	if m := prompts[len(prompts)/2]; m < 190 || m > 210 {
		t.Errorf("median prompt %d, asked for 200", m)
	}
	if prompts[0] < 16 || prompts[len(prompts)-1] > 512 {
		t.Errorf("prompts from %d to %d, asked for 16 to 512", prompts[0], prompts[len(prompts)-1])
	}
}

func TestMaxTotal(t *testing.T) {
	from := []trace.Request{{Prompt: 10, Output: 10}, {Prompt: 300, Output: 100, Due: time.Second}, {Prompt: 5, Output: 1000, Due: 2 * time.Second}}
	spec := func(over Over) *Spec {
		return &Spec{MaxTotal: 100, Over: over, Replay: &Replay{Repeats: 1}}
	}
	points, counts := build(t, spec(Clip), Sources{Trace: from})
	if counts != (Counts{Requests: 3, Clipped: 2}) {
		t.Errorf("clip: %+v", counts)
	}
	if got := points[0].Runs[0].Requests[1]; got.Prompt != 75 || got.Output != 25 {
		t.Errorf("clipped to %d + %d, want 75 + 25: in proportion", got.Prompt, got.Output)
	}
	points, counts = build(t, spec(Drop), Sources{Trace: from})
	if counts != (Counts{Requests: 3, Dropped: 2}) || len(points[0].Runs[0].Requests) != 1 {
		t.Errorf("drop: %+v", counts)
	}
	_, _, err := Build(spec(Refuse), Sources{Trace: from})
	if err == nil || !strings.Contains(err.Error(), "300 + 100 tokens, max_total is 100") {
		t.Errorf("refuse: %v", err)
	}
}

func TestLimitsHold(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		most := rapid.IntRange(2, 300).Draw(t, "max_total")
		n := rapid.IntRange(1, 30).Draw(t, "n")
		from := make([]trace.Request, n)
		for i := range from {
			from[i] = trace.Request{
				Due:    time.Duration(rapid.IntRange(0, 1e9).Draw(t, "due")),
				Prompt: rapid.IntRange(0, 1000).Draw(t, "prompt"), Output: rapid.IntRange(0, 1000).Draw(t, "output"),
			}
		}
		s := &Spec{MaxTotal: most, Over: Clip, Replay: &Replay{Repeats: 1, Scale: Scale{Prompt: 0.5}}}
		points, counts, err := Build(s, Sources{Trace: from})
		if err != nil {
			t.Fatal(err)
		}
		reqs := points[0].Runs[0].Requests
		if len(reqs) != n || counts.Requests != n {
			t.Fatalf("%d of %d requests left", len(reqs), n)
		}
		for i, r := range reqs {
			if r.ID != i || r.Prompt < 1 || r.Output < 1 || r.Prompt+r.Output > most || (i > 0 && r.Due < reqs[i-1].Due) {
				t.Fatalf("request %d: %+v above %d", i, r, most)
			}
		}
	})
}

func TestReplayOfARealTrace(t *testing.T) {
	conv, err := trace.ReadCSV(shared.Path(t, "traces/splitwise_conv.csv"))
	if err != nil {
		t.Fatal(err)
	}
	s := &Spec{Seed: 1, MaxTotal: 4224, Over: Clip, Replay: &Replay{Window: 10 * time.Minute, Repeats: 3}}
	points, counts := build(t, s, Sources{Trace: conv})
	reqs := points[0].Runs[2].Requests
	if len(points[0].Runs) != 3 || counts.Requests != len(reqs) || reqs[len(reqs)-1].Due >= 10*time.Minute {
		t.Errorf("%d runs, %+v, last due %v", len(points[0].Runs), counts, reqs[len(reqs)-1].Due)
	}
	s.Replay.Scale = Scale{Time: 2, Prompt: 0.1, Output: 0.1}
	slow, _ := build(t, s, Sources{Trace: conv})
	if got, want := slow[0].Rate, points[0].Rate/2; math.Abs(got/want-1) > 0.1 {
		t.Errorf("twice the time, rate %v, want about %v", got, want)
	}
}

func TestCheck(t *testing.T) {
	for _, c := range []struct {
		name  string
		spec  *Spec
		field string
		want  string
	}{
		{"nothing asked", &Spec{}, "", "asks for nothing"},
		{"probe above the limit", &Spec{MaxTotal: 100, Probes: &Probes{Lengths: [][]int{{50, 10}, {90, 20}}, Requests: 1}}, "probes.lengths[1]", "90 + 20 tokens are above max_total 100"},
		{"no pair", &Spec{Probes: &Probes{Lengths: [][]int{{50}}, Requests: 1}}, "probes.lengths[0]", "not a pair"},
		{"probe twice", &Spec{Probes: &Probes{Lengths: [][]int{{5, 6}, {5, 6}}}}, "probes.lengths[1]", "listed twice"},
		{"rate twice", drawn(1, 1.0), "sweep.rps[1]", "listed twice"},
		{"rate of zero", drawn(0), "sweep.rps[0]", "not a rate"},
		{"rate that is no number", drawn(math.NaN()), "sweep.rps[0]", "not a rate"},
		{"unknown arrivals", &Spec{Sweep: &Sweep{Arrivals: "gamma", RPS: []float64{1}}}, "sweep.arrivals", `"gamma"`},
		{"empty range", &Spec{Sweep: &Sweep{Arrivals: Poisson, RPS: []float64{1}, Draw: &Distribution{Prompt: Range{Min: 9, Max: 3}, Output: Range{Min: 1, Max: 1}}}}, "sweep.distribution", "below"},
		{"no repeats", &Spec{Replay: &Replay{}}, "replay.repeats", "at least 1"},
	} {
		found := false
		for _, p := range c.spec.Check() {
			found = found || p.Field == c.field && strings.Contains(p.Message, c.want)
		}
		if !found {
			t.Errorf("%s: %+v, want %q at %q", c.name, c.spec.Check(), c.want, c.field)
		}
	}
}

func TestNamesAndEstimate(t *testing.T) {
	s := &Spec{
		Probes: &Probes{Lengths: [][]int{{512, 128}}, Requests: 2},
		Sweep:  &Sweep{Arrivals: Poisson, RPS: []float64{2, 0.5, 1}, Requests: 600, Seeds: 5},
		Replay: &Replay{Window: 10 * time.Minute, Repeats: 3},
	}
	want := []string{"probe-512-128", "rps-0.5", "rps-1", "rps-2", "replay"}
	if got := s.Names(); !slices.Equal(got, want) {
		t.Errorf("names %v, want %v", got, want)
	}
	d, ok := s.Estimate()
	// 5 seeds of 600 requests at 0.5, 1 and 2 per second, 3 × 10 minutes, 2 × 128 tokens.
	if want := (6000+3000+1500+1800)*time.Second + 256*probeToken; !ok || d != want {
		t.Errorf("estimate %v %v, want %v", d, ok, want)
	}
	s.Replay.Window = 0
	if _, ok := s.Estimate(); ok {
		t.Error("the length of a whole trace is not known from the spec")
	}
}

func TestFactsComeBack(t *testing.T) {
	dir := t.TempDir()
	want := Facts{Plan: "p", Seed: 3, MaxTotal: 10, Over: Clip, Counts: Counts{Requests: 2, Clipped: 1}, Ended: "2026-01-02T03:04:05Z", Join: &Join{Spread: 0.5}}
	if err := WriteFacts(dir, want); err != nil {
		t.Fatal(err)
	}
	got, err := ReadFacts(dir)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v %v", got, err)
	}
}
