package profile

import "sort"

// maxKnot bounds the integer lookups: no engine step has a million tokens.
const maxKnot = 1 << 20

// line is a piecewise-linear function on sorted, distinct knots. Below the
// first knot it is held (a kernel does not get cheaper than its launch), above
// the last it goes on with its last slope.
type line struct{ x, y []float64 }

func (l line) at(v float64) float64 {
	n := len(l.x)
	if n == 0 {
		return 0
	}
	if v <= l.x[0] || n == 1 {
		return l.y[0]
	}
	i := sort.SearchFloat64s(l.x, v)
	i = min(max(i, 1), n-1)
	w := (v - l.x[i-1]) / (l.x[i] - l.x[i-1])
	return mix(l.y[i-1], l.y[i], w)
}

// mix is linear interpolation. The conversion forbids a fused multiply-add,
// so that every machine gets the same bits.
func mix(a, b, w float64) float64 { return a + float64((b-a)*w) }

// curve is a line tabulated at every integer up to its last knot: operators
// are asked for whole tokens and whole sequences, millions of times.
type curve struct {
	val   []float64
	slope float64 // beyond the last
	last  int
}

// add lays times×line onto the curve. Knots and lengths may differ: beyond a
// line's own last knot its slope goes on.
func (c *curve) add(l line, times float64) {
	if len(l.x) == 0 || times == 0 {
		return
	}
	last := int(l.x[len(l.x)-1])
	if len(c.val) == 0 {
		c.last = last
	}
	// The sum is measured only where each of its terms is.
	c.last = min(c.last, last)
	for n := len(c.val); n <= last; n++ {
		c.val = append(c.val, c.beyond(n))
	}
	for n := range c.val {
		c.val[n] += float64(times * l.at(float64(n)))
	}
	n := len(c.val)
	c.slope = 0
	if n > 1 {
		c.slope = max(0, c.val[n-1]-c.val[n-2])
	}
}

func (c *curve) beyond(n int) float64 {
	if len(c.val) == 0 {
		return 0
	}
	return c.val[len(c.val)-1] + float64(c.slope*float64(n-len(c.val)+1))
}

// at returns the value, and whether n is beyond what was measured. An empty
// curve is 0 everywhere.
func (c *curve) at(n int) (v float64, outside bool) {
	if n < len(c.val) {
		return c.val[n], n > c.last
	}
	return c.beyond(n), len(c.val) > 0
}
