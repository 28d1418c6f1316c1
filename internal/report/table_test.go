package report

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"
)

func table(t *testing.T, p Page, width int, colour bool) string {
	t.Helper()
	var b bytes.Buffer
	if err := Table(&b, p, width, colour); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestTableGolden(t *testing.T) {
	for _, width := range []int{80, 120, 180} {
		golden(t, fmt.Sprintf("table-%d.txt", width), table(t, sample(), width, false))
	}
}

// Colour adds codes and nothing else; without it there are none.
func TestTableColour(t *testing.T) {
	plain, painted := table(t, sample(), 80, false), table(t, sample(), 80, true)
	if strings.Contains(plain, "\x1b") {
		t.Error("a table without colour has escape codes")
	}
	bare := regexp.MustCompile(`\x1b\[[0-9]+m`).ReplaceAllString(painted, "")
	if bare = regexp.MustCompile(` +\n`).ReplaceAllString(bare, "\n"); bare != plain {
		t.Errorf("colour changed what is written:\n%s\nwithout:\n%s", bare, plain)
	}
}

// The verdict is the first word of the last paragraph, and no number is lost
// at any width.
func TestTableInvariants(t *testing.T) {
	for _, width := range []int{0, 40, 80, 118, 172, 300} {
		text := table(t, sample(), width, false)
		parts := strings.Split(strings.TrimSpace(text), "\n\n")
		if last := parts[len(parts)-1]; !strings.HasPrefix(last, "PASS") {
			t.Errorf("width %d: the last paragraph is %q, want the verdict", width, last)
		}
		for _, p := range sample().Comparison.Points {
			c, _ := p.cell("ttft", "p50")
			if !strings.Contains(text, signed(c.Bias)) {
				t.Errorf("width %d: %s of %s is missing", width, signed(c.Bias), p.Name)
			}
		}
	}
}

// A terminal narrower than the whole table shows the middles, none wrapped.
func TestTableFitsNarrowTerminals(t *testing.T) {
	for line := range strings.SplitSeq(table(t, sample(), 60, false), "\n") {
		if n := utf8.RuneCountInString(line); n > 60 {
			t.Errorf("a line of %d columns: %s", n, line)
		}
	}
}
