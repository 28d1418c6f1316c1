package compare

import (
	"bytes"
	"encoding/json"
	"math"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"calrun/internal/trace"
)

// whole has every group in it: probes, a sweep up to overload, a replay.
var whole = world{rates: []float64{1, 3, 5, 9}, seeds: 5, n: 200, factor: 1.1, jitter: 0.05, repeats: 3, probes: true}

func compared(t *testing.T, w world, opt Options) *Comparison {
	t.Helper()
	m, s := w.sides()
	if opt.Draws == 0 {
		opt.Draws = 200
	}
	c, err := Compare(m, s, opt)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// tree is a result as expressions see it.
func tree(t *testing.T, c *Comparison) any {
	t.Helper()
	data, err := json.Marshal(c.Result)
	if err != nil {
		t.Fatal(err)
	}
	var v any
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func at(v any, pointer string) (any, bool) {
	for _, token := range strings.Split(pointer, "/")[1:] {
		switch x := v.(type) {
		case map[string]any:
			var ok bool
			if v, ok = x[token]; !ok {
				return nil, false
			}
		case []any:
			i, err := strconv.Atoi(token)
			if err != nil || i >= len(x) {
				return nil, false
			}
			v = x[i]
		default:
			return nil, false
		}
	}
	return v, true
}

// The names of the language of gates are there, and are numbers.
func TestNames(t *testing.T) {
	v := tree(t, compared(t, whole, Options{}))
	for _, name := range []string{
		"/ttft/p50/mape", "/ttft/p50/worst", "/ttft/p50/bias", "/tpot/p90/mape", "/e2e/p95/mape", "/e2e/mean/mape",
		"/points/rps-3/ttft/p50/ape", "/points/rps-3/e2e/p95/bias", "/points/rps-3/ttft/ks", "/points/rps-3/tpot/w1",
		"/cells/0/ape", "/throughput/mape", "/knee/error", "/ttft/ks", "/ttft/w1", "/requests/ttft/mape", "/requests/e2e/correlation",
		"/probes/ttft/p50/mape", "/replay/e2e/p90/mape", "/points/rps-1/rho", "/points/rps-9/throughput/ape", "/points/rps-3/overhead/measured_p50_s",
	} {
		if x, ok := at(v, name); !ok {
			t.Errorf("%s is missing", name)
		} else if _, ok := x.(float64); !ok {
			t.Errorf("%s is %v, want a number", name, x)
		}
	}
}

// worlds that lack something, each in its own way.
func worlds() map[string]func() ([]trace.Point, []trace.Point, Options) {
	of := func(w world, opt Options, change func(m, s []trace.Point)) func() ([]trace.Point, []trace.Point, Options) {
		return func() ([]trace.Point, []trace.Point, Options) {
			m, s := w.sides()
			if change != nil {
				change(m, s)
			}
			opt.Draws = 50
			return m, s, opt
		}
	}
	small := world{rates: []float64{1, 3}, seeds: 2, n: 60, jitter: 0.05, probes: true}
	return map[string]func() ([]trace.Point, []trace.Point, Options){
		"everything":    of(whole, Options{}, nil),
		"all points":    of(whole, Options{Scope: ScopeAll}, nil),
		"one seed":      of(world{rates: []float64{1, 3}, seeds: 1, n: 100, jitter: 0.05}, Options{}, nil),
		"one stable":    of(world{rates: []float64{1, 12}, seeds: 2, n: 300, jitter: 0.05}, Options{}, nil),
		"all fitted":    of(small, Options{FittedOn: []string{"probes", "rps-1", "rps-3"}}, nil),
		"some fitted":   of(small, Options{FittedOn: []string{"probes", "rps-1"}}, nil),
		"probes alone":  of(small, Options{}, func(m, s []trace.Point) { clip(m, 0); clip(s, 0) }),
		"engine failed": of(small, Options{}, func(m, s []trace.Point) { fail(m[3].Runs[0].Rows, 500); fail(m[3].Runs[1].Rows, 500) }),
		"engine lost":   of(small, Options{}, func(m, s []trace.Point) { m[3].Runs[1].Rows, m[3].Runs[1].State = nil, trace.Crashed }),
		"sim crashed":   of(small, Options{}, func(m, s []trace.Point) { s[3].Runs[1].Rows, s[3].Runs[1].State = nil, trace.Crashed }),
		"one token":     of(small, Options{}, func(m, s []trace.Point) { shorten(m[3].Runs); shorten(s[3].Runs) }),
		"empty":         func() ([]trace.Point, []trace.Point, Options) { return nil, nil, Options{} },
		"one repeat":    of(world{rates: []float64{4}, seeds: 1, n: 100, jitter: 0.05, repeats: 1}, Options{}, nil),
	}
}

func clip(m []trace.Point, n int) {
	for i := range m {
		if m[i].Group == trace.Sweep {
			m[i].Runs = m[i].Runs[:n]
		}
	}
}

func fail(rows []trace.Row, status int) {
	for i := range rows {
		rows[i].Error, rows[i].Status, rows[i].First, rows[i].Last, rows[i].Tokens = "refused", status, 0, 0, 0
	}
}

func shorten(runs []trace.Run) {
	for _, r := range runs {
		for i := range r.Rows {
			r.Rows[i].Tokens, r.Rows[i].Output, r.Rows[i].Last = 1, 1, r.Rows[i].First
			r.Requests[i].Output = 1
		}
	}
}

// Whatever is missing: a null has a doubt, a leaf of the draws has a number
// and columns, and no number is NaN.
func TestNullsHaveDoubts(t *testing.T) {
	for name, make := range worlds() {
		t.Run(name, func(t *testing.T) {
			m, s, opt := make()
			c, err := Compare(m, s, opt)
			if err != nil {
				t.Fatal(err)
			}
			v := tree(t, c)
			nulls(v, "", func(pointer string) {
				for p := pointer; p != ""; p = p[:strings.LastIndex(p, "/")] {
					if c.Draws.Doubts[p] != "" {
						return
					}
				}
				t.Errorf("%s is null and nothing says why", pointer)
			})
			for pointer, leaf := range c.Draws.Leaves {
				if x, ok := at(v, pointer); !ok || x == nil {
					t.Errorf("leaf %s has draws but is %v in the result", pointer, x)
				}
				for _, col := range leaf.Cols {
					if col < 0 || col >= c.Draws.Sets["replicates"].Cols {
						t.Errorf("leaf %s reads column %d", pointer, col)
					}
				}
			}
			for pointer := range c.Draws.Doubts {
				if _, ok := at(v, pointer); !ok {
					t.Errorf("a doubt about %s, which the result does not have", pointer)
				}
			}
			if err := WriteDetail(t.TempDir(), &c.Detail); err != nil {
				t.Error(err)
			}
		})
	}
}

func nulls(v any, pointer string, found func(string)) {
	switch x := v.(type) {
	case nil:
		found(pointer)
	case map[string]any:
		for k, child := range x {
			nulls(child, pointer+"/"+k, found)
		}
	case []any:
		for i, child := range x {
			nulls(child, pointer+"/"+strconv.Itoa(i), found)
		}
	}
}

// The same bytes, however many processors work at it.
func TestDeterminism(t *testing.T) {
	one := func(procs int) []byte {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
		c := compared(t, whole, Options{Seed: 7})
		var b bytes.Buffer
		if err := json.NewEncoder(&b).Encode(c.Detail); err != nil {
			t.Fatal(err)
		}
		for _, set := range []string{"replicates", "null", "floor"} {
			for _, x := range c.Draws.Sets[set].Values {
				b.WriteString(strconv.FormatUint(math.Float64bits(x), 16))
			}
		}
		return b.Bytes()
	}
	if !bytes.Equal(one(1), one(3)) {
		t.Error("the number of processors changes the comparison")
	}
}

// A leaf's operation on the estimate gives the number in the result.
func TestLeavesMatchResult(t *testing.T) {
	c := compared(t, whole, Options{})
	r := c.Result
	var sum, most, signed float64
	for _, name := range r.Stable {
		b := *r.Points[name].TTFT.P50.Bias
		sum, most, signed = sum+math.Abs(b), max(most, math.Abs(b)), signed+b
	}
	n := float64(len(r.Stable))
	near := func(what string, got *float64, want float64) {
		if got == nil || math.Abs(*got-want) > 1e-12 {
			t.Errorf("%s is %v, want %v", what, show(got), want)
		}
	}
	near("mape", r.TTFT.P50.MAPE, sum/n)
	near("worst", r.TTFT.P50.Worst, most)
	near("bias", r.TTFT.P50.Bias, signed/n)
	for pointer, want := range map[string]string{
		"/ttft/p50/mape": "mean_abs", "/ttft/p50/worst": "max_abs", "/ttft/p50/bias": "mean",
		"/points/rps-1/ttft/p50/ape": "abs", "/points/rps-1/ttft/p50/bias": "value", "/knee/error": "abs",
	} {
		if got := c.Draws.Leaves[pointer].Op; got != want {
			t.Errorf("leaf %s is %q, want %q", pointer, got, want)
		}
	}
	for _, cell := range c.Detail.Cells {
		if cell.Bias != nil && cell.Measured != nil && math.Abs((*cell.Simulated-*cell.Measured) / *cell.Measured - *cell.Bias) > 1e-9 {
			t.Errorf("%s %s %s: bias %v is not (S−R)/R of %v and %v", cell.Point, cell.Metric, cell.Stat, *cell.Bias, *cell.Simulated, *cell.Measured)
		}
	}
}

func show(x *float64) any {
	if x == nil {
		return "null"
	}
	return *x
}

// Two runs of one seed are two things of one name: neither is taken for the
// other, on whichever side they stand.
func TestASeedThatStandsTwiceIsRefused(t *testing.T) {
	for side, where := range []string{"measurement", "simulation"} {
		m, s := world{rates: []float64{1}, seeds: 2, n: 20, jitter: 0.05}.sides()
		points := [...][]trace.Point{m, s}[side]
		points[0].Runs = slices.Clone(points[0].Runs)
		points[0].Runs[1].Seed = points[0].Runs[0].Seed
		if _, err := Compare(m, s, Options{}); err == nil || !strings.Contains(err.Error(), "the "+where+" holds seed") {
			t.Errorf("twice in the %s: %v", where, err)
		}
	}
}
