package cli

import (
	"strings"
	"testing"
)

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
		if got, _ := brevity(row.long, ""); got != row.want {
			t.Errorf("%q: %q, want %q", row.long, got, row.want)
		}
	}
	const name = "engine vllm 0.11.2 meta-llama/Meta-Llama-3-70B-Instruct sha256:"
	a, b := brevity(name+"0123456789abcdef", name+"fedcba9876543210")
	if a != "…0123456789ab" || b != "…fedcba987654" {
		t.Errorf("%q and %q: the place where they differ is what they are compared by", a, b)
	}
	long := strings.Repeat("x", 60)
	if a, b = brevity(long+"1", long+"2"); a == b {
		t.Errorf("%q and %q differ", a, b)
	}
	if a, b = brevity(name+"0", name+"0"); a != b || len([]rune(a)) != columnWidth {
		t.Errorf("%q and %q", a, b)
	}
}
