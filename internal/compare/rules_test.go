package compare

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"calrun/internal/trace"
)

func TestHeldOut(t *testing.T) {
	w := world{rates: []float64{1, 2, 3}, seeds: 2, n: 100, factor: 1.2, jitter: 0.05, probes: true}
	free := compared(t, w, Options{})
	c := compared(t, w, Options{FittedOn: []string{"probes", "rps-2"}})
	for _, cell := range c.Result.Cells {
		if cell.Point == "rps-2" {
			t.Fatal("a fitted point is among the held-out cells")
		}
	}
	want := (*free.Result.Points["rps-1"].TTFT.P50.APE + *free.Result.Points["rps-3"].TTFT.P50.APE) / 2
	if got := *c.Result.TTFT.P50.MAPE; math.Abs(got-want) > 1e-12 {
		t.Errorf("ttft.p50.mape is %v, want %v, the mean of what was held out", got, want)
	}
	if got, want := *c.Result.Fitted.TTFT.P50.MAPE, *free.Result.Points["rps-2"].TTFT.P50.APE; got != want {
		t.Errorf("fitted.ttft.p50.mape is %v, want %v", got, want)
	}
	if c.Result.Points["rps-2"].TTFT.P50.APE != nil || c.Result.Fitted.Points["rps-2"].TTFT.P50.APE == nil {
		t.Error("the numbers of a fitted point belong under fitted.points alone")
	}
	if c.Result.Probes.TTFT.P50.MAPE != nil || c.Draws.Doubts["/probes/ttft/p50"] != "nothing held out" {
		t.Errorf("all probes were fitted on, yet probes says %v (%q)", show(c.Result.Probes.TTFT.P50.MAPE), c.Draws.Doubts["/probes/ttft/p50"])
	}
	if !strings.Contains(c.Draws.Doubts["/knee"], "rps-2, which was fitted on") {
		t.Errorf("the knee uses every rate, one was fitted on: doubt %q", c.Draws.Doubts["/knee"])
	}
	all := compared(t, w, Options{FittedOn: []string{"rps-1", "rps-2", "rps-3"}})
	if all.Result.TTFT.P50.MAPE != nil || all.Draws.Doubts["/ttft/p50"] != "nothing held out" {
		t.Errorf("everything was fitted on, yet ttft.p50.mape is %v (%q)", show(all.Result.TTFT.P50.MAPE), all.Draws.Doubts["/ttft/p50"])
	}
}

func TestDoubts(t *testing.T) {
	calm := world{rates: []float64{1, 2}, seeds: 1, n: 100, jitter: 0.05}
	for _, c := range []struct {
		why     string
		w       world
		pointer string
		want    string // "" is judged
	}{
		{"one seed judges its median", calm, "/ttft/p50", ""},
		{"one seed does not judge tails", calm, "/ttft/p99", "one seed: tails not judged"},
		{"nor the knee, which reads tails", calm, "/knee", "add rates above 2"},
		{"a short run has too few blocks", world{rates: []float64{1, 2}, seeds: 1, n: 20, jitter: 0.05}, "/ttft/p50", "independent blocks, 30 are needed"},
		{"several seeds judge P90", world{rates: []float64{1, 2}, seeds: 3, n: 60, jitter: 0.05}, "/ttft/p90", ""},
		{"but P99 needs 299 requests", world{rates: []float64{1, 2}, seeds: 3, n: 60, jitter: 0.05}, "/ttft/p99", "n too small: p99 needs 299 requests, there are 180"},
		{"one rate is no sweep", world{rates: []float64{1}, seeds: 3, n: 60, jitter: 0.05}, "/ttft", "fewer than two stable points"},
		{"three repeats judge tails", world{rates: []float64{1}, seeds: 1, n: 300, jitter: 0.05, repeats: 3}, "/replay/ttft/p99", ""},
		{"two repeats do not", world{rates: []float64{1}, seeds: 1, n: 300, jitter: 0.05, repeats: 2}, "/replay/ttft/p99", "2 repeats, 3 are needed"},
		{"ten probes judge a median", world{rates: []float64{1}, seeds: 1, n: 60, probes: true}, "/probes/ttft/p50", ""},
		{"ten probes have no P90", world{rates: []float64{1}, seeds: 1, n: 60, probes: true}, "/probes/ttft/p90", "n too small: p90 needs 29 requests, there are 10"},
		{"a congested engine needs more than one seed", world{rates: []float64{1, 6, 12}, seeds: 1, n: 600, jitter: 0.05}, "/points/rps-6/e2e/mean", "one seed at ρ"},
	} {
		got := compared(t, c.w, Options{Draws: 20}).Draws.Doubts[c.pointer]
		if c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("%s: doubt about %s is %q, want %q", c.why, c.pointer, got, c.want)
		}
	}
}

func TestPairing(t *testing.T) {
	w := world{rates: []float64{1}, seeds: 2, n: 30}
	for _, c := range []struct {
		why    string
		change func(m, s []trace.Point) (a, b []trace.Point)
		want   string
	}{
		{"a point is missing", func(m, s []trace.Point) ([]trace.Point, []trace.Point) { return m, nil }, "the simulation does not"},
		{"a point too many", func(m, s []trace.Point) ([]trace.Point, []trace.Point) { return nil, s }, "the measurement does not"},
		{"a seed is missing", func(m, s []trace.Point) ([]trace.Point, []trace.Point) { s[0].Runs = s[0].Runs[:1]; return m, s }, "2 measured and 1 simulated runs"},
		{"another seed", func(m, s []trace.Point) ([]trace.Point, []trace.Point) { s[0].Runs[1].Seed = 9; return m, s }, "seed 2 was measured but not simulated"},
		{"another trace", func(m, s []trace.Point) ([]trace.Point, []trace.Point) {
			s[0].Runs[0].Requests = s[0].Runs[0].Requests[:20]
			return m, s
		}, "30 requests measured, 20 simulated"},
		{"rows out of order", func(m, s []trace.Point) ([]trace.Point, []trace.Point) {
			slices.Reverse(s[0].Runs[0].Rows)
			return m, s
		}, "row 0 is request 0 in the measurement and 29 in the simulation"},
		{"rows dropped", func(m, s []trace.Point) ([]trace.Point, []trace.Point) {
			m[0].Runs[0].Rows = m[0].Runs[0].Rows[:29]
			return m, s
		}, "29 rows for 30 requests in the measurement"},
	} {
		m, s := w.sides()
		m, s = c.change(m, s)
		_, err := Compare(m, s, Options{Draws: 10})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want it to say %q", c.why, err, c.want)
		}
	}
	if _, err := Compare(nil, nil, Options{Scope: "some"}); err == nil {
		t.Error("an unknown scope must be refused")
	}
}

func TestInputs(t *testing.T) {
	w := world{rates: []float64{1}, seeds: 1, n: 30}
	m, s := w.sides()
	s[0].Runs[0].Rows[3].Prompted++
	s[0].Runs[0].Rows[4].Tokens--
	s[0].Runs[0].Requests = slices.Clone(s[0].Runs[0].Requests)
	s[0].Runs[0].Requests[5].Due += time.Millisecond
	m[0].Runs[0].Rows[6].Cached = m[0].Runs[0].Rows[6].Prompted
	c, err := Compare(m, s, Options{Draws: 10})
	if err != nil {
		t.Fatal(err)
	}
	in := c.Result.Inputs
	if in.Same || in.Prompt != 1 || in.Output != 1 || in.Due != 1 || in.Checked != 30 || !(in.Cached > 0) {
		t.Errorf("three requests differ, one was cached: %+v", in)
	}
}

// What the engine failed is counted and left out; what the simulator did not
// finish is its error and stays in.
func TestFailures(t *testing.T) {
	w := world{rates: []float64{1, 2}, seeds: 1, n: 200}
	m, s := w.sides()
	fail(m[0].Runs[0].Rows[10:11], 500)
	fail(m[1].Runs[0].Rows[10:20], 503)
	for i := range s[0].Runs[0].Rows[150:] {
		s[0].Runs[0].Rows[150+i].Error = "not finished"
		s[0].Runs[0].Rows[150+i].Last = 0
	}
	s[0].Runs[0].State = trace.Overloaded
	c, err := Compare(m, s, Options{Draws: 50})
	if err != nil {
		t.Fatal(err)
	}
	one, ten := c.Result.Points["rps-1"], c.Result.Points["rps-2"]
	if one.Failed != 1 || one.State != stateStable || one.TTFT.P50.N != 199 {
		t.Errorf("one of 200 failed: failed %d, state %s, n %d", one.Failed, one.State, one.TTFT.P50.N)
	}
	if ten.Failed != 10 || ten.State != stateInvalid || !strings.Contains(ten.TTFT.P50.Doubt, "10 of 200 requests failed") {
		t.Errorf("ten of 200 failed: failed %d, state %s, doubt %q", ten.Failed, ten.State, ten.TTFT.P50.Doubt)
	}
	if one.Unfinished != 50 || one.Simulator != "overloaded" || !(*one.E2E.P90.Bias > 1) {
		t.Errorf("the simulator finished three quarters: unfinished %d, state %s, P90 error %v", one.Unfinished, one.Simulator, show(one.E2E.P90.Bias))
	}
	if c.Result.E2E.P50.MAPE == nil {
		t.Error("a simulator that overloads where the engine does not must not drop out of the mean")
	}
}

// One answer of many that is cut off leaves its rate in what is compared: as
// overload it would take the worst rate out of every mean.
func TestNeverFinished(t *testing.T) {
	m, s := world{rates: []float64{1, 2}, seeds: 1, n: 200}.sides()
	row := &m[1].Runs[0].Rows[10]
	row.Error, row.Last, row.Status = "no last token within the time limit", 0, 200
	c, err := Compare(m, s, Options{Draws: 10})
	if err != nil {
		t.Fatal(err)
	}
	p := c.Result.Points["rps-2"]
	if p.State != stateStable || p.TTFT.P50.Bias == nil || !slices.Contains(c.Result.Stable, "rps-2") {
		t.Errorf("a request never finished: state %s, ttft error %v, stable %v; one of 200 is no overload", p.State, show(p.TTFT.P50.Bias), c.Result.Stable)
	}
	if n := c.Detail.Stability["rps-2"].Unfinished; n != 1 {
		t.Errorf("%d requests are said to be unfinished, 1 is", n)
	}
}

// An engine that breaks answers off at one rate makes that rate invalid: it
// may not drop out as overloaded, so that the rest of the sweep passes.
func TestBrokenAnswersAreNoOverload(t *testing.T) {
	for _, c := range []struct {
		why  string
		last bool // something was answered before the end
	}{{"in the middle", true}, {"before the first token", false}} {
		m, s := world{rates: []float64{1, 2, 3}, seeds: 1, n: 300, jitter: 0.05}.sides()
		for i := range m[2].Runs[0].Rows {
			row := &m[2].Runs[0].Rows[i]
			if i%3 > 0 {
				continue
			}
			row.Error, row.Status = "the stream was cut", 200
			if !c.last {
				row.Error, row.Status, row.First, row.Last, row.Tokens = "no answer", 0, 0, 0, 0
			}
		}
		got, err := Compare(m, s, Options{Draws: 10})
		if err != nil {
			t.Fatal(err)
		}
		if p := got.Result.Points["rps-3"]; p.State != stateInvalid || !strings.Contains(got.Draws.Doubts["/ttft/p50"], "100 of 300 requests failed") {
			t.Errorf("a third is broken off %s: state %s, doubt about ttft.p50 %q", c.why, p.State, got.Draws.Doubts["/ttft/p50"])
		}
	}
}

func TestKnee(t *testing.T) {
	rates := []float64{1, 2, 4, 8}
	for _, c := range []struct {
		why   string
		p99   []float64
		low   bool
		rate  float64
		state string
	}{
		{"half way in ln between 2 and 4", []float64{1, 1, 2.25, 9}, false, 2 * math.Sqrt2, bracketed},
		{"at a rate exactly", []float64{1, 1.5, 3, 9}, false, 2, bracketed},
		{"a crossing that does not stay is none", []float64{1, 2, 1, 2.25}, false, 4 * math.Sqrt2, bracketed},
		{"never crossed", []float64{1, 1, 1, 1.4}, false, math.NaN(), above},
		{"overloaded from the start", []float64{9, 9, 9, 9}, true, math.NaN(), below},
		{"a value is missing", []float64{1, math.NaN(), 3, 9}, false, math.NaN(), above},
	} {
		rate, state := kneeOf(rates, c.p99, c.low)
		if state != c.state || math.Abs(rate-c.rate) > 1e-9 || math.IsNaN(rate) != math.IsNaN(c.rate) {
			t.Errorf("%s: %v %s, want %v %s", c.why, rate, state, c.rate, c.state)
		}
	}
}

// The knee stands with all rates, overloaded ones too, and a simulator that is
// slower has it earlier.
func TestKneeInResult(t *testing.T) {
	c := compared(t, whole, Options{})
	k := c.Result.Knee
	if k.State != bracketed || *k.Bias >= 0 || math.Abs(*k.Bias) != *k.Error {
		t.Errorf("a simulator 10 %% slow: %s, %v against %v", k.State, show(k.Simulated), show(k.Measured))
	}
	short := compared(t, world{rates: []float64{1, 2}, seeds: 2, n: 200, jitter: 0.05}, Options{})
	if k := short.Result.Knee; k.State != above || k.Error != nil || !strings.Contains(k.Reason, "add rates above 2") {
		t.Errorf("nothing saturates: %+v", k)
	}
}

func TestSteadyTokens(t *testing.T) {
	// Ten requests a second apart, ten tokens each over one second: ten tokens a
	// second in each interval once running.
	var reqs []trace.Request
	var rows []trace.Row
	for i := range 10 {
		req := trace.Request{ID: i, Due: time.Duration(i) * time.Second, Prompt: 1, Output: 10}
		reqs = append(reqs, req)
		rows = append(rows, trace.Row{Request: req, First: req.Due + 100*time.Millisecond, Last: req.Due + time.Second, Tokens: 10})
	}
	got := steadyTokens(reqs, rows)
	for i, v := range got {
		want := 10.0
		if i < 2 || i == 9 {
			want = 0 // the first fifth, and what comes after the last arrival
		}
		if math.Abs(v-want) > 1e-9 {
			t.Errorf("interval %d: %v tokens, want %v", i, v, want)
		}
	}
}

func TestOverhead(t *testing.T) {
	idle := idle{prompts: []float64{100, 200}, seconds: []float64{1, 3}}
	for prompt, want := range map[int]float64{100: 1, 150: 2, 200: 3, 99: math.NaN(), 201: math.NaN()} {
		if got := idle.at(prompt); got != want && !(math.IsNaN(got) && math.IsNaN(want)) {
			t.Errorf("prompt %d: %v, want %v", prompt, got, want)
		}
	}
	c := compared(t, whole, Options{})
	o := c.Result.Points["rps-5"].Overhead
	if o.MeasuredP50 == nil || *o.MeasuredP50 < -0.001 || *o.DifferenceP50 < -0.002 || *o.Without != 0 {
		t.Errorf("prompts all lie within the probes and the simulator queues more: %v measured, %v apart, %v without", show(o.MeasuredP50), show(o.DifferenceP50), show(o.Without))
	}
}

// The engine against itself lies close to zero and exists for the replay
// alone.
func TestFloor(t *testing.T) {
	c := compared(t, whole, Options{})
	floor := c.Draws.Sets["floor"]
	replay, sweep := c.Draws.Leaves["/replay/ttft/p50/mape"].Cols[0], c.Draws.Leaves["/ttft/p50/mape"].Cols[0]
	sum := 0.0
	for d := 0; d < len(floor.Values)/floor.Cols; d++ {
		row := floor.Values[d*floor.Cols : (d+1)*floor.Cols]
		sum += math.Abs(row[replay])
		if !math.IsNaN(row[sweep]) {
			t.Fatal("a sweep is not repeated, so that it has no floor")
		}
	}
	if got := sum / float64(len(floor.Values)/floor.Cols); got == 0 || got > 0.2 {
		t.Errorf("the engine differs from itself by %v on average", got)
	}
	two := whole
	two.repeats = 2
	if _, ok := compared(t, two, Options{}).Draws.Sets["floor"]; ok {
		t.Error("two repeats are no floor")
	}
}
