package suggest

import "testing"

func TestDidYouMean(t *testing.T) {
	tests := []struct {
		reason, got string
		known       []string
		want        string
	}{
		{"a letter too many", "durationn", []string{"duration", "rounds"}, "duration"},
		{"two letters swapped", "mpae", []string{"mape", "mean"}, "mape"},
		{"another way to write it", "tensorParallel", []string{"tensor_parallel"}, "tensor_parallel"},
		{"the beginning of it", "measure", []string{"measurement", "simulation"}, "measurement"},
		{"nothing near", "zebra", []string{"seed", "over"}, ""},
		{"another number is another thing", "p98", []string{"p90", "p99"}, ""},
		{"the nearest of two", "simulat", []string{"simulate", "simulation"}, "simulate"},
	}
	for _, tt := range tests {
		if got := Nearest(tt.got, tt.known); got != tt.want {
			t.Errorf("%s: %q for %q, want %q", tt.reason, got, tt.got, tt.want)
		}
	}
}
