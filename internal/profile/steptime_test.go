package profile

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestParseCost(t *testing.T) {
	for _, c := range []struct {
		in   string
		want Cost
		why  string
	}{
		{"5.5ms", 0.0055, "the usual"},
		{"0.02us", 2e-8, "below what a Duration holds well"},
		{"15µs", 15e-6, "the sign that Go prints"},
		{"300ns", 3e-7, "nanoseconds"},
		{"0", 0, "nothing needs no unit"},
		{"2e-08s", 2e-8, "as numbers are printed"},
	} {
		got, err := ParseCost(c.in)
		if err != nil || got != c.want {
			t.Errorf("%s: %q is %v, %v, want %v", c.why, c.in, got, err, c.want)
		}
	}
	for _, bad := range []string{"", "5", "ms", "5 minutes", "NaNs", "infs", "1m"} {
		if got, err := ParseCost(bad); err == nil {
			t.Errorf("%q was read as %v", bad, got)
		}
	}
}

func TestCostRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := Cost(rapid.Float64Range(0, 1e4).Draw(t, "seconds"))
		back, err := ParseCost(c.String())
		if err != nil || back != c {
			t.Fatalf("%v was written as %q and read as %v, %v", float64(c), c, float64(back), err)
		}
	})
}

func TestStepTime(t *testing.T) {
	m := StepTime{Base: 0.008, PerPrefillToken: 15e-6, PerSequence: 1e-4, PerContextToken: 2e-8}
	d, outside := m.Step(&Batch{Prefills: []Chunk{{100, 0}, {50, 200}}, Decodes: 3, DecodeContext: 1000, MaxDecodeContext: 500})
	// 8 ms + 150 × 15 µs + 5 × 0.1 ms + 1200 × 20 ns
	if want := 8*time.Millisecond + 2250*time.Microsecond + 500*time.Microsecond + 24*time.Microsecond; d != want || outside {
		t.Errorf("step took %v (outside %v), want %v", d, outside, want)
	}
}
