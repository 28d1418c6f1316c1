package simulator

// naive is the scheduler written as vLLM's is: a list of running sequences
// walked in order, blocks taken one sequence at a time. It is slow and plain,
// and [Scheduler] must agree with it in every step.
type naive struct {
	cfg              Config
	waiting, running []*job
	free             int
	preemptions      int
	now              []work
}

type job struct{ id, prompt, output, produced, computed, held int }

type work struct {
	j      *job
	tokens int
}

func newNaive(cfg Config) *naive {
	n := &naive{cfg: cfg, free: 1 << 40}
	if cfg.Blocks > 0 {
		n.free = cfg.Blocks - 1
	}
	return n
}

func (n *naive) add(id, prompt, output int) {
	n.waiting = append(n.waiting, &job{id: id, prompt: prompt, output: output})
}

// allocate takes the blocks for the job's tokens, or says that there are none.
func (n *naive) allocate(j *job, tokens int) bool {
	need := (tokens+n.cfg.BlockSize-1)/n.cfg.BlockSize - j.held
	if need > n.free {
		return false
	}
	n.free -= max(need, 0)
	j.held += max(need, 0)
	return true
}

func (n *naive) release(j *job) {
	n.free += j.held
	j.held = 0
}

func (n *naive) next() []work {
	n.now = nil
	budget, preempted := n.cfg.MaxTokens, false
	for i := 0; i < len(n.running) && budget > 0; i++ {
		j := n.running[i]
		tokens := min(j.prompt+j.produced-j.computed, budget)
		fits := true
		for !n.allocate(j, j.computed+tokens) {
			last := n.running[len(n.running)-1]
			n.running = n.running[:len(n.running)-1]
			n.release(last)
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
		n.now = append(n.now, work{j, tokens})
		budget -= tokens
	}
	for !preempted && len(n.waiting) > 0 && budget > 0 && len(n.running) < n.cfg.MaxNumSeqs {
		j := n.waiting[0]
		tokens := j.prompt + j.produced
		if n.cfg.WholePrompt && (tokens+n.cfg.BlockSize-1)/n.cfg.BlockSize > n.free {
			break
		}
		if tokens > budget {
			if !n.cfg.Chunked {
				break
			}
			tokens = budget
		}
		if !n.allocate(j, tokens) {
			break
		}
		n.waiting = n.waiting[1:]
		n.running = append(n.running, j)
		n.now = append(n.now, work{j, tokens})
		budget -= tokens
	}
	return n.now
}

// done returns the ids that got a token and those that are through.
func (n *naive) done() (tokens, last []int) {
	for _, w := range n.now {
		w.j.computed += w.tokens
		if w.j.computed < w.j.prompt+w.j.produced {
			continue
		}
		w.j.produced++
		tokens = append(tokens, w.j.id)
		if w.j.produced == w.j.output {
			last = append(last, w.j.id)
			n.release(w.j)
			for i, r := range n.running {
				if r == w.j {
					n.running = append(n.running[:i:i], n.running[i+1:]...)
					break
				}
			}
		}
	}
	return tokens, last
}

// batch sums up the step: tokens computed, and tokens that were in the cache.
func (n *naive) batch() (tokens, context int) {
	for _, w := range n.now {
		tokens += w.tokens
		context += w.j.computed
	}
	return tokens, context
}
