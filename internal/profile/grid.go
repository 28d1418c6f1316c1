package profile

import "sort"

// axis finds the cell of a value among sorted, distinct knots in constant
// time.
type axis struct {
	knots []float64
	cell  []uint16 // by the whole part of a value: index of the knot at or below it
}

func newAxis(knots []float64) axis {
	a := axis{knots: knots}
	n := int(knots[len(knots)-1])
	a.cell = make([]uint16, n+1)
	for v := range a.cell {
		i := sort.SearchFloat64s(knots, float64(v)+1) - 1
		a.cell[v] = uint16(min(max(i, 0), max(len(knots)-2, 0)))
	}
	return a
}

// find returns the knot below v and the weight of the one above. Below the
// first knot the weight is 0: the value is held. Above the last it exceeds 1:
// the last slope goes on, and outside is true.
func (a *axis) find(v float64) (i int, w float64, outside bool) {
	k := a.knots
	last := len(k) - 1
	switch {
	case v <= k[0] || last == 0:
		return 0, 0, v > k[last]
	case v >= k[last]:
		i = last - 1
		outside = v > k[last]
	default:
		i = int(a.cell[int(v)])
	}
	return i, (v - k[i]) / (k[i+1] - k[i]), outside
}

// grid is a multilinear function of four variables on a full grid; a function
// of fewer has axes with the single knot 0.
type grid struct {
	ax     [4]axis
	stride [4]int
	val    []float64
}

func newGrid(knots [4][]float64) *grid {
	g := &grid{}
	n := 1
	for d := 3; d >= 0; d-- {
		g.ax[d] = newAxis(knots[d])
		g.stride[d] = n
		n *= len(knots[d])
	}
	g.val = make([]float64, n)
	return g
}

// cell is the place of the cell at the given knots.
func (g *grid) cell(i, j, k, l int) *float64 {
	return &g.val[i*g.stride[0]+j*g.stride[1]+k*g.stride[2]+l*g.stride[3]]
}

// at interpolates between the corners of the cell that holds p. It never
// yields less than nothing, however far it is asked to extrapolate.
func (g *grid) at(p [4]float64) (v float64, outside bool) {
	var (
		step [4]int // strides and weights of the axes on which p lies between knots
		w    [4]float64
		n    int
		base int
	)
	for d := range p {
		i, wd, out := g.ax[d].find(p[d])
		outside = outside || out
		base += i * g.stride[d]
		if wd != 0 {
			step[n], w[n] = g.stride[d], wd
			n++
		}
	}
	var corner [16]float64
	for m := 0; m < 1<<n; m++ {
		at := base
		for b := 0; b < n; b++ {
			if m>>b&1 == 1 {
				at += step[b]
			}
		}
		corner[m] = g.val[at]
	}
	for b := n - 1; b >= 0; b-- {
		half := 1 << b
		for m := 0; m < half; m++ {
			corner[m] = mix(corner[m], corner[m+half], w[b])
		}
	}
	return max(corner[0], 0), outside
}

// plane is at where only two axes vary, a before b, and the others stand at
// their first knot: the same value, to the bit, in a third of the time.
func (g *grid) plane(a, b int, x, y float64) (v float64, outside bool) {
	i, wx, out := g.ax[a].find(x)
	j, wy, outside := g.ax[b].find(y)
	at := i*g.stride[a] + j*g.stride[b]
	v = g.along(at, b, wy)
	if wx != 0 {
		v = mix(v, g.along(at+g.stride[a], b, wy), wx)
	}
	return max(v, 0), out || outside
}

// along interpolates from a corner to the next knot of an axis.
func (g *grid) along(at, axis int, w float64) float64 {
	if w == 0 {
		return g.val[at]
	}
	return mix(g.val[at], g.val[at+g.stride[axis]], w)
}
