package profile

import "slices"

// Family is a sort of kernel: what a [Scale] corrects together.
type Family string

// The families.
const (
	MLP  Family = "mlp"  // projections, MLP, norms, embedding, head, sampler
	Attn Family = "attn" // attention and saving its keys and values
	Comm Family = "comm" // collectives between cards
)

// Table is what a file says of one operator: its time at every size that was
// measured.
type Table struct {
	File   string // relative to the profile
	Op     string // name of the operator in that file
	Family Family
	PerLayer,
	Once int // how often a step pays: PerLayer × layers + Once
	Axes []string // names of the columns of Row.At, as in the file
	Rows []Row    // in the order of the file
}

// Row is one measured size of an operator.
type Row struct {
	At   []float64 // along Table.Axes
	Time float64   // seconds
	Line int       // in the file, from 1
}

// Range is the measured span of one axis of a table.
type Range struct{ Min, Max float64 }

// Range returns the span of an axis; ok is false where the table has no such
// axis or no rows.
func (t *Table) Range(axis string) (r Range, ok bool) {
	for i, name := range t.Axes {
		if name != axis {
			continue
		}
		for n, row := range t.Rows {
			if n == 0 {
				r = Range{row.At[i], row.At[i]}
			}
			r.Min, r.Max = min(r.Min, row.At[i]), max(r.Max, row.At[i])
		}
		return r, len(t.Rows) > 0
	}
	return Range{}, false
}

// knots returns the distinct values along axis i, ascending.
func (t *Table) knots(i int) []float64 {
	vals := make([]float64, len(t.Rows))
	for n, row := range t.Rows {
		vals[n] = row.At[i]
	}
	slices.Sort(vals)
	return slices.Compact(vals)
}

// median of a sample; it sorts its argument. Rows that repeat a size are
// measured twice, and one slow repetition must not move the knot.
func median(v []float64) float64 {
	slices.Sort(v)
	n := len(v)
	if n%2 == 1 {
		return v[n/2]
	}
	return (v[n/2-1] + v[n/2]) / 2
}

// points1 collapses a one-axis table to distinct knots and their medians.
func (t *Table) points1() (x, y []float64) {
	at := map[float64][]float64{}
	for _, row := range t.Rows {
		at[row.At[0]] = append(at[row.At[0]], row.Time)
	}
	x = t.knots(0)
	y = make([]float64, len(x))
	for i, v := range x {
		y[i] = median(at[v])
	}
	return x, y
}

// key2 names a cell of a two-axis table.
type key2 [2]float64

// cells2 collapses a table to the medians at distinct (a, b).
func (t *Table) cells2(a, b int) map[key2]float64 {
	all := map[key2][]float64{}
	for _, row := range t.Rows {
		k := key2{row.At[a], row.At[b]}
		all[k] = append(all[k], row.Time)
	}
	out := make(map[key2]float64, len(all))
	for k, v := range all {
		out[k] = median(v)
	}
	return out
}
