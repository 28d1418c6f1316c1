package report

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// minus is the sign that is as wide as a plus: columns of signed numbers stay
// aligned.
const minus = "−"

// scale is how one column of times is written: the same unit and the same
// decimals for all of them, so that the eye can compare.
type scale struct {
	unit     string
	factor   float64 // what seconds are multiplied by
	decimals int
}

// scaleFor picks the unit in which the largest of some times is at least 1
// and below 1000 of the next smaller one, and as many decimals as show three
// digits of the smallest, two decimals at most.
func scaleFor(seconds []float64) scale {
	lo, hi := math.Inf(1), 0.0
	for _, v := range seconds {
		if v > 0 && !math.IsInf(v, 0) {
			lo, hi = min(lo, v), max(hi, v)
		}
	}
	s := scale{unit: "s", factor: 1}
	switch {
	case hi == 0:
		return s
	case hi < 1e-3:
		s = scale{unit: "µs", factor: 1e6}
	case hi < 10:
		s = scale{unit: "ms", factor: 1e3}
	}
	s.decimals = min(max(2-int(math.Floor(math.Log10(lo*s.factor))), 0), 2)
	return s
}

// value writes a time without its unit.
func (s scale) value(seconds float64) string {
	return number(seconds*s.factor, s.decimals)
}

// number writes v with the decimals given; an unknown value is a dash.
func number(v float64, decimals int) string {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return "–"
	}
	text := strconv.FormatFloat(v, 'f', decimals, 64)
	if strings.Trim(text, "-0.") == "" {
		text = strings.TrimPrefix(text, "-") // no minus zero
	}
	return strings.Replace(text, "-", minus, 1)
}

// significant writes v with three significant digits and no exponent where a
// reader can do without.
func significant(v float64) string {
	if v == 0 {
		return "0"
	}
	a := math.Abs(v)
	if a == math.Trunc(a) && a < 1e6 || a >= 100 && a < 1e6 {
		return number(v, 0)
	}
	if a < 1e-4 || a >= 1e6 {
		return strings.Replace(strconv.FormatFloat(v, 'g', 3, 64), "-", minus, 1)
	}
	text := number(v, 2-int(math.Floor(math.Log10(a))))
	if strings.Contains(text, ".") {
		text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
	}
	return text
}

// percent writes a ratio as a percentage with one decimal.
func percent(ratio float64) string {
	v := ratio * 100
	if math.Abs(v) >= 999.5 {
		return number(v, 0) + " %"
	}
	return number(v, 1) + " %"
}

// plain writes a ratio that someone chose (a tolerance, a level) as a
// percentage, with no decimals that it does not need.
func plain(ratio float64) string { return significant(math.Round(ratio*1e5)/1e3) + " %" }

// signed writes a ratio as a percentage that always has a sign.
func signed(ratio float64) string {
	text := percent(ratio)
	if ratio > 0 && !strings.HasPrefix(text, "0.0 ") {
		return "+" + text
	}
	return text
}

// rate writes requests per second in as few digits as name the rate.
func rate(r float64) string { return strconv.FormatFloat(r, 'f', -1, 64) }

// span writes a duration as a reader says it.
func span(d time.Duration) string {
	switch {
	case d < 0:
		return "–"
	case d < time.Millisecond:
		return "< 1 ms"
	case d < time.Second:
		return strconv.FormatInt(d.Milliseconds(), 10) + " ms"
	case d < time.Minute:
		return strconv.FormatFloat(d.Seconds(), 'f', 1, 64) + " s"
	case d < time.Hour:
		return strconv.Itoa(int(d.Minutes())) + " min " + strconv.Itoa(int(d.Seconds())%60) + " s"
	}
	return strconv.Itoa(int(d.Hours())) + " h " + strconv.Itoa(int(d.Minutes())%60) + " min"
}

// text writes a value: a number in three digits, anything else as it is.
func (v Value) text() string {
	if v.Text != "" {
		return v.Text
	}
	return significant(v.Number)
}

// upper is a metric or quantile as people write it: TTFT, P50, mean.
func upper(name string) string {
	if name == "mean" {
		return name
	}
	return strings.ToUpper(name)
}
