package profile

import (
	"cmp"
	"fmt"
	"math"
	"slices"
)

// Bounds beyond which numbers are odd. They flag rows for a person: kernels
// do switch algorithms, so that times fall here and there.
const (
	sameSizeSpread = 0.25 // relative distance of two times at one size
	fallShare      = 0.20 // how far a time may fall below that of a smaller size
)

// Values looks for numbers that no measurement yields, and for odd ones.
// Times that are not above zero, or not finite, are wrong; repeated sizes that
// disagree and times that fall as the size grows are doubts.
func (p *Profile) Values() []Finding {
	var out []Finding
	for _, t := range p.Tables {
		if fs := t.wrong(); fs != nil {
			out = append(out, fs...)
			continue // what is no time is not odd as well
		}
		if f, odd := t.repeated(); odd {
			out = append(out, f)
		}
		if f, odd := t.falling(); odd {
			out = append(out, f)
		}
	}
	if len(out) == 0 {
		out = append(out, Finding{Check: "values", OK: true, Seen: fmt.Sprintf("%d tables without an odd number", len(p.Tables))})
	}
	return out
}

// wrong finds times that are not times.
func (t *Table) wrong() []Finding {
	bad, zero := 0, 0
	var first Row
	for _, r := range t.Rows {
		if !(r.Time > 0) || math.IsInf(r.Time, 0) {
			if bad == 0 {
				first = r
			}
			bad++
			if r.Time == 0 {
				zero++
			}
		}
	}
	switch {
	case bad == 0:
		return nil
	case zero == len(t.Rows):
		return []Finding{{
			Check: "values." + t.Op, OK: true, Doubt: true, Seen: fmt.Sprintf("%s: 0 everywhere", t.File),
			Allowed: "times above 0", Advice: "the model may lack the operator; else it was not measured",
		}}
	}
	return []Finding{{
		Check: "values." + t.Op, Seen: fmt.Sprintf("%s: line %d: %v s", t.File, first.Line, first.Time),
		Allowed: "times above 0", Share: float64(bad) / float64(len(t.Rows)),
		Advice: fmt.Sprintf("profile %s again, or take the rows out (%d of %d)", t.Op, bad, len(t.Rows)),
	}}
}

// repeated finds sizes that were measured more than once with times far apart.
func (t *Table) repeated() (Finding, bool) {
	rows := slices.Clone(t.Rows)
	slices.SortStableFunc(rows, func(a, b Row) int {
		if c := slices.Compare(a.At, b.At); c != 0 {
			return c
		}
		return cmp.Compare(a.Time, b.Time)
	})
	twice, apart := 0, 0
	var worst string
	most := sameSizeSpread
	for i := 0; i < len(rows); {
		j := i + 1
		for j < len(rows) && slices.Equal(rows[i].At, rows[j].At) {
			j++
		}
		if lo, hi := rows[i].Time, rows[j-1].Time; j > i+1 && lo > 0 {
			twice++
			if spread := hi/lo - 1; spread > sameSizeSpread {
				apart++
				if spread > most {
					most, worst = spread, fmt.Sprintf("%s: lines %d and %d: %.4g and %.4g ms at %s %v", t.File, rows[i].Line, rows[j-1].Line, 1e3*lo, 1e3*hi, t.Axes, rows[i].At)
				}
			}
		}
		i = j
	}
	if apart == 0 {
		return Finding{}, false
	}
	return Finding{
		Check: "values." + t.Op + ".repeated", OK: true, Doubt: true, Seen: worst, Allowed: "times at one size within 25 %",
		Share: float64(apart) / float64(twice), Advice: "the median is used; the card may have been shared while it was profiled",
	}, true
}

// falling finds times that fall as the last axis grows, the others fixed.
func (t *Table) falling() (Finding, bool) {
	rows := slices.Clone(t.Rows)
	slices.SortStableFunc(rows, func(a, b Row) int { return slices.Compare(a.At, b.At) })
	last := len(t.Axes) - 1
	falls := 0
	worst, most := "", fallShare
	var top Row
	for i, r := range rows {
		if i == 0 || !slices.Equal(rows[i-1].At[:last], r.At[:last]) || r.Time > top.Time {
			top = r
			continue
		}
		if fall := 1 - r.Time/top.Time; r.At[last] > top.At[last] && fall > fallShare {
			falls++
			if fall > most {
				most, worst = fall, fmt.Sprintf("%s: line %d: %.4g ms at %s %v, but %.4g ms at %v (line %d)", t.File, r.Line, 1e3*r.Time, t.Axes, r.At, 1e3*top.Time, top.At, top.Line)
			}
		}
	}
	if falls == 0 {
		return Finding{}, false
	}
	return Finding{
		Check: "values." + t.Op + ".falling", OK: true, Doubt: true, Seen: worst, Allowed: "no fall below 80 % of a smaller size's time",
		Share: float64(falls) / float64(len(rows)), Advice: "kernels may switch; if this one does not, profile it again",
	}, true
}
