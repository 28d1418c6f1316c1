package pipeline

import (
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// scalar fills a bool, a number, a text or a duration.
func (d *decoder) scalar(rv reflect.Value, fd *field, v *value, path string) {
	switch fd.shape.typ.Sort {
	case Bool:
		if v.form != isBool {
			d.wrong(v.pos, path, boolHint(v), "%s is not true or false", v)
			return
		}
		rv.SetBool(v.flag)
	case Text:
		d.text(rv, fd, v, path)
	case Span:
		d.span(rv, fd, v, path)
	case Number:
		d.number(rv, fd, v, path)
	}
}

func boolHint(v *value) string {
	switch strings.ToLower(v.text) {
	case "yes", "on", "y":
		return "write true"
	case "no", "off", "n":
		return "write false"
	}
	if v.form == isText && (v.text == "true" || v.text == "false") {
		return fmt.Sprintf("write %s without quotes", v.text)
	}
	return ""
}

func (d *decoder) text(rv reflect.Value, fd *field, v *value, path string) {
	if v.form != isText {
		suggest := ""
		if v.form == isNumber || v.form == isBool {
			suggest = fmt.Sprintf("write %q", v.String())
		}
		d.wrong(v.pos, path, suggest, "%s is not text", v)
		return
	}
	if len(fd.enum) > 0 && !contains(fd.enum, v.text) {
		d.wrong(v.pos, path, didYouMean(v.text, fd.enum), "%q is not one of %s", v.text, strings.Join(fd.enum, ", "))
		return
	}
	if fd.required && v.text == "" {
		d.wrong(v.pos, path, wantText(fd), "%s is empty", fd.name)
		return
	}
	rv.SetString(v.text)
}

func (d *decoder) span(rv reflect.Value, fd *field, v *value, path string) {
	if v.form == isNumber {
		d.wrong(v.pos, path, fmt.Sprintf(`write "%ss" for seconds`, v.text), "%s has no unit", v.text)
		return
	}
	if v.form != isText {
		d.wrong(v.pos, path, `as "30s", "10m" or "1h30m"`, "%s is not a duration", v)
		return
	}
	dur, err := time.ParseDuration(v.text)
	if err != nil {
		d.wrong(v.pos, path, spanHint(v.text), "%q is not a duration", v.text)
		return
	}
	if f := float64(dur); fd.min != nil && f < *fd.min {
		d.wrong(v.pos, path, "at least "+fd.minText, "%s is too short", v.text)
	} else if fd.max != nil && f > *fd.max {
		d.wrong(v.pos, path, "at most "+fd.maxText, "%s is too long", v.text)
	}
	rv.SetInt(int64(dur))
}

func spanHint(s string) string {
	s = strings.ReplaceAll(strings.ToLower(strings.TrimSpace(s)), " ", "")
	end := strings.IndexFunc(s, func(r rune) bool { return (r < '0' || r > '9') && r != '.' })
	if end > 0 {
		n, err := strconv.ParseFloat(s[:end], 64)
		unit := s[end:]
		hours := map[string]float64{"d": 24, "day": 24, "days": 24, "w": 168, "week": 168, "weeks": 168}[unit]
		short := map[string]string{"sec": "s", "secs": "s", "second": "s", "seconds": "s", "min": "m", "mins": "m", "minute": "m", "minutes": "m", "hr": "h", "hrs": "h", "hour": "h", "hours": "h", "msec": "ms"}[unit]
		if err == nil && hours > 0 {
			return fmt.Sprintf("write %gh", n*hours)
		}
		if err == nil && short != "" {
			return "write " + s[:end] + short
		}
	}
	return `as "30s", "10m" or "1h30m"`
}

func (d *decoder) number(rv reflect.Value, fd *field, v *value, path string) {
	if v.form != isNumber {
		d.wrong(v.pos, path, numberHint(v), "%s is not %s", v, fd.shape.typ.article())
		return
	}
	f, err := strconv.ParseFloat(v.text, 64)
	if err != nil || math.IsInf(f, 0) || math.IsNaN(f) {
		d.wrong(v.pos, path, "", "%s is not a finite number", v.text)
		return
	}
	if fd.shape.typ.Whole && f != math.Trunc(f) {
		d.wrong(v.pos, path, fmt.Sprintf("write %.0f or %.0f", math.Floor(f), math.Ceil(f)), "%s is not a whole number", v.text)
		return
	}
	if !inside(fd, f) {
		d.wrong(v.pos, path, allowed(fd), "%s is out of bounds", v.text)
		return
	}
	switch rv.Kind() {
	case reflect.Float32, reflect.Float64:
		rv.SetFloat(f)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		if f < 0 || rv.OverflowUint(uint64(f)) {
			d.wrong(v.pos, path, "", "%s is out of bounds", v.text)
			return
		}
		rv.SetUint(uint64(f))
	default:
		i, err := strconv.ParseInt(v.text, 10, 64)
		if err != nil {
			i = int64(f)
		}
		if rv.OverflowInt(i) || math.Abs(f) > math.MaxInt64/2 {
			d.wrong(v.pos, path, "", "%s is out of bounds", v.text)
			return
		}
		rv.SetInt(i)
	}
}

func inside(fd *field, f float64) bool {
	return (fd.min == nil || f >= *fd.min) && (fd.max == nil || f <= *fd.max)
}

func allowed(fd *field) string {
	switch {
	case fd.min != nil && fd.max != nil:
		return fmt.Sprintf("allowed: %s to %s", fd.minText, fd.maxText)
	case fd.min != nil:
		return "at least " + fd.minText
	}
	return "at most " + fd.maxText
}

func numberHint(v *value) string {
	if v.form != isText {
		return ""
	}
	s := strings.TrimSpace(v.text)
	if jsonNumber.MatchString(s) {
		return fmt.Sprintf("write %s without quotes", s)
	}
	if pct, ok := strings.CutSuffix(s, "%"); ok {
		if f, err := strconv.ParseFloat(strings.TrimSpace(pct), 64); err == nil {
			return fmt.Sprintf("write %g", f/100)
		}
	}
	if parts := strings.Fields(s); len(parts) > 1 && jsonNumber.MatchString(parts[0]) {
		return "the values of a list have commas between them: " + strings.Join(parts, ", ")
	}
	return ""
}

func contains(list []string, s string) bool {
	for _, e := range list {
		if e == s {
			return true
		}
	}
	return false
}
