package report

import (
	"fmt"
	"html"
	"html/template"
	"math"
	"strconv"
	"strings"
)

// canvas builds one SVG drawing. Colours are not here: every mark has a
// class, and the page's style sheet colours it for light, dark and paper.
type canvas struct {
	w, h float64
	b    strings.Builder
}

// newCanvas starts a drawing of w × h pixels.
func newCanvas(w, h float64) *canvas { return &canvas{w: w, h: h} }

// px writes a coordinate: a tenth of a pixel is finer than any screen, and
// the same number is always the same text.
func px(v float64) string {
	return strconv.FormatFloat(math.Round(v*10)/10+0, 'f', -1, 64)
}

func (c *canvas) line(class string, x1, y1, x2, y2 float64) {
	fmt.Fprintf(&c.b, `<line class="%s" x1="%s" y1="%s" x2="%s" y2="%s"/>`, class, px(x1), px(y1), px(x2), px(y2))
}

func (c *canvas) rect(class string, x, y, w, h float64) {
	fmt.Fprintf(&c.b, `<rect class="%s" x="%s" y="%s" width="%s" height="%s"/>`, class, px(x), px(y), px(w), px(h))
}

func (c *canvas) dot(class string, x, y, r float64) {
	fmt.Fprintf(&c.b, `<circle class="%s" cx="%s" cy="%s" r="%s"/>`, class, px(x), px(y), px(r))
}

// path draws a broken line through points; a NaN lifts the pen.
func (c *canvas) path(class string, points [][2]float64) {
	var d strings.Builder
	pen := "M"
	for _, p := range points {
		if math.IsNaN(p[0]) || math.IsNaN(p[1]) {
			pen = "M"
			continue
		}
		d.WriteString(pen + px(p[0]) + " " + px(p[1]))
		pen = "L"
	}
	if d.Len() > 0 {
		fmt.Fprintf(&c.b, `<path class="%s" d="%s"/>`, class, d.String())
	}
}

// text writes s with its anchor (start, middle, end) at x and base line at y.
func (c *canvas) text(class, anchor string, x, y float64, s string) {
	fmt.Fprintf(&c.b, `<text class="%s" text-anchor="%s" x="%s" y="%s">%s</text>`, class, anchor, px(x), px(y), html.EscapeString(s))
}

// draw ends the drawing. label is what a screen reader says in its place.
func (c *canvas) draw(class, label string) template.HTML {
	return template.HTML(fmt.Sprintf(`<svg class="%s" viewBox="0 0 %s %s" width="%s" height="%s" role="img" aria-label="%s">%s</svg>`,
		class, px(c.w), px(c.h), px(c.w), px(c.h), html.EscapeString(label), c.b.String())) //nolint:gosec // every text in it went through html.EscapeString
}

// axis maps values onto pixels, linear or logarithmic.
type axis struct {
	lo, hi   float64 // values
	from, to float64 // pixels
	log      bool
}

// at is the pixel of v, held inside the axis.
func (a axis) at(v float64) float64 {
	lo, hi := a.lo, a.hi
	if a.log {
		v, lo, hi = math.Log(v), math.Log(lo), math.Log(hi)
	}
	if hi <= lo {
		return (a.from + a.to) / 2
	}
	t := min(max((v-lo)/(hi-lo), 0), 1)
	return a.from + t*(a.to-a.from)
}

// ticks are at most n+1 round values inside the axis.
func (a axis) ticks(n int) []float64 {
	if a.log {
		return a.decades(n)
	}
	raw := (a.hi - a.lo) / float64(n)
	if raw <= 0 || math.IsNaN(raw) || math.IsInf(raw, 0) {
		return []float64{a.lo}
	}
	mag := math.Pow(10, math.Floor(math.Log10(raw)))
	step := 10 * mag
	for _, m := range []float64{1, 2, 2.5, 5} {
		if m*mag >= raw {
			step = m * mag
			break
		}
	}
	var out []float64
	for i := math.Ceil(a.lo/step - 1e-9); i*step <= a.hi+step*1e-9; i++ {
		out = append(out, i*step)
	}
	return out
}

// decades are 1, 2 and 5 times powers of ten, or the powers alone where the
// first would be more than n+1.
func (a axis) decades(n int) []float64 {
	for _, ms := range [][]float64{{1, 2, 5}, {1}} {
		var out []float64
		for e := math.Floor(math.Log10(a.lo)); e <= math.Ceil(math.Log10(a.hi)); e++ {
			for _, m := range ms {
				if v := m * math.Pow(10, e); v >= a.lo*(1-1e-9) && v <= a.hi*(1+1e-9) {
					out = append(out, v)
				}
			}
		}
		if len(out) <= n+1 && len(out) > 0 {
			return out
		}
	}
	return []float64{a.lo, a.hi}
}
