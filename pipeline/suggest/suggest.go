// Package suggest finds what was probably meant: the known name nearest to a
// misspelt one, and short lists of what there is. Start with [DidYouMean].
package suggest

import (
	"fmt"
	"sort"
	"strings"
)

// DidYouMean suggests the name nearest to a misspelt one; "" if none is near.
func DidYouMean(got string, known []string) string {
	if near := Nearest(got, known); near != "" {
		return fmt.Sprintf("did you mean %q?", near)
	}
	return ""
}

// DidYouMeanOr suggests the nearest name, or lists those there are.
func DidYouMeanOr(got string, known []string, what string) string {
	if s := DidYouMean(got, known); s != "" {
		return s
	}
	if len(known) == 0 {
		return "there are none"
	}
	return what + ": " + AndMore(known, 12)
}

// Nearest returns the known name with the smallest edit distance to got, if
// that is small beside its length; ties go to the first in sorted order.
func Nearest(got string, known []string) string {
	names := append([]string(nil), known...)
	sort.Strings(names)
	best, least := "", 1+max(1, len(got)/3)
	low, word := fold(got), letters(got)
	for _, name := range names {
		if name == got {
			continue
		}
		if letters(name) == word && word != name {
			continue // p98 is no misspelt p90: another number is another thing
		}
		d := distance(low, fold(name), least)
		if d < least {
			best, least = name, d
		}
	}
	if best != "" {
		return best
	}
	// An abbreviation or a longer form of the same word: measure, measurement.
	for _, name := range names {
		n := fold(name)
		if len(low) >= 3 && name != got && (strings.HasPrefix(n, low) || len(n) >= 3 && strings.HasPrefix(low, n)) {
			return name
		}
	}
	return ""
}

// fold makes the spellings of one name equal: TensorParallel, tensor-parallel.
func fold(s string) string {
	return strings.NewReplacer("_", "", "-", "", " ", "").Replace(strings.ToLower(s))
}

// letters is a name with its digits as one mark.
func letters(s string) string {
	return strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r >= '0' && r <= '9' || r == '.' }), "#")
}

// distance is the number of inserted, deleted, changed and swapped letters
// between a and b (optimal string alignment), or limit if it is not less.
func distance(a, b string, limit int) int {
	if d := len(a) - len(b); d >= limit || -d >= limit {
		return limit
	}
	before, last := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last = last, row
	}
	return min(last[len(b)], limit)
}

// AndMore joins the first n names and counts the rest.
func AndMore(names []string, n int) string {
	if len(names) <= n {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:n], ", "), len(names)-n)
}
