package stats

import (
	"cmp"
	"math"
	"slices"
)

// Ranked is a sample sorted once, so that every resampling of it is a count
// per element and its quantiles cost one pass, no sort.
type Ranked struct {
	values []float64 // ascending
	index  []int32   // place of each in the sample as given
}

// Rank sorts a sample. NaN values are left out: they stand for elements that
// have no value.
func Rank(x []float64) Ranked {
	var r Ranked
	for i, v := range x {
		if !math.IsNaN(v) {
			r.index = append(r.index, int32(i))
		}
	}
	slices.SortStableFunc(r.index, func(a, b int32) int { return cmp.Compare(x[a], x[b]) })
	r.values = make([]float64, len(r.index))
	for i, at := range r.index {
		r.values[i] = x[at]
	}
	return r
}

// Values are the values in order; they must not be changed.
func (r Ranked) Values() []float64 { return r.values }

// Quantiles puts the quantiles qs (ascending) of the sample in which element
// i occurs weight[i] times into out. It equals [Quantile] of that sample
// written out; NaN if it is empty.
func (r Ranked) Quantiles(weight []int32, qs, out []float64) {
	total := 0
	for _, at := range r.index {
		total += int(weight[at])
	}
	if total == 0 {
		for i := range qs {
			out[i] = math.NaN()
		}
		return
	}
	at, seen := -1, 0 // seen elements of the written-out sample up to and with place at
	for i, q := range qs {
		h := float64(total-1) * min(max(q, 0), 1)
		lo := int(h)
		for seen <= lo {
			at++
			seen += int(weight[r.index[at]])
		}
		x := r.values[at]
		if part := h - float64(lo); part > 0 && lo < total-1 {
			next := at
			if seen <= lo+1 {
				for next++; weight[r.index[next]] == 0; next++ {
				}
			}
			x = lerp(x, r.values[next], part)
		}
		out[i] = x
	}
}

// Merged holds two paired samples in one order, for distances of their
// resamplings.
type Merged struct {
	index []int32
	sign  []int32   // +1 of the first sample, −1 of the second
	width []float64 // to the next value; 0 inside a tie and at the end
	base  []float64 // F_a − F_b after each value, of the samples as given
}

// Merge sorts two samples of the same length together; elements that are NaN
// in either are left out of both.
func Merge(a, b []float64) Merged {
	type entry struct {
		value float64
		at    int32
		sign  int32
	}
	var all []entry
	for i := range a {
		if !math.IsNaN(a[i]) && !math.IsNaN(b[i]) {
			all = append(all, entry{a[i], int32(i), 1}, entry{b[i], int32(i), -1})
		}
	}
	slices.SortStableFunc(all, func(x, y entry) int { return cmp.Compare(x.value, y.value) })
	m := Merged{
		index: make([]int32, len(all)), sign: make([]int32, len(all)),
		width: make([]float64, len(all)), base: make([]float64, len(all)),
	}
	d := int32(0)
	for i, e := range all {
		m.index[i], m.sign[i] = e.at, e.sign
		if i+1 < len(all) {
			m.width[i] = all[i+1].value - e.value
		}
		d += e.sign
		m.base[i] = float64(d) / float64(len(all)/2)
	}
	return m
}

// Distances are KS and W1 of one resampling, and of the same with the
// distance of the samples as given taken away: how far two samples of one
// distribution lie apart at this n.
type Distances struct {
	KS, W1         float64
	NullKS, NullW1 float64
}

// Distances computes the distances when element i occurs weight[i] times in
// both samples.
func (m Merged) Distances(weight []int32) Distances {
	total := int32(0)
	for i, at := range m.index {
		if m.sign[i] > 0 {
			total += weight[at]
		}
	}
	if total == 0 {
		nan := math.NaN()
		return Distances{nan, nan, nan, nan}
	}
	var out Distances
	one := 1 / float64(total)
	d := int32(0)
	for i, at := range m.index {
		d += m.sign[i] * weight[at]
		width := m.width[i]
		if width == 0 {
			continue
		}
		diff := float64(d) * one
		off := math.Abs(diff - m.base[i])
		diff = math.Abs(diff)
		out.KS = max(out.KS, diff)
		out.NullKS = max(out.NullKS, off)
		out.W1 += diff * width
		out.NullW1 += off * width
	}
	return out
}
