package report

import (
	"html/template"
	"math"
)

// The tolerances that colour a cell which no gate reads: 5 % for the middle of
// a distribution and 15 % for its tail.
const (
	usualLimit     = 0.05
	usualTailLimit = 0.15
)

// limit is the tolerated error of a cell.
func (c Cell) limit() float64 {
	switch {
	case c.Limit > 0:
		return c.Limit
	case c.Quantile == "p50" || c.Quantile == "mean":
		return usualLimit
	}
	return usualTailLimit
}

// tone is how a cell stands to its tolerance: ok (inside, with all of its
// interval), over (outside, with all of it), near (the interval crosses the
// tolerance), or doubt.
func (c Cell) tone() string {
	if c.Doubt != "" || math.IsNaN(c.Bias) {
		return "doubt"
	}
	lim := c.limit()
	lo, hi := c.Bias, c.Bias
	if c.Lo != nil && c.Hi != nil {
		lo, hi = min(*c.Lo, lo), max(*c.Hi, hi)
	}
	switch {
	case lo > -lim && hi < lim:
		return "ok"
	case lo >= lim || hi <= -lim:
		return "over"
	}
	return "near"
}

// reach is the half-width of the error axis that all cells of a page share:
// as far as the cells of the means go, and twice the widest tolerance at
// least. What lies beyond it ends in an arrow: an overloaded point must not
// squeeze all others into a dot.
func reach(points []Point) float64 {
	r := 0.0
	for _, p := range points {
		for _, c := range p.Cells {
			r = max(r, 2*c.limit())
			if p.Apart || c.Doubt != "" {
				continue
			}
			r = max(r, math.Abs(c.Bias))
			if c.Lo != nil && c.Hi != nil {
				r = max(r, math.Abs(*c.Lo), math.Abs(*c.Hi))
			}
		}
	}
	for _, round := range []float64{0.1, 0.2, 0.3, 0.4} {
		if r <= round {
			return round
		}
	}
	return 0.5
}

// whisker draws the error of a cell on the shared axis: the tolerance as a
// band, zero as a line, the interval as a bar, the estimate as a dot.
func whisker(c Cell, reach float64) template.HTML {
	const w, h, pad = 124, 14, 6
	v := newCanvas(w, h)
	x := axis{lo: -reach, hi: reach, from: pad, to: w - pad}
	lim := c.limit()
	v.rect("band", x.at(-lim), 1, x.at(lim)-x.at(-lim), h-2)
	v.line("zero", x.at(0), 0, x.at(0), h)
	label := "error " + signed(c.Bias)
	if c.Lo != nil && c.Hi != nil {
		v.line("bar "+c.tone(), x.at(*c.Lo), h/2, x.at(*c.Hi), h/2)
		v.arrow(c.tone(), *c.Lo < -reach, x.from, -1)
		v.arrow(c.tone(), *c.Hi > reach, x.to, 1)
		label += ", interval " + signed(*c.Lo) + " to " + signed(*c.Hi)
	}
	if math.Abs(c.Bias) <= reach {
		v.dot("dot "+c.tone(), x.at(c.Bias), h/2, 3)
	} else {
		v.arrow(c.tone(), true, x.at(c.Bias), math.Copysign(1, c.Bias))
	}
	return v.draw("whisker", label)
}

// arrow marks that something goes on beyond the axis.
func (c *canvas) arrow(tone string, show bool, x, dir float64) {
	if show {
		y := c.h / 2
		c.path("beyond "+tone, [][2]float64{{x, y - 4}, {x + 4*dir, y}, {x, y + 4}})
	}
}

// share draws a part of a whole.
func share(part float64) template.HTML {
	const w, h = 120, 10
	v := newCanvas(w, h)
	v.rect("whole", 0, 1, w, h-2)
	v.rect("part", 0, 1, w*min(max(part, 0), 1), h-2)
	return v.draw("lanes", percent(part))
}
