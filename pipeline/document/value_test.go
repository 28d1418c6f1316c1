package document

import (
	"regexp"
	"testing"
)

// Names and numbers are told without a pattern, which costs more than all
// else that is done with them; the pattern is the law.
func TestNamesAndNumbers(t *testing.T) {
	name := regexp.MustCompile(NamePattern)
	number := regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?$`)
	const letters = "a_Z09-+.eE \n\x00é{"
	var try func(s string, left int)
	try = func(s string, left int) {
		if IsName(s) != name.MatchString(s) || IsNumber(s) != number.MatchString(s) {
			t.Fatalf("%q is a name: %v, a number: %v", s, IsName(s), IsNumber(s))
		}
		if left > 0 {
			for _, c := range letters {
				try(s+string(c), left-1)
			}
		}
	}
	try("", 4)
	for _, s := range []string{"-12.5e+10", "1.5E-3", "01.5", "1e5.5", "12 34", "-0.0e0", "Infinity", "0x10", "1_000", "step_1a"} {
		try(s, 1)
	}
}
