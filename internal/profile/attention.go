package profile

import "slices"

// fan is a function of two sizes that was measured as one line per value of
// the first, each with knots of its own, as prefill attention is: a line in
// the context for every chunk.
type fan struct {
	x     []float64
	lines []line
}

func fanOf(cells map[key2]float64) fan {
	by := map[float64]*line{}
	var keys []key2
	for k := range cells {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b key2) int { return slices.Compare(a[:], b[:]) })
	var f fan
	for _, k := range keys {
		l := by[k[0]]
		if l == nil {
			l = &line{}
			by[k[0]] = l
			f.x = append(f.x, k[0])
		}
		l.x, l.y = append(l.x, k[1]), append(l.y, cells[k])
	}
	slope := 0.0 // of the line before, per unit of the first size
	for _, x := range f.x {
		l := *by[x]
		if n := len(l.x); n > 1 {
			if x > 0 {
				slope = max(0, (l.y[n-1]-l.y[0])/(l.x[n-1]-l.x[0])/x)
			}
		} else if slope > 0 {
			// A chunk that was measured with one context alone: its cost
			// grows with the context as its neighbour's does, in proportion
			// to the queries.
			l.x = append(l.x, l.x[0]+1)
			l.y = append(l.y, l.y[0]+slope*x)
		}
		f.lines = append(f.lines, l)
	}
	return f
}

// knots2 are the distinct values of the second size.
func (f fan) knots2() []float64 {
	var all []float64
	for _, l := range f.lines {
		all = append(all, l.x...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// prefillGrid lays Vidur's attn_prefill on a full grid of chunk × context.
func prefillGrid(t *Table, times float64) *grid {
	f := fanOf(t.cells2(0, 1))
	y := f.knots2()
	g := newGrid([4][]float64{f.x, y, {0}, {0}})
	for i, l := range f.lines {
		for j, ctx := range y {
			*g.cell(i, j, 0, 0) = max(0, l.at(ctx)) * times
		}
	}
	return g
}

// decodeGrid lays Vidur's attn_decode on a full grid of sequences × context.
func decodeGrid(t *Table, times float64) *grid {
	f := fanOf(t.cells2(0, 1))
	y := f.knots2()
	g := newGrid([4][]float64{{0}, {0}, f.x, y})
	for k, l := range f.lines {
		for n, ctx := range y {
			*g.cell(0, 0, k, n) = max(0, l.at(ctx)) * times
		}
	}
	return g
}

// at interpolates between the lines. Nothing takes no time; beyond the last
// line the last slope goes on.
func (f fan) at(x, y float64) float64 {
	n := len(f.x)
	if x == 0 || n == 0 {
		return 0
	}
	i, found := slices.BinarySearch(f.x, x)
	if found || n == 1 || i == 0 {
		return f.lines[min(i, n-1)].at(y)
	}
	i = min(i, n-1)
	w := (x - f.x[i-1]) / (f.x[i] - f.x[i-1])
	return mix(f.lines[i-1].at(y), f.lines[i].at(y), w)
}

// joint lays LLMServingSim's attention on a full grid. Its file holds decode
// alone (chunk 0, context 0), prefill alone (0 sequences, context 0) and both
// together up to some number of sequences. What the file leaves out is filled
// in: along an axis that does not matter with the same value, and beyond the
// largest mixed batch with what decode alone grows by.
func (m *opModel) joint(t *Table, times float64) {
	var pre, dec []Row
	both := map[[4]float64][]float64{}
	for _, r := range t.Rows {
		switch {
		case r.At[0] == 0:
			dec = append(dec, Row{At: r.At[2:], Time: r.Time})
		case r.At[2] == 0:
			pre = append(pre, Row{At: r.At[:2], Time: r.Time})
		default:
			k := [4]float64(r.At)
			both[k] = append(both[k], r.Time)
			m.maxJoint = max(m.maxJoint, int(r.At[2]))
		}
	}
	prefill, decode := fanOf((&Table{Rows: pre}).cells2(0, 1)), fanOf((&Table{Rows: dec}).cells2(0, 1))
	ax := [4][]float64{union([]float64{0}, t.knots(0)), t.knots(1), union([]float64{0}, t.knots(2)), t.knots(3)}
	if len(ax[3]) > 1 && ax[3][0] == 0 && len(dec) > 0 {
		ax[3] = ax[3][1:] // the 0 of rows without a decode
	}
	g := newGrid(ax)
	for i, c := range ax[0] {
		for j, ctx := range ax[1] {
			for k, n := range ax[2] {
				for l, kv := range ax[3] {
					v := g.cell(i, j, k, l)
					s, measured := both[[4]float64{c, ctx, n, kv}]
					switch {
					case measured:
						*v = median(s)
					case n == 0:
						*v = prefill.at(c, ctx)
					case c == 0:
						*v = decode.at(n, kv)
					default:
						*v = max(0, *g.cell(i, j, k-1, l)+decode.at(n, kv)-decode.at(ax[2][k-1], kv))
					}
				}
			}
		}
	}
	for i := range g.val {
		g.val[i] *= times
	}
	m.attn = g
}

// union merges values, sorted and distinct.
func union(a, b []float64) []float64 {
	all := slices.Concat(a, b)
	slices.Sort(all)
	return slices.Compact(all)
}
