package compare

import (
	"math"
	"math/rand/v2"

	"calrun/internal/stats"
	"calrun/internal/trace"
)

// floorDraws sets the engine against itself: in each draw one repeat of the
// replay stands for the simulation, and as many repeats as are left, drawn
// from those with replacement, for the measurement. All samples of the point
// share the draw.
func floorDraws(samples []*sample, opt Options) {
	if len(samples) == 0 {
		return
	}
	p := samples[0].pair
	runs := len(p.runs)
	if p.measured.Group != trace.Replay || runs < replayRepeats {
		return
	}
	for _, s := range samples {
		for k := range s.draws.floor {
			s.draws.floor[k] = make([]float64, opt.Draws)
		}
	}
	known := map[string][]floorFigures{}
	units := make([]int32, runs)
	for d := range opt.Draws {
		rng := rand.New(rand.NewPCG(opt.Seed^hash("floor"), uint64(d)))
		one := rng.IntN(runs)
		clear(units)
		for range runs - 1 {
			other := rng.IntN(runs - 1)
			if other >= one {
				other++
			}
			units[other]++
		}
		key := string(rune(one)) + unitKey(units)
		f, ok := known[key]
		if !ok {
			for _, s := range samples {
				f = append(f, s.against(one, units))
			}
			known[key] = f
		}
		for i, s := range samples {
			for k, v := range f[i] {
				s.draws.floor[k][d] = v
			}
		}
	}
}

// floorFigures are errors and distances of one repeat against others.
type floorFigures [figureCount]float64

func (s *sample) against(one int, units []int32) floorFigures {
	var f floorFigures
	values := s.pair.side(s.metric)[eng]
	var mine, theirs []float64
	rel, pairs := 0.0, 0.0
	from := make([]int, len(units))
	for k := 1; k < len(units); k++ {
		from[k] = from[k-1] + s.pair.runs[k-1]
	}
	for k, count := range units {
		for i := range s.pair.runs[k] {
			v := values[from[k]+i]
			if math.IsNaN(v) {
				continue
			}
			if k == one {
				mine = append(mine, v)
			}
			for range count {
				theirs = append(theirs, v)
			}
			if i < s.pair.runs[one] && count > 0 {
				if own := values[from[one]+i]; !math.IsNaN(own) {
					rel += float64(count) * math.Abs(math.Expm1(logOf(own)-logOf(v)))
					pairs += float64(count)
				}
			}
		}
	}
	mine, theirs = stats.Sorted(mine), stats.Sorted(theirs)
	for k, q := range levels {
		f[k] = math.Expm1(logOf(stats.Quantile(mine, q)) - logOf(stats.Quantile(theirs, q)))
	}
	f[mean] = math.Expm1(logOf(stats.Mean(mine)) - logOf(stats.Mean(theirs)))
	f[ks] = stats.KS(mine, theirs)
	f[w1] = stats.W1(mine, theirs) / stats.Mean(theirs)
	f[perRequest] = rel / pairs
	return f
}
