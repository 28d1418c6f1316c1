package stats

import "math/rand/v2"

// Plan says how a sample of several runs is resampled.
type Plan struct {
	Runs  []int  // elements of each run
	Block int    // consecutive elements drawn together; 0 keeps runs whole
	Units bool   // runs are drawn too, with replacement
	Seed  uint64 // of the randomness
}

// Resampling is one draw of a [Plan]: which run stands in each slot, and how
// often each of its elements occurs there. Weights are nil where runs stay
// whole.
type Resampling struct {
	Slots   []int
	Weights [][]int32
}

// Draw makes the i-th draw into r, whose memory it reuses. Runs are drawn
// first; then, inside each drawn run, circular blocks that start anywhere
// (Politis and Romano 1992), so that every element is as likely as any other;
// the last block is cut so that a run keeps its length.
//
// A draw depends on the seed and i alone: two plans of the same runs draw the
// same runs, and with the same block length the same blocks, whatever they
// are applied to. That is what makes points of a sweep and metrics move
// together.
func (p Plan) Draw(i int, r *Resampling) {
	if len(r.Slots) != len(p.Runs) {
		r.Slots, r.Weights = make([]int, len(p.Runs)), make([][]int32, len(p.Runs))
	}
	pick := rand.New(rand.NewPCG(p.Seed, uint64(i)<<16))
	for slot := range p.Runs {
		r.Slots[slot] = slot
		if p.Units {
			r.Slots[slot] = pick.IntN(len(p.Runs))
		}
	}
	for slot, run := range r.Slots {
		if p.Block < 1 {
			r.Weights[slot] = nil
			continue
		}
		rng := rand.New(rand.NewPCG(p.Seed, uint64(i)<<16|uint64(slot+1)))
		r.Weights[slot] = p.blocks(rng, p.Runs[run], r.Weights[slot])
	}
}

// blocks counts the elements of one resampled run: +1 where a block starts,
// −1 behind its end, then sums.
func (p Plan) blocks(rng *rand.Rand, size int, weight []int32) []int32 {
	weight = zeroed(weight, size+1)
	for left := size; left > 0; left -= p.Block {
		length := min(p.Block, left)
		start := int(rng.Float64() * float64(size))
		weight[start]++
		if end := start + length; end <= size {
			weight[end]--
		} else { // round the end of the run
			weight[size]--
			weight[0]++
			weight[end-size]--
		}
	}
	count := int32(0)
	for j := range size {
		count += weight[j]
		weight[j] = count
	}
	return weight[:size]
}

func zeroed(x []int32, n int) []int32 {
	if cap(x) < n {
		return make([]int32, n)
	}
	x = x[:n]
	clear(x)
	return x
}
