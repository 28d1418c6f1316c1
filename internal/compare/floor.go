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
		for k := range s.draws.floorMeasured {
			s.draws.floorMeasured[k] = make([]float64, opt.Draws)
		}
	}
	pairs := make([][][]floorFigures, len(samples))
	for i, s := range samples {
		pairs[i] = s.against()
	}
	for d := range opt.Draws {
		rng := rand.New(rand.NewPCG(opt.Seed^hash("floor"), uint64(d)))
		one := rng.IntN(runs)
		others := make([]int, runs-1)
		for k := range others {
			others[k] = rng.IntN(runs - 1)
			if others[k] >= one {
				others[k]++
			}
		}
		for i, s := range samples {
			for k := range ratios {
				for _, other := range others {
					s.draws.floorMeasured[k][d] += s.runs[other].at.log[eng][k] / float64(len(others))
				}
			}
			for k := range figureCount {
				sum := 0.0
				for _, other := range others {
					sum += pairs[i][one][other][k]
				}
				sum /= float64(len(others))
				if k < ratios {
					sum = math.Expm1(sum)
				}
				s.draws.floor[k][d] = sum
			}
		}
	}
	for _, s := range samples { // whole repeats were drawn, inside which nothing tells how far a perfect simulator lies
		copy(s.draws.null[ks], s.draws.floor[ks])
		copy(s.draws.null[w1], s.draws.floor[w1])
	}
}

// floorFigures are ln of the ratios, and the distances, of one repeat to
// another.
type floorFigures [figureCount]float64

// against sets every repeat's measured side against every other's.
func (s *sample) against() [][]floorFigures {
	out := make([][]floorFigures, len(s.runs))
	for a, one := range s.runs {
		out[a] = make([]floorFigures, len(s.runs))
		for b, other := range s.runs {
			f := &out[a][b]
			for k := range ratios {
				f[k] = one.at.log[eng][k] - other.at.log[eng][k]
			}
			mine, theirs := one.ranked[eng].Values(), other.ranked[eng].Values()
			f[ks] = stats.KS(mine, theirs)
			f[w1] = stats.W1(mine, theirs) / stats.Mean(theirs)
			sum, n := 0.0, 0.0
			for i := range min(len(one.side[eng]), len(other.side[eng])) {
				if x := residual(s.metric, other.side[eng][i], one.side[eng][i]); !math.IsNaN(x) {
					sum += math.Abs(math.Expm1(x))
					n++
				}
			}
			f[perRequest] = sum / n
		}
	}
	return out
}
