package cli

import "testing"

// What is compared by eye is short, and only numbers are rounded.
func TestBrevity(t *testing.T) {
	for _, row := range []struct{ long, want string }{
		{"", "–"},
		{"0.08289021655211722", "0.0828902"},
		{"cpu_overhead_s -0.0026612345678", "cpu_overhead_s -0.00266123"},
		{"0.25", "0.25"},
		{"1234567890", "1234567890"},
		{"v0.0.0-20261125031732", "v0.0.0-20261125031732"},
		{"sha256:0123456789abcdef", "0123456789ab"},
		{"a|b", `a\|b`},
	} {
		if got := brevity(row.long); got != row.want {
			t.Errorf("%q: %q, want %q", row.long, got, row.want)
		}
	}
}
