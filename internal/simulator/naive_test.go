package simulator

import "slices"

// naive is the scheduler written as vLLM's is: a list of running sequences
// walked in order, blocks taken one sequence at a time. It is slow and plain,
// and [Scheduler] must agree with it in every step.
type naive struct {
	cfg              Config
	waiting, running []*job
	free             []block
	preemptions      int
	now              []work
	ahead            []work // with look-ahead: the step after now
}

type job struct {
	id, prompt, output, produced, computed int
	held                                   []block
	over                                   bool // its last token is in a step that is decided
}

// block is a KV block: what it holds, if that has an identity.
type block struct {
	of *job
	at int // place in the sequence
}

type work struct {
	j               *job
	tokens, context int
	yields, last    bool
}

func newNaive(cfg Config) *naive {
	n := &naive{cfg: cfg}
	if cfg.Blocks > 0 {
		n.free = make([]block, cfg.Blocks-1)
	} else {
		n.free = make([]block, 1<<13)
	}
	return n
}

func (n *naive) add(id, prompt, output int) {
	n.waiting = append(n.waiting, &job{id: id, prompt: prompt, output: output})
}

// allocate takes the blocks for the job's tokens, or says that there are none.
func (n *naive) allocate(j *job, tokens int) bool {
	need := max(0, (tokens+n.cfg.BlockSize-1)/n.cfg.BlockSize-len(j.held))
	if need > len(n.free) {
		return false
	}
	for range need {
		n.free = n.free[1:]
		j.held = append(j.held, block{j, len(j.held)})
	}
	return true
}

// release frees a job's blocks, the last one first. If the job will come back
// those that are full keep their identity.
func (n *naive) release(j *job, back bool) {
	for i := len(j.held) - 1; i >= 0; i-- {
		b := block{}
		if back && (i+1)*n.cfg.BlockSize <= j.computed {
			b = block{j, i}
		}
		n.free = append(n.free, b)
	}
	j.held = nil
}

// hits takes the job's blocks that are still there out of the free ones.
func (n *naive) hits(j *job) (found []int) {
	if !n.cfg.PrefixCache || n.cfg.Blocks == 0 {
		return nil
	}
	for len(found) < (j.prompt+j.produced-1)/n.cfg.BlockSize {
		at := slices.Index(n.free, block{j, len(found)})
		if at < 0 {
			break
		}
		found = append(found, at)
	}
	return found
}

// next decides the step that begins now; with look-ahead it was decided when
// the one before it began, and the one after it is decided now.
func (n *naive) next() []work {
	if !n.cfg.LookAhead {
		n.now = n.decide()
		return n.now
	}
	if n.now = n.ahead; n.now == nil {
		n.now = n.decide()
		n.enter(n.now)
	}
	n.ahead = n.decide()
	n.enter(n.ahead)
	return n.now
}

func (n *naive) decide() (step []work) {
	budget, preempted := n.cfg.MaxTokens, false
	for i := 0; i < len(n.running) && budget > 0; i++ {
		j := n.running[i]
		if j.over {
			continue
		}
		tokens := min(j.prompt+j.produced-j.computed, budget)
		fits := true
		for !n.allocate(j, j.computed+tokens) {
			at := len(n.running) - 1
			for n.running[at].over {
				at--
			}
			last := n.running[at]
			n.running = append(n.running[:at:at], n.running[at+1:]...)
			n.release(last, true)
			last.computed = 0
			n.waiting = append([]*job{last}, n.waiting...)
			n.preemptions++
			preempted = true
			if last == j {
				fits = false
				break
			}
		}
		if !fits {
			break
		}
		step = append(step, work{j: j, tokens: tokens, context: j.computed})
		budget -= tokens
	}
	for !preempted && len(n.waiting) > 0 && budget > 0 && len(n.running) < n.cfg.MaxNumSeqs {
		j := n.waiting[0]
		hits := n.hits(j)
		all := j.prompt + j.produced
		cached := len(hits) * n.cfg.BlockSize
		tokens := all - cached
		if n.cfg.WholePrompt && (all+n.cfg.BlockSize-1)/n.cfg.BlockSize > len(n.free) {
			break
		}
		if tokens > budget {
			if !n.cfg.Chunked {
				break
			}
			tokens = budget
		}
		if (cached+tokens+n.cfg.BlockSize-1)/n.cfg.BlockSize > len(n.free) {
			break
		}
		for i := range hits {
			n.free = slices.DeleteFunc(n.free, func(b block) bool { return b == block{j, i} })
			j.held = append(j.held, block{j, i})
		}
		for i, b := range n.free { // what was not found again has no identity any more
			if b.of == j {
				n.free[i] = block{}
			}
		}
		j.computed = cached
		n.allocate(j, cached+tokens)
		n.waiting = n.waiting[1:]
		n.running = append(n.running, j)
		step = append(step, work{j: j, tokens: tokens, context: j.computed})
		budget -= tokens
	}
	return step
}

// enter counts what a step computes.
func (n *naive) enter(step []work) {
	for i, w := range step {
		w.j.computed += w.tokens
		if w.j.computed < w.j.prompt+w.j.produced {
			continue
		}
		w.j.produced++
		step[i].yields = true
		if w.j.produced == w.j.output {
			step[i].last = true
			w.j.over = true
		}
	}
}

// done returns the ids that got a token and those that are through.
func (n *naive) done() (tokens, last []int) {
	if !n.cfg.LookAhead {
		n.enter(n.now)
	}
	for _, w := range n.now {
		if w.yields {
			tokens = append(tokens, w.j.id)
		}
		if w.last {
			last = append(last, w.j.id)
			n.release(w.j, false)
			i := slices.Index(n.running, w.j)
			n.running = append(n.running[:i:i], n.running[i+1:]...)
		}
	}
	return tokens, last
}

// batch sums up the step: tokens computed, and tokens that were in the cache.
func (n *naive) batch() (tokens, context int) {
	for _, w := range n.now {
		tokens += w.tokens
		context += w.context
	}
	return tokens, context
}
