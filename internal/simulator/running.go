package simulator

import (
	"cmp"
	"slices"
)

// The lists of running sequences: all of them in order of admission, and the
// decoding ones by the step at which they end.

// link puts a slot at the end of the running.
func (s *Scheduler) link(slot int32) {
	q := &s.seqs[slot]
	q.prev, q.next = s.tail, none
	if s.tail == none {
		s.head = slot
	} else {
		s.seqs[s.tail].next = slot
	}
	s.tail = slot
	s.running++
	q.since = s.admitted
	s.admitted++
}

// unlink takes a slot out of the running.
func (s *Scheduler) unlink(slot int32) {
	q := &s.seqs[slot]
	if q.prev == none {
		s.head = q.next
	} else {
		s.seqs[q.prev].next = q.next
	}
	if q.next == none {
		s.tail = q.prev
	} else {
		s.seqs[q.next].prev = q.prev
	}
	s.running--
}

// startDecoding is called when the prompt is in the cache and the step counter
// has gone on.
func (s *Scheduler) startDecoding(slot int32) {
	q := &s.seqs[slot]
	q.phase = decoding
	q.lead = q.computed - s.step
	q.ends = s.step + q.output - q.produced
	s.decodes++
	s.leads += q.lead
	s.crosses[mod(q.lead, s.cfg.BlockSize)]++
	if s.fresh && (s.decodes == 1 || q.lead > s.longest) {
		s.longest = q.lead
	}
	s.file(slot)
}

// stopDecoding takes a slot out of the sums and brings produced up to date.
func (s *Scheduler) stopDecoding(slot int32) {
	q := &s.seqs[slot]
	q.produced = q.output - (q.ends - s.step)
	s.decodes--
	s.leads -= q.lead
	s.crosses[mod(q.lead, s.cfg.BlockSize)]--
	if q.lead == s.longest {
		s.fresh = false
	}
	if q.up == none {
		s.ends[q.ends&(len(s.ends)-1)] = q.down
	} else {
		s.seqs[q.up].down = q.down
	}
	if q.down != none {
		s.seqs[q.down].up = q.up
	}
	q.phase = waiting
}

// file puts a decoding slot into the list of its last step.
func (s *Scheduler) file(slot int32) {
	q := &s.seqs[slot]
	at := &s.ends[q.ends&(len(s.ends)-1)]
	q.up, q.down = none, *at
	if *at != none {
		s.seqs[*at].up = slot
	}
	*at = slot
}

// growEnds makes the ring long enough for sequences of that many tokens.
func (s *Scheduler) growEnds(tokens int) {
	size := max(64, len(s.ends))
	for size < tokens+1 {
		size *= 2
	}
	if size == len(s.ends) {
		return
	}
	s.ends = make([]int32, size)
	for i := range s.ends {
		s.ends[i] = none
	}
	for slot := s.tail; slot != none; slot = s.seqs[slot].prev {
		if s.seqs[slot].phase == decoding {
			s.file(slot)
		}
	}
}

// maxContext is the longest context among the decoding.
func (s *Scheduler) maxContext() int {
	if s.decodes == 0 {
		return 0
	}
	if !s.fresh {
		first := true
		for slot := s.head; slot != none; slot = s.seqs[slot].next {
			if q := &s.seqs[slot]; q.phase == decoding && (first || q.lead > s.longest) {
				s.longest, first = q.lead, false
			}
		}
		s.fresh = true
	}
	return s.longest + s.step
}

// preempt sends the latest running sequence back to the head of the queue.
func (s *Scheduler) preempt() {
	slot := s.tail
	s.park(slot, s.evict(slot))
	s.unlink(slot)
	s.queue.pushFront(slot)
	s.seqs[slot].again = true
	s.preempted++
}

// evict stops a running sequence and says how many tokens it has in the cache.
func (s *Scheduler) evict(slot int32) (cached int) {
	q := &s.seqs[slot]
	cached = q.computed
	if q.phase == decoding {
		cached = q.lead + s.step
		s.stopDecoding(slot)
	}
	if s.partial == slot {
		s.partial = none
	}
	q.phase = waiting
	return cached
}

// release gives back the slot of a sequence that is through. Its blocks go when
// the step in which it ends is over: see [Scheduler.settle].
func (s *Scheduler) release(slot int32, cached int) {
	q, own := &s.seqs[slot], blocks(cached, s.cfg.BlockSize)
	if s.sharing {
		s.now.ended = append(s.now.ended, ended{since: q.since, own: own - len(q.held), held: q.held})
		q.held = nil
	} else {
		s.now.held += own
	}
	if s.cfg.LookAhead {
		s.now.gone++
		s.leaving++
	}
	s.unlink(slot)
	s.free = append(s.free, slot)
}

// settle frees the blocks of those that ended in a step. In which order they
// go matters only where others may find them: it is that of admission, in which
// vLLM goes through a step's requests.
func (s *Scheduler) settle(f *frame) {
	s.giveBack(f.held)
	f.held = 0
	if len(f.ended) == 0 {
		return
	}
	slices.SortFunc(f.ended, func(a, b ended) int { return cmp.Compare(a.since, b.since) })
	for _, e := range f.ended {
		s.giveBack(e.own)
		s.unshare(e.held)
	}
	f.ended = f.ended[:0]
}
