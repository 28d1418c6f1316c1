package stats

import "math/rand/v2"

// Plan says how a sample of several runs is resampled. Elements are numbered
// through, run after run.
type Plan struct {
	Runs  []int  // elements of each run
	Block int    // consecutive elements drawn together; 0 keeps runs whole
	Units bool   // runs are drawn too, with replacement
	Seed  uint64 // of the randomness
}

// Resampling is one draw of a [Plan] as counts: how often each run and each
// element occurs.
type Resampling struct {
	Units    []int32 // by run
	Elements []int32 // by element
	change   []int32
	slots    []int
	whole    []int32
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
	n, longest := 0, 0
	for _, size := range p.Runs {
		n += size
		longest = max(longest, size)
	}
	r.Units = zeroed(r.Units, len(p.Runs))
	r.Elements = zeroed(r.Elements, n)
	r.slots = r.slots[:0]
	pick := rand.New(rand.NewPCG(p.Seed, uint64(i)<<16))
	for slot := range p.Runs {
		run := slot
		if p.Units {
			run = pick.IntN(len(p.Runs))
		}
		r.Units[run]++
		r.slots = append(r.slots, run)
	}
	if p.Block < 1 {
		p.expand(r.Units, r.Elements)
		return
	}
	r.change = zeroed(r.change, longest+1)
	for slot, run := range r.slots {
		p.blocks(rand.New(rand.NewPCG(p.Seed, uint64(i)<<16|uint64(slot+1))), run, r)
	}
}

// Whole is the weighting of a draw without its blocks: every element occurs
// as often as its run. It is valid until the next draw.
func (p Plan) Whole(r *Resampling) []int32 {
	r.whole = zeroed(r.whole, len(r.Elements))
	p.expand(r.Units, r.whole)
	return r.whole
}

func (p Plan) expand(units, elements []int32) {
	at := 0
	for run, size := range p.Runs {
		for range size {
			elements[at] = units[run]
			at++
		}
	}
}

// blocks adds one resampled copy of a run.
func (p Plan) blocks(rng *rand.Rand, run int, r *Resampling) {
	from := 0
	for _, size := range p.Runs[:run] {
		from += size
	}
	size := p.Runs[run]
	if size == 0 {
		return
	}
	change := r.change[:size+1]
	clear(change)
	for left := size; left > 0; left -= p.Block {
		length := min(p.Block, left)
		start := int(rng.Float64() * float64(size))
		if end := start + length; end <= size {
			change[start]++
			change[end]--
		} else { // round the end of the run
			change[start]++
			change[size]--
			change[0]++
			change[end-size]--
		}
	}
	count := int32(0)
	for j := range size {
		count += change[j]
		r.Elements[from+j] += count
	}
}

func zeroed(x []int32, n int) []int32 {
	if cap(x) < n {
		return make([]int32, n)
	}
	x = x[:n]
	clear(x)
	return x
}
