package simulator

import "slices"

// naive is the scheduler written as vLLM's is: a list of running sequences
// walked in order, blocks taken one sequence at a time. It is slow and plain,
// and [Scheduler] must agree with it in every step.
type naive struct {
	cfg              Config
	waiting, running []*job
	all, free        []*block
	entered          int
	preemptions      int
	now              []work
	ahead            []work // with look-ahead: the step after now
}

type job struct {
	id, prompt, output, produced, computed int
	keys                                   []uint64 // of the blocks of its prompt that others may have
	held                                   []*block
	again                                  bool
	over                                   bool // its last token is in a step that is decided
}

// block is a KV block: what it holds, if that has an identity.
type block struct {
	of    *job // a preempted sequence of which it holds
	at    int  // this place
	key   uint64
	since int // when it got its key, from 1; 0: it has none
	refs  int
}

type work struct {
	j               *job
	tokens, context int
	yields, last    bool
	hit             int // tokens of its prompt that were found when it was admitted first
}

func newNaive(cfg Config) *naive {
	n := &naive{cfg: cfg}
	size := 1 << 13
	if cfg.Blocks > 0 {
		size = cfg.Blocks - 1
	}
	for range size {
		n.all = append(n.all, &block{})
	}
	n.free = slices.Clone(n.all)
	return n
}

func (n *naive) add(id, prompt, output int, keys []uint64) {
	if !n.cfg.PrefixCache {
		keys = nil
	}
	n.waiting = append(n.waiting, &job{id: id, prompt: prompt, output: output, keys: keys})
}

// allocate takes the blocks for the job's tokens, or says that there are none.
func (n *naive) allocate(j *job, tokens int) bool {
	need := max(0, (tokens+n.cfg.BlockSize-1)/n.cfg.BlockSize-len(j.held))
	if need > len(n.free) {
		return false
	}
	for range need {
		*n.free[0] = block{refs: 1}
		j.held = append(j.held, n.free[0])
		n.free = n.free[1:]
	}
	for i, key := range j.keys {
		if (i+1)*n.cfg.BlockSize <= tokens && j.held[i].since == 0 {
			n.entered++
			j.held[i].key, j.held[i].since = key, n.entered
		}
	}
	return true
}

// release frees a job's blocks, the last one first. If the job will come back
// those that are full keep their identity.
func (n *naive) release(j *job, back bool) {
	for i := len(j.held) - 1; i >= 0; i-- {
		b := j.held[i]
		if b.refs--; b.refs > 0 {
			continue
		}
		if back && b.since == 0 && (i+1)*n.cfg.BlockSize <= j.computed {
			b.of, b.at = j, i
		}
		n.free = append(n.free, b)
	}
	j.held = nil
}

// hits are the job's blocks that are still there, and how many of them somebody
// holds.
func (n *naive) hits(j *job) (found []*block, busy int) {
	if !n.cfg.PrefixCache {
		return nil, 0
	}
	for len(found) < (j.prompt+j.produced-1)/n.cfg.BlockSize {
		var hit *block
		for _, b := range n.all {
			switch at := len(found); {
			case at >= len(j.keys):
				if b.of == j && b.at == at {
					hit = b
				}
			case b.since > 0 && b.key == j.keys[at] && (hit == nil || b.since < hit.since):
				hit = b
			}
		}
		if hit == nil {
			break
		}
		found = append(found, hit)
		if hit.refs > 0 {
			busy++
		}
	}
	return found, busy
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
			last.computed, last.again = 0, true
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
		hits, busy := n.hits(j)
		all := j.prompt + j.produced
		cached := len(hits) * n.cfg.BlockSize
		tokens := all - cached
		if n.cfg.WholePrompt && (all+n.cfg.BlockSize-1)/n.cfg.BlockSize-busy > len(n.free) {
			break
		}
		if tokens > budget {
			if !n.cfg.Chunked {
				break
			}
			tokens = budget
		}
		if (cached+tokens+n.cfg.BlockSize-1)/n.cfg.BlockSize-busy > len(n.free) {
			break
		}
		for _, hit := range hits {
			if hit.refs == 0 {
				n.free = slices.DeleteFunc(n.free, func(b *block) bool { return b == hit })
			}
			hit.refs++
			j.held = append(j.held, hit)
		}
		for _, b := range n.all { // what was not found again has no identity any more
			if b.of == j {
				b.of = nil
			}
		}
		j.computed = cached
		n.allocate(j, cached+tokens)
		n.waiting = n.waiting[1:]
		n.running = append(n.running, j)
		w := work{j: j, tokens: tokens, context: j.computed}
		if !j.again {
			w.hit = cached
		}
		step = append(step, w)
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
