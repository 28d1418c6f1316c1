package compare

import (
	"hash/fnv"
	"math"
	"runtime"
	"sync"

	"calrun/internal/stats"
	"calrun/internal/trace"
)

// family is the points that one resampling draws together for one metric:
// all rates of a sweep, or one probe, or the replay.
type family struct {
	samples []*sample
	plan    stats.Plan
	scale   []float64 // by sample: of deviations, so that the tails of a gate's level are honest
	draws   int
}

// families groups the samples of one metric. Points of a sweep with the same
// runs of the same lengths share their draws; judged says which samples may
// lengthen the common block.
func families(samples []*sample, opt Options, judged func(*sample) bool) []*family {
	var out []*family
	byShape := map[string]*family{}
	for _, s := range samples {
		key := s.pair.shape()
		f := byShape[key]
		if f == nil {
			f = &family{draws: opt.Draws, plan: stats.Plan{Runs: s.pair.runs, Seed: opt.Seed}}
			if g := s.pair.measured.Group; g != trace.Sweep {
				f.plan.Seed ^= hash(key) // probes and replay are experiments of their own
			}
			byShape[key] = f
			out = append(out, f)
		}
		f.samples = append(f.samples, s)
	}
	for _, f := range out {
		f.settle(opt, judged)
	}
	return out
}

// shape names what must be equal for two points to share their draws.
func (p *pair) shape() string {
	key := []byte(p.measured.Group)
	if p.measured.Group != trace.Sweep {
		key = append(key, p.measured.Name...)
	}
	for i, n := range p.runs {
		key = append(key, '/', byte(p.seeds[i]), byte(p.seeds[i]>>8), byte(n), byte(n>>8), byte(n>>16))
	}
	return string(key)
}

func hash(s string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(s))
	return h.Sum64()
}

// settle decides the units of resampling and how far their deviations fall
// short.
//
//   - Several seeds of a sweep: seeds, then blocks inside. The part of a
//     deviation that comes from the seeds is scaled by √(k/(k−1))·t₍k−1₎/z.
//   - Three repeats of a replay and more: repeats alone, scaled likewise.
//   - Else blocks. What they cut off at their edges and their small number are
//     made good by 1/√share · √(B/(B−1))·t₍B−1₎/z.
func (f *family) settle(opt Options, judged func(*sample) bool) {
	runs := len(f.plan.Runs)
	group := f.samples[0].pair.measured.Group
	longest := 1
	for _, n := range f.plan.Runs {
		longest = max(longest, n)
	}
	f.plan.Block = 1
	for _, s := range f.samples {
		if judged(s) {
			f.plan.Block = max(f.plan.Block, min(s.block, longest))
		}
	}
	f.scale = make([]float64, len(f.samples))
	switch {
	case group == trace.Replay && runs >= replayRepeats:
		f.plan.Block = 0
		f.plan.Units = true
	case group == trace.Sweep && runs > 1:
		f.plan.Units = true
	}
	for i, s := range f.samples {
		if f.plan.Units {
			s.scaled = runs
			f.scale[i] = stats.SmallSample(runs, opt.tail())
			continue
		}
		blocks := 0
		for _, n := range f.plan.Runs {
			blocks += n / f.plan.Block
		}
		s.scaled = max(blocks, 2)
		f.scale[i] = stats.SmallSample(s.scaled, opt.tail()) / math.Sqrt(s.memory.BlockShare(f.plan.Block))
	}
}

// draw fills the replicates of every sample. Draws are independent of each
// other, so that the number of processors changes nothing but the time.
func (f *family) draw() {
	for _, s := range f.samples {
		for k := range s.draws.value {
			s.draws.value[k] = make([]float64, f.draws)
			s.draws.null[k] = make([]float64, f.draws)
		}
		for k := range s.draws.measured {
			s.draws.measured[k] = make([]float64, f.draws)
		}
	}
	workers := min(runtime.GOMAXPROCS(0), f.draws)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			var r stats.Resampling
			for d := w * f.draws / workers; d < (w+1)*f.draws/workers; d++ {
				f.plan.Draw(d, &r)
				for i, s := range f.samples {
					f.one(d, i, s, &r)
				}
			}
		})
	}
	wg.Wait()
	for _, s := range f.samples {
		s.centre()
		if f.plan.Units {
			s.repeat()
		}
	}
}

// distanceDraws is in how many draws of several seeds a perfect simulator's
// distances are computed: they cost most, and 400 settle a share of 95 %.
const distanceDraws = 400

// repeat gives the further draws the distances of the first ones.
func (s *sample) repeat() {
	for k := ratios; k < figureCount; k++ {
		for d := distanceDraws; d < len(s.draws.null[k]); d++ {
			s.draws.null[k][d] = s.draws.null[k][d-distanceDraws]
		}
	}
}

// one makes draw d of a sample.
func (f *family) one(d, i int, s *sample, r *stats.Resampling) {
	var outer, inner figures // the drawn runs as they are, and with blocks
	far := !f.plan.Units || d < distanceDraws
	share := 1 / float64(len(s.runs))
	for slot, k := range r.Slots {
		outer.add(s.runs[k].at, share)
		if f.plan.Block > 0 {
			g := s.runs[k].figures(s.metric, r.Weights[slot])
			if far {
				s.runs[k].far(&g, r.Weights[slot])
			}
			inner.add(g, share)
		}
	}
	if f.plan.Units { // seeds alone tell the spread of distances; a perfect simulator's come from inside a seed
		inner.dist = outer.dist
	}
	if !far {
		inner.nullDist = outer.nullDist // until [sample.repeat]
	}
	if f.plan.Block == 0 {
		inner = outer
	}
	s.keep(d, f.combine(i, outer, inner))
}

// combine scales a draw's deviation from the estimate. With units, outer is
// the draw of the units and inner adds blocks to it: only the first falls
// short. Without, the whole deviation is the blocks'.
func (f *family) combine(i int, outer, inner figures) figures {
	at, scale := f.samples[i].at, f.scale[i]
	mix := func(at, outer, inner float64) float64 {
		if f.plan.Units {
			return at + scale*(outer-at) + (inner - outer)
		}
		return at + scale*(inner-at)
	}
	out := inner
	for side := range out.log {
		for k := range out.log[side] {
			out.log[side][k] = mix(at.log[side][k], outer.log[side][k], inner.log[side][k])
		}
	}
	for k := range out.dist {
		out.dist[k] = max(0, mix(at.dist[k], outer.dist[k], inner.dist[k]))
		out.nullDist[k] = max(0, mix(at.nullDist[k], outer.nullDist[k], inner.nullDist[k]))
	}
	return out
}

// keep stores a draw. Ratios stay logarithms until [sample.centre].
func (s *sample) keep(d int, f figures) {
	for k := range ratios {
		s.draws.value[k][d] = f.log[sim][k] - f.log[eng][k]
		s.draws.measured[k][d] = f.log[eng][k]
	}
	for k := range f.dist {
		s.draws.value[ratios+k][d] = f.dist[k]
		s.draws.null[ratios+k][d] = f.nullDist[k]
	}
}

// centre makes the null draws of ratios, ln(S/R) less its mean over draws, and
// turns logarithms into errors.
func (s *sample) centre() {
	for k := range ratios {
		centre := stats.Mean(s.draws.value[k])
		for d, l := range s.draws.value[k] {
			s.draws.null[k][d] = math.Expm1(l - centre)
			s.draws.value[k][d] = math.Expm1(l)
		}
	}
}
