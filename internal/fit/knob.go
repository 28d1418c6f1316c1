package fit

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"strings"

	"calrun/internal/trace"
)

// Simulate runs a simulator with the given knob values and yields the points
// that a fit compares: the same requests in the same order as the measured
// ones. It must be a pure function of the values.
type Simulate func(ctx context.Context, p Params) ([]trace.Point, error)

// Value is a knob and where it stands.
type Value struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
}

// Params are the values of a problem's knobs, in its order.
type Params []Value

// Get is the value of a knob, false if it is not among the params.
func (p Params) Get(name string) (float64, bool) {
	for _, v := range p {
		if v.Name == name {
			return v.Value, true
		}
	}
	return 0, false
}

// String is "k_mlp=1.15 cpu_overhead_s=0.0025".
func (p Params) String() string {
	words := make([]string, len(p))
	for i, v := range p {
		words[i] = v.Name + "=" + strconv.FormatFloat(v.Value, 'g', 6, 64)
	}
	return strings.Join(words, " ")
}

// Knob is a parameter that may be turned, and how far.
type Knob struct {
	Name    string
	Lo, Hi  float64 // inclusive bounds
	Start   float64 // where it stands now; may lie outside the bounds, and is then only ever kept as it is
	Integer bool    // whole numbers only

	// Spread is how far from its start one would believe the knob before any
	// measurement, 0 for no belief; where Factor is set, the logarithm of a
	// ratio. It weighs as little as priorRow says.
	Spread float64
	Factor bool
}

// Check says what is wrong with a knob's numbers.
func (k Knob) Check() error {
	for _, v := range []float64{k.Lo, k.Hi, k.Start} {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return fmt.Errorf("knob %s: bounds [%g, %g] and start %g must be finite", k.Name, k.Lo, k.Hi, k.Start)
		}
	}
	if k.Lo >= k.Hi {
		return fmt.Errorf("knob %s: the range [%g, %g] leaves nothing to choose; its first number must be the smaller", k.Name, k.Lo, k.Hi)
	}
	if k.Integer && math.Floor(k.Hi) < math.Ceil(k.Lo) {
		return fmt.Errorf("knob %s: there is no whole number in [%g, %g]", k.Name, k.Lo, k.Hi)
	}
	return nil
}

// logarithmic says whether the knob is searched by ratio: a factor or a count
// whose range spans more than a factor of four. A range that touches 0 is
// searched by difference.
func (k Knob) logarithmic() bool { return k.Lo > 0 && k.Hi/k.Lo > 4 }

// at is the knob's value at place u of its range, u in [0,1].
func (k Knob) at(u float64) float64 {
	u = min(max(u, 0), 1)
	v := k.Lo + u*(k.Hi-k.Lo)
	if k.logarithmic() {
		v = k.Lo * math.Pow(k.Hi/k.Lo, u)
	}
	if k.Integer {
		v = math.Round(v)
		return min(max(v, math.Ceil(k.Lo)), math.Floor(k.Hi))
	}
	return min(max(rounded(v), k.Lo), k.Hi)
}

// rounded is v to six digits: more than any fit can mean, and what reports
// print is then what was simulated.
func rounded(v float64) float64 {
	if r, err := strconv.ParseFloat(strconv.FormatFloat(v, 'g', 6, 64), 64); err == nil {
		return r
	}
	return v
}

// place is the inverse of at: where a value lies in the range, clipped to it.
func (k Knob) place(v float64) float64 {
	v = min(max(v, k.Lo), k.Hi)
	if k.logarithmic() {
		return math.Log(v/k.Lo) / math.Log(k.Hi/k.Lo)
	}
	return (v - k.Lo) / (k.Hi - k.Lo)
}

// step is how far one turns the knob, as a share of its range, to see what it
// does: at least two whole numbers for one that counts.
func (k Knob) step(share, u float64) float64 {
	if !k.Integer {
		return share
	}
	v := k.at(u)
	next := min(v+2, math.Floor(k.Hi))
	if next <= v {
		next = max(v-2, math.Ceil(k.Lo))
	}
	return max(share, math.Abs(k.place(next)-k.place(v)))
}

// AtBound is "low", "high" or "": within a thousandth of an end of the range.
func (k Knob) AtBound(v float64) string {
	switch u := k.place(v); {
	case u <= 1e-3:
		return "low"
	case u >= 1-1e-3:
		return "high"
	}
	return ""
}
