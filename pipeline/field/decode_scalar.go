package field

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"calrun/pipeline/document"
	"calrun/pipeline/suggest"
)

// scalar fills a bool, a number, a text or a duration.
func (d *Decoder) scalar(rv reflect.Value, fd *Field, v *document.Value, path string) {
	switch fd.Shape.Type.Sort {
	case Bool:
		if v.Form != document.Bool {
			d.wrong(v.Pos, path, boolHint(v), "%s is not true or false", v)
			return
		}
		rv.SetBool(v.Flag)
	case Text:
		d.text(rv, fd, v, path)
	case Span:
		d.span(rv, fd, v, path)
	case Number:
		d.number(rv, fd, v, path)
	}
}

func boolHint(v *document.Value) string {
	switch strings.ToLower(v.Text) {
	case "yes", "on", "y":
		return "write true"
	case "no", "off", "n":
		return "write false"
	}
	if v.Form == document.Text && (v.Text == "true" || v.Text == "false") {
		return fmt.Sprintf("write %s without quotes", v.Text)
	}
	return ""
}

func (d *Decoder) text(rv reflect.Value, fd *Field, v *document.Value, path string) {
	if v.Form != document.Text {
		suggest := ""
		if v.Form == document.Number || v.Form == document.Bool {
			suggest = fmt.Sprintf("write %q", v.String())
		}
		d.wrong(v.Pos, path, suggest, "%s is not text", v)
		return
	}
	if len(fd.enum) > 0 && !slices.Contains(fd.enum, v.Text) {
		d.wrong(v.Pos, path, suggest.DidYouMean(v.Text, fd.enum), "%q is not one of %s", v.Text, strings.Join(fd.enum, ", "))
		return
	}
	if fd.required && v.Text == "" {
		d.wrong(v.Pos, path, wantText(fd), "%s is empty", fd.Name)
		return
	}
	rv.SetString(v.Text)
}

func (d *Decoder) span(rv reflect.Value, fd *Field, v *document.Value, path string) {
	if v.Form == document.Number {
		d.wrong(v.Pos, path, fmt.Sprintf(`write "%ss" for seconds`, v.Text), "%s has no unit", v.Text)
		return
	}
	if v.Form != document.Text {
		d.wrong(v.Pos, path, `as "30s", "10m" or "1h30m"`, "%s is not a duration", v)
		return
	}
	dur, err := time.ParseDuration(v.Text)
	if err != nil {
		d.wrong(v.Pos, path, spanHint(v.Text), "%q is not a duration", v.Text)
		return
	}
	if f := float64(dur); fd.min != nil && f < *fd.min {
		d.wrong(v.Pos, path, "at least "+fd.minText, "%s is too short", v.Text)
	} else if fd.max != nil && f > *fd.max {
		d.wrong(v.Pos, path, "at most "+fd.maxText, "%s is too long", v.Text)
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

func (d *Decoder) number(rv reflect.Value, fd *Field, v *document.Value, path string) {
	if v.Form != document.Number {
		d.wrong(v.Pos, path, numberHint(v), "%s is not %s", v, fd.Shape.Type.Article())
		return
	}
	f, err := strconv.ParseFloat(v.Text, 64)
	if err != nil || math.IsInf(f, 0) || math.IsNaN(f) {
		d.wrong(v.Pos, path, "", "%s is not a finite number", v.Text)
		return
	}
	if fd.Shape.Type.Whole && f != math.Trunc(f) {
		d.wrong(v.Pos, path, fmt.Sprintf("write %.0f or %.0f", math.Floor(f), math.Ceil(f)), "%s is not a whole number", v.Text)
		return
	}
	if !inside(fd, f) {
		d.wrong(v.Pos, path, allowed(fd), "%s is out of bounds", v.Text)
		return
	}
	switch rv.Kind() {
	case reflect.Float32, reflect.Float64:
		rv.SetFloat(f)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		if f < 0 || rv.OverflowUint(uint64(f)) {
			d.wrong(v.Pos, path, "", "%s is out of bounds", v.Text)
			return
		}
		rv.SetUint(uint64(f))
	default:
		i, err := strconv.ParseInt(v.Text, 10, 64)
		if err != nil {
			i = int64(f)
		}
		if rv.OverflowInt(i) || math.Abs(f) > math.MaxInt64/2 {
			d.wrong(v.Pos, path, "", "%s is out of bounds", v.Text)
			return
		}
		rv.SetInt(i)
	}
}

func inside(fd *Field, f float64) bool {
	return (fd.min == nil || f >= *fd.min) && (fd.max == nil || f <= *fd.max)
}

func allowed(fd *Field) string {
	switch {
	case fd.min != nil && fd.max != nil:
		return fmt.Sprintf("allowed: %s to %s", fd.minText, fd.maxText)
	case fd.min != nil:
		return "at least " + fd.minText
	}
	return "at most " + fd.maxText
}

func numberHint(v *document.Value) string {
	if v.Form != document.Text {
		return ""
	}
	s := strings.TrimSpace(v.Text)
	if document.IsNumber(s) {
		return fmt.Sprintf("write %s without quotes", s)
	}
	if pct, ok := strings.CutSuffix(s, "%"); ok {
		if f, err := strconv.ParseFloat(strings.TrimSpace(pct), 64); err == nil {
			return fmt.Sprintf("write %g", f/100)
		}
	}
	if parts := strings.Fields(s); len(parts) > 1 && document.IsNumber(parts[0]) {
		return "the values of a list have commas between them: " + strings.Join(parts, ", ")
	}
	return ""
}
