package compare

import (
	"slices"
	"strings"
	"testing"
	"time"

	"calrun/internal/trace"
)

// doubtAt is the doubt about the number at a pointer, or about what is around
// it, as a gate finds it.
func doubtAt(c *Comparison, pointer string) string {
	for p := pointer; p != ""; p = p[:strings.LastIndex(p, "/")] {
		if why := c.Draws.Doubts[p]; why != "" {
			return why
		}
	}
	return ""
}

// A simulation of other requests is judged nowhere: not at the points that
// differ, not in what they enter.
func TestOtherRequestsAreNotJudged(t *testing.T) {
	w := world{rates: []float64{1, 2, 12}, seeds: 3, n: 300, jitter: 0.05, repeats: 3, probes: true}
	other := func(run *trace.Run, change func(r *trace.Request)) {
		run.Requests, run.Rows = slices.Clone(run.Requests), slices.Clone(run.Rows)
		for i := range 5 {
			change(&run.Requests[i])
			run.Rows[i].Request = run.Requests[i]
			run.Rows[i].Prompted, run.Rows[i].Tokens = run.Requests[i].Prompt, run.Requests[i].Output
		}
	}
	for _, c := range []struct {
		why    string
		point  string
		change func(r *trace.Request)
		read   []string // not judged
		free   []string // of other points, judged as before
	}{
		{
			"arrivals of a rate", "rps-1", func(r *trace.Request) { r.Due += time.Millisecond },
			[]string{
				"/points/rps-1/ttft/p50/ape", "/points/rps-1/e2e/p99/bias", "/points/rps-1/tpot/ks", "/points/rps-1/ttft/requests/mape", "/points/rps-1/throughput/ape", "/points/rps-1/unfinished",
				"/ttft/p50/mape", "/tpot/p90/worst", "/e2e/mean/bias", "/e2e/w1", "/requests/ttft/mape", "/throughput/mape", "/knee/error", "/cells/0/ape",
			},
			[]string{"/points/rps-2/ttft/p50/ape", "/replay/ttft/p50/mape", "/probes/ttft/p50/mape"},
		},
		{
			"prompts of an overloaded rate", "rps-12", func(r *trace.Request) { r.Prompt++ },
			[]string{"/points/rps-12/throughput/ape", "/points/rps-12/ttft/p50/measured", "/throughput/mape", "/knee/error"},
			[]string{"/points/rps-2/ttft/p50/ape", "/ttft/p50/mape"},
		},
		{
			"outputs of the replay", "replay", func(r *trace.Request) { r.Output++ },
			[]string{"/points/replay/ttft/p50/ape", "/replay/e2e/p50/mape", "/replay/throughput/mape"},
			[]string{"/ttft/p50/mape", "/knee/error"},
		},
		{
			"prompts of the probes", "probe-50-20", func(r *trace.Request) { r.Prompt++ },
			[]string{"/points/probe-50-20/ttft/p50/ape", "/probes/ttft/p50/mape", "/probes/requests/ttft/mape"},
			[]string{"/ttft/p50/mape"},
		},
	} {
		m, s := w.sides()
		at := slices.IndexFunc(s, func(p trace.Point) bool { return p.Name == c.point })
		s[at].Runs = slices.Clone(s[at].Runs)
		other(&s[at].Runs[0], c.change)
		got, err := Compare(m, s, Options{Draws: 50})
		if err != nil {
			t.Fatal(err)
		}
		for _, pointer := range c.read {
			if why := doubtAt(got, pointer); !strings.Contains(why, "requests differ in arrival or length: not the same requests") || !strings.Contains(why, "5 of ") {
				t.Errorf("%s: doubt about %s is %q", c.why, pointer, why)
			}
		}
		for _, pointer := range c.free {
			if why := doubtAt(got, pointer); why != "" {
				t.Errorf("%s: %s has nothing to do with it, yet %q", c.why, pointer, why)
			}
		}
	}
}

// Of every number that a gate can read there are draws, or a doubt says that
// there are none, unless it is a count.
func TestNoNumberIsJudgedOnItsEstimateAlone(t *testing.T) {
	exact := []string{
		"n", "blocks", "block", "excluded", "seeds", "failed", "unfinished", "rate_rps", "without",
		"checked", "due", "prompt", "output", "cached",
	}
	for name, make := range worlds() {
		m, s, opt := make()
		c, err := Compare(m, s, opt)
		if err != nil {
			t.Fatal(err)
		}
		floats(tree(t, c), "", func(pointer string) {
			_, drawn := c.Draws.Leaves[pointer]
			if !drawn && doubtAt(c, pointer) == "" && !slices.Contains(exact, pointer[strings.LastIndex(pointer, "/")+1:]) {
				t.Errorf("%s: a gate judges %s on its estimate alone", name, pointer)
			}
		})
	}
}

func floats(v any, pointer string, found func(string)) {
	switch x := v.(type) {
	case float64:
		found(pointer)
	case map[string]any:
		for k, child := range x {
			floats(child, pointer+"/"+escape(k), found)
		}
	case []any:
		for i, child := range x {
			floats(child, pointer+"/"+short(float64(i)), found)
		}
	}
}

// What each side alone would have been goes with the error between them, and
// lies around the estimate.
func TestDrawsOfTheSides(t *testing.T) {
	c := compared(t, whole, Options{})
	for _, point := range []string{"rps-3", "replay", "probe-250-20"} {
		at := "/points/" + point + "/ttft/p50"
		p := c.Result.Points[point].TTFT.P50
		for set, m := range c.Draws.Sets {
			col := func(name string, d int) float64 {
				leaf := c.Draws.Leaves[at+"/"+name]
				v := m.Values[d*m.Cols+leaf.Cols[0]]
				if leaf.Op == "scaled" {
					v *= 1 + m.Values[d*m.Cols+leaf.Cols[1]]
				}
				return v
			}
			if set == "floor" && point != "replay" {
				continue // NaN
			}
			inside := 0.0
			rows := len(m.Values) / m.Cols
			for d := range rows {
				r, s, bias := col("measured", d), col("simulated", d), col("bias", d)
				if x := s/r - 1 - bias; !(x < 1e-9 && x > -1e-9) {
					t.Fatalf("%s, %s, draw %d: %v against %v, but the error is %v", at, set, d, s, r, bias)
				}
				if r > 0.5**p.Measured && r < 2**p.Measured {
					inside++
				}
			}
			if inside < 0.95*float64(rows) {
				t.Errorf("%s, %s: %v of %d draws of the engine lie near %v", at, set, inside, rows, *p.Measured)
			}
		}
	}
}
