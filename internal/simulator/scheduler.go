package simulator

import (
	"fmt"
	"math"
)

// Scheduler decides step by step what an engine computes, as vLLM's V1
// scheduler does: one token budget a step; running sequences first, in order
// of admission, each decoding one token or going on with its prompt; then
// waiting ones, first come first served, while budget, sequences and blocks
// last. When blocks run out the latest running sequence is preempted: it
// gives up its blocks, goes to the head of the queue, and will prefill its
// prompt and what it had produced again; nobody is admitted in such a step.
//
// Use it in turns: [Scheduler.Add] any number of requests, [Scheduler.Next]
// for a batch, let the time of the step pass, [Scheduler.Done]. A step costs
// the same however many sequences decode. It is not safe for concurrent use.
type Scheduler struct {
	cfg  Config
	seqs []sequence
	free []int32 // unused slots

	queue   queue
	head    int32 // running, oldest
	tail    int32 // running, latest
	running int

	step    int     // steps done
	turn    int     // −step modulo the block size
	ends    []int32 // ring by step counter: first of the sequences that end there
	decodes int
	leads   int   // sum of lead over the decoding
	longest int   // largest lead of the decoding, where fresh
	fresh   bool  // longest is up to date
	crosses []int // decoding sequences by lead modulo the block size: they need a new block in the same step

	used, peak, room int      // blocks: held, most held, all that can be
	unused           freeList // in the order in which they are taken; with a prefix cache only
	shared           shared   // blocks that others may find; likewise
	sharing          bool     // somebody came who may share
	preempted        int
	admitted         int // how many were, preempted ones again

	partial int32 // running sequence with an unfinished prompt; at most one, the latest
	now     *frame
	ahead   *frame // with look-ahead: the step after now, decided and entered in the books
	decided bool   // ahead holds a step
	leaving int    // with look-ahead: sequences that end in a step under way
	mute    bool   // nobody calls Yields and Begins
}

// frame is one step from its decision to its end.
type frame struct {
	planned []plan
	batch   Batch
	out     Outcome
	held    int     // blocks of those that end here, of which nobody asks the order
	ended   []ended // others that end here
	// With look-ahead only, because the books are ahead of the step:
	yields, begins []int
	gone           int // sequences that end here
}

// ended is a sequence that ends in a step.
type ended struct {
	since int     // number of its admission
	own   int     // blocks that it shares with nobody
	held  []int32 // entries of the others
}

// plan is a chunk of the batch under way.
type plan struct {
	slot   int32
	tokens int
}

// Outcome is what a step brought. The slices belong to the scheduler and hold
// until its next Done.
type Outcome struct {
	First []int   // ids of those that got their first token
	Last  []int   // ids of those that got their last one and are gone
	Found []Found // those that were admitted to it and found part of their prompt in the cache
}

// Found is a request whose prompt was in the prefix cache in part.
type Found struct {
	ID     int
	Tokens int // of its prompt, not computed
}

// NewScheduler makes an idle scheduler.
func NewScheduler(cfg Config) (*Scheduler, error) {
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	s := &Scheduler{
		cfg: cfg, head: none, tail: none, partial: none,
		crosses: make([]int, cfg.BlockSize),
		room:    math.MaxInt,
		now:     &frame{}, ahead: &frame{},
		unused: freeList{head: none, tail: none},
	}
	if cfg.Blocks > 0 {
		s.room = cfg.Blocks - nullBlocks
		s.unused.push(none, none, s.room)
	}
	s.growEnds(64)
	return s, nil
}

// Add puts a request at the end of the queue. The id is the caller's and
// comes back in outcomes. keys are those of the full blocks of its prompt that
// others may have too, as [trace.Request.Keys] makes them; without a prefix
// cache they are not read, and nil shares nothing. A request that could never
// run is refused.
func (s *Scheduler) Add(id, prompt, output int, keys []uint64) error {
	if err := s.cfg.Fits(prompt, output); err != nil {
		return err
	}
	var slot int32
	if n := len(s.free); n > 0 {
		slot, s.free = s.free[n-1], s.free[:n-1]
	} else {
		s.seqs = append(s.seqs, sequence{})
		slot = int32(len(s.seqs) - 1)
	}
	s.seqs[slot] = sequence{id: id, prompt: prompt, output: output, prev: none, next: none, up: none, down: none, parked: none}
	if s.cfg.PrefixCache && len(keys) > 0 {
		s.seqs[slot].keys, s.sharing = keys[:min(len(keys), prompt/s.cfg.BlockSize)], true
	}
	s.growEnds(output + 1)
	s.queue.pushBack(slot)
	return nil
}

// Next decides what the next step computes; nil when there is nothing to do.
// The batch is the scheduler's and holds until Done.
func (s *Scheduler) Next() *Batch {
	if s.cfg.LookAhead {
		return s.nextAhead()
	}
	if s.running == 0 && s.queue.n == 0 {
		return nil
	}
	s.decide()
	return &s.now.batch
}

// decide plans a step into now and takes the blocks for it.
func (s *Scheduler) decide() {
	f := s.now
	f.planned = f.planned[:0]
	f.batch.Prefills = f.batch.Prefills[:0]
	f.out.Found = f.out.Found[:0]
	chunk, evicted := s.makeRoom()
	s.hold(s.newBlocks())
	if chunk > 0 {
		s.prefill(s.partial, chunk)
	}
	if !evicted {
		s.admit(s.cfg.MaxTokens - s.decodes - chunk)
	}
	s.peak = max(s.peak, s.used)
	f.batch.Decodes = s.decodes
	f.batch.DecodeContext = s.leads + s.decodes*s.step
	f.batch.MaxDecodeContext = s.maxContext()
	f.batch.Padding = 0
	if s.cfg.Graphs > 0 {
		f.batch.Padding = s.cfg.padding(f.batch.Tokens())
	}
}

// makeRoom preempts until the running sequences can have their blocks. It
// returns how many tokens the unfinished prompt goes on with.
//
// Asking for all blocks at once preempts the same sequences as asking one by
// one in order of admission: what the first i need grows with i, so somebody
// is refused exactly when the sum does not fit, and it is always the latest
// that goes.
func (s *Scheduler) makeRoom() (chunk int, evicted bool) {
	for {
		need := s.newBlocks()
		chunk = 0
		if s.partial != none {
			q := &s.seqs[s.partial]
			chunk = min(q.target-q.computed, s.cfg.MaxTokens-s.decodes)
			need += blocks(q.computed+chunk, s.cfg.BlockSize) - blocks(q.computed, s.cfg.BlockSize)
		}
		if need <= s.room-s.used {
			return chunk, evicted
		}
		s.preempt()
		evicted = true
	}
}

// newBlocks is how many decoding sequences begin a block in this step.
func (s *Scheduler) newBlocks() int { return s.crosses[s.turn] }

// tick counts a step.
func (s *Scheduler) tick() {
	s.step++
	if s.turn--; s.turn < 0 {
		s.turn = s.cfg.BlockSize - 1
	}
}

// admit lets waiting requests begin.
func (s *Scheduler) admit(budget int) {
	for s.queue.n > 0 && budget > 0 && s.running+s.leaving < s.cfg.MaxNumSeqs {
		slot := s.queue.at(0)
		q := &s.seqs[slot]
		q.target = q.prompt + q.produced
		hits := s.found(slot)
		found := hits.blocks() * s.cfg.BlockSize
		tokens := q.target - found
		if tokens > budget {
			if !s.cfg.Chunked {
				return
			}
			tokens = budget
		}
		need := found + tokens
		if s.cfg.WholePrompt {
			need = q.target
		}
		if blocks(need, s.cfg.BlockSize)-hits.busy > s.room-s.used {
			return
		}
		s.queue.popFront()
		s.claim(slot, hits)
		if found > 0 && !q.again {
			s.now.out.Found = append(s.now.out.Found, Found{q.id, found})
		}
		q.computed, q.phase = found, prefilling
		s.link(slot)
		s.prefill(slot, tokens)
		budget -= tokens
	}
}

// prefill puts a chunk into the batch and takes its blocks.
func (s *Scheduler) prefill(slot int32, tokens int) {
	q := &s.seqs[slot]
	s.now.batch.Prefills = append(s.now.batch.Prefills, Chunk{Tokens: tokens, Context: q.computed})
	s.now.planned = append(s.now.planned, plan{slot, tokens})
	s.hold(blocks(q.computed+tokens, s.cfg.BlockSize) - blocks(q.computed, s.cfg.BlockSize))
	s.publish(slot, q.computed+tokens)
}

// Yields calls f for every sequence that gets a token at the end of the step
// under way, in order of admission.
func (s *Scheduler) Yields(f func(id int)) {
	if s.cfg.LookAhead {
		each(s.now.yields, f)
		return
	}
	at, planned := 0, s.now.planned
	for slot := s.head; slot != none; slot = s.seqs[slot].next {
		q := &s.seqs[slot]
		if q.phase == decoding {
			f(q.id)
			continue
		}
		// What is prefilled stands in the plan in the same order.
		if at < len(planned) && planned[at].slot == slot {
			if q.computed+planned[at].tokens == q.target {
				f(q.id)
			}
			at++
		}
	}
}

// Begins calls f for every request that is computed for the first time in the
// step under way: its time in the queue is over.
func (s *Scheduler) Begins(f func(id int)) {
	if s.cfg.LookAhead {
		each(s.now.begins, f)
		return
	}
	for _, p := range s.now.planned {
		if q := &s.seqs[p.slot]; q.computed == 0 && q.produced == 0 && !q.began {
			q.began = true
			f(q.id)
		}
	}
}

func each(ids []int, f func(id int)) {
	for _, id := range ids {
		f(id)
	}
}

// Done ends the step that Next began.
func (s *Scheduler) Done() *Outcome {
	if s.cfg.LookAhead {
		return s.doneAhead()
	}
	s.enter()
	s.settle(s.now)
	return &s.now.out
}

// enter enters the step of now in the books: tokens, sequences that go on
// decoding, sequences that are through.
func (s *Scheduler) enter() {
	out := &s.now.out
	out.First, out.Last = out.First[:0], out.Last[:0]
	s.tick()
	for slot := s.ends[s.step&(len(s.ends)-1)]; slot != none; {
		after := s.seqs[slot].down
		out.Last = append(out.Last, s.seqs[slot].id)
		s.stopDecoding(slot)
		s.release(slot, s.seqs[slot].prompt+s.seqs[slot].output-1)
		slot = after
	}
	s.partial = none
	for _, p := range s.now.planned {
		q := &s.seqs[p.slot]
		q.computed += p.tokens
		if q.computed < q.target {
			s.partial = p.slot
			continue
		}
		q.produced++
		if q.produced == 1 {
			out.First = append(out.First, q.id)
		}
		if q.produced == q.output {
			out.Last = append(out.Last, q.id)
			s.release(p.slot, q.computed)
			continue
		}
		s.startDecoding(p.slot)
	}
	s.now.planned = s.now.planned[:0]
}

// Remove takes a request out, wherever it is, as when its client has gone. It
// must not be called between Next and Done. It says whether the id was there.
func (s *Scheduler) Remove(id int) bool {
	for i := range s.queue.n {
		if slot := s.queue.at(i); s.seqs[slot].id == id {
			s.forget(id)
			s.queue.remove(i)
			s.claim(slot, hits{})
			s.free = append(s.free, slot)
			return true
		}
	}
	for slot := s.head; slot != none; slot = s.seqs[slot].next {
		if s.seqs[slot].id != id {
			continue
		}
		s.forget(id)
		s.drop(slot, s.evict(slot))
		s.unlink(slot)
		s.free = append(s.free, slot)
		return true
	}
	return s.forget(id)
}

func (s *Scheduler) totals() (preemptions, peakBlocks int) { return s.preempted, s.peak }

// Preemptions is how often a running sequence had to give up its blocks.
func (s *Scheduler) Preemptions() int { return s.preempted }

// Running and Waiting count requests.
func (s *Scheduler) Running() int { return s.running + s.leaving }

// Waiting is how many requests are in the queue.
func (s *Scheduler) Waiting() int { return s.queue.n }

// Blocks are the KV blocks held now and the most that were ever held.
func (s *Scheduler) Blocks() (used, peak int) { return s.used, s.peak }

// mod is the remainder from 0 on.
func mod(a, n int) int { return ((a % n) + n) % n }

// String describes the state in one line, for errors and tests.
func (s *Scheduler) String() string {
	return fmt.Sprintf("step %d: %d running (%d decoding), %d waiting, %d blocks", s.step, s.running, s.decodes, s.queue.n, s.used)
}
