package report

import (
	"math"
	"testing"
	"time"
)

func TestNumbers(t *testing.T) {
	rows := []struct{ why, got, want string }{
		{"a gain has its sign", signed(0.031), "+3.1 %"},
		{"a loss has a minus as wide as the plus", signed(-0.031), "−3.1 %"},
		{"what rounds to zero has no sign", signed(0.0001), "0.0 %"},
		{"nor has minus zero", signed(-0.0001), "0.0 %"},
		{"unknown is a dash", percent(math.NaN()), "– %"},
		{"ten times over needs no decimals", percent(12.3), "1230 %"},
		{"three digits", significant(0.012345), "0.0123"},
		{"no needless zeros", significant(0.5), "0.5"},
		{"whole numbers stay whole", significant(36210), "36210"},
		{"zero", significant(0), "0"},
		{"tiny", significant(0.0000012), "1.2e−06"},
		{"seconds", span(4200 * time.Millisecond), "4.2 s"},
		{"hours", span(95 * time.Minute), "1 h 35 min"},
	}
	for _, r := range rows {
		if r.got != r.want {
			t.Errorf("%s: got %q, want %q", r.why, r.got, r.want)
		}
	}
}

func TestScale(t *testing.T) {
	rows := []struct {
		why  string
		in   []float64
		unit string
		text string // of the first
	}{
		{"tenths of seconds are milliseconds", []float64{0.1234, 0.5}, "ms", "123"},
		{"small beside large keeps three digits", []float64{0.0083, 0.5}, "ms", "8.30"},
		{"tens of seconds are seconds", []float64{3.12, 45}, "s", "3.12"},
		{"no times", nil, "s", ""},
	}
	for _, r := range rows {
		s := scaleFor(r.in)
		if s.unit != r.unit {
			t.Errorf("%s: unit %q, want %q", r.why, s.unit, r.unit)
		}
		if len(r.in) > 0 && s.value(r.in[0]) != r.text {
			t.Errorf("%s: %q, want %q", r.why, s.value(r.in[0]), r.text)
		}
	}
}

func TestTone(t *testing.T) {
	rows := []struct {
		why  string
		c    Cell
		want string
	}{
		{"all of the interval inside", Cell{Quantile: "p50", Bias: 0.01, Lo: new(-0.01), Hi: new(0.03)}, "ok"},
		{"the interval crosses", Cell{Quantile: "p50", Bias: 0.04, Lo: new(0.01), Hi: new(0.07)}, "near"},
		{"all of it outside", Cell{Quantile: "p50", Bias: -0.2, Lo: new(-0.3), Hi: new(-0.1)}, "over"},
		{"no interval: the estimate alone", Cell{Quantile: "p99", Bias: 0.1}, "ok"},
		{"a gate's own tolerance", Cell{Quantile: "p99", Bias: 0.1, Limit: 0.05}, "over"},
		{"a doubt outranks any value", Cell{Bias: 0, Doubt: "one seed"}, "doubt"},
		{"NaN is never inside", Cell{Bias: math.NaN()}, "doubt"},
	}
	for _, r := range rows {
		if got := r.c.tone(); got != r.want {
			t.Errorf("%s: %q, want %q", r.why, got, r.want)
		}
	}
}
