package compare

import (
	"fmt"
	"math"
)

// kneeRise is how far P99 E2E must lie above its value at the lowest rate.
const kneeRise = 1.5

// The states of a knee.
const (
	bracketed = "bracketed"
	below     = "below" // of the lowest rate: it is overloaded already
	above     = "above" // of the highest rate: no crossing that stays crossed
)

// kneeOf finds the rate at which P99 E2E first exceeds 1.5 times its value at
// the lowest rate and stays above, log-linear (ln of the value over ln of the
// rate) between the two rates that bracket it. Rates ascend. The rate is NaN
// where it is not bracketed. low says that the lowest rate is overloaded, so
// that no value is left to compare with.
func kneeOf(rates, p99 []float64, low bool) (rate float64, state string) {
	if low {
		return math.NaN(), below
	}
	n := len(rates)
	for _, v := range p99 {
		if math.IsNaN(v) {
			return math.NaN(), above
		}
	}
	crossed := n
	for crossed > 0 && p99[crossed-1] > kneeRise*p99[0] {
		crossed--
	}
	if crossed == n || crossed == 0 {
		return math.NaN(), above
	}
	y0, y1 := math.Log(p99[crossed-1]), math.Log(p99[crossed])
	x0, x1 := math.Log(rates[crossed-1]), math.Log(rates[crossed])
	part := (math.Log(kneeRise*p99[0]) - y0) / (y1 - y0)
	return math.Exp(x0 + part*(x1-x0)), bracketed
}

// kneeReason says what to do about a side that is not bracketed.
func kneeReason(side, state string, rates []float64) string {
	switch {
	case len(rates) == 0:
		return "the measurement has no sweep"
	case state == below:
		return fmt.Sprintf("the %s is overloaded at the lowest rate: add rates below %s", side, short(rates[0]))
	default:
		return fmt.Sprintf("the %s's P99 E2E does not leave the ground: add rates above %s", side, short(rates[len(rates)-1]))
	}
}

func short(x float64) string { return fmt.Sprintf("%g", x) }
