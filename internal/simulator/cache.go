package simulator

// freeList is the order in which an engine with a prefix cache takes free
// blocks: those free longest first. A block keeps its content until it is
// taken; vLLM frees a sequence's blocks from its end, so that what is left of
// them is a prefix.
//
// Blocks whose content nobody will ask for, and those that only the preempted
// sequence which left them will, are kept as runs, not one by one. A block that
// other requests may find is a run of its own: see [shared].
type freeList struct {
	runs       []run
	vacant     []int32
	head, tail int32
}

// run is a number of free blocks in a row.
type run struct {
	n          int
	slot       int32 // the waiting sequence whose prefix they hold, from its end; none: nobody's
	entry      int32 // the one block's entry in the cache; none: it has no content to be found
	prev, next int32
}

// push frees n blocks and returns their run.
func (f *freeList) push(slot, entry int32, n int) int32 {
	if slot == none && entry == none && f.tail != none && f.runs[f.tail].slot == none && f.runs[f.tail].entry == none {
		f.runs[f.tail].n += n
		return f.tail
	}
	i := int32(len(f.runs))
	if last := len(f.vacant) - 1; last >= 0 {
		i, f.vacant = f.vacant[last], f.vacant[:last]
	} else {
		f.runs = append(f.runs, run{})
	}
	f.runs[i] = run{n: n, slot: slot, entry: entry, prev: f.tail, next: none}
	if f.tail == none {
		f.head = i
	} else {
		f.runs[f.tail].next = i
	}
	f.tail = i
	return i
}

// remove takes a whole run out.
func (f *freeList) remove(i int32) {
	r := &f.runs[i]
	if r.prev == none {
		f.head = r.next
	} else {
		f.runs[r.prev].next = r.next
	}
	if r.next == none {
		f.tail = r.prev
	} else {
		f.runs[r.next].prev = r.prev
	}
	f.vacant = append(f.vacant, i)
}

// recalls says whether a freed block is worth remembering: without bounds
// nobody is preempted and no block is ever taken from another.
func (s *Scheduler) recalls() bool { return s.cfg.PrefixCache && s.cfg.Blocks > 0 }

// hold takes n free blocks, and the content of those that had any is gone.
func (s *Scheduler) hold(n int) {
	s.used += n
	if !s.recalls() {
		return
	}
	for n > 0 {
		i := s.unused.head
		r := &s.unused.runs[i]
		if r.n > n {
			r.n -= n
			return
		}
		n -= r.n
		if r.slot != none {
			s.seqs[r.slot].parked = none
		}
		if r.entry != none {
			s.shared.forget(r.entry)
		}
		s.unused.remove(i)
	}
}

// giveBack frees n blocks that nobody will ask for.
func (s *Scheduler) giveBack(n int) {
	s.used -= n
	if s.recalls() && n > 0 {
		s.unused.push(none, none, n)
	}
}

// drop frees the blocks of a sequence that will not come back.
func (s *Scheduler) drop(slot int32, cached int) {
	s.giveBack(blocks(cached, s.cfg.BlockSize) - len(s.seqs[slot].held))
	s.letGo(slot)
}

// park frees the blocks of a sequence that will come back. Its last block has
// an identity only if it is full.
func (s *Scheduler) park(slot int32, cached int) {
	q := &s.seqs[slot]
	own := blocks(cached, s.cfg.BlockSize) - len(q.held)
	full := cached/s.cfg.BlockSize - len(q.held)
	if !s.recalls() {
		full = 0
	}
	s.giveBack(own - full)
	if full > 0 {
		s.used -= full
		q.parked = s.unused.push(slot, none, full)
	}
	s.letGo(slot)
}

// found is how many blocks of a waiting sequence are still in the cache: first
// those that it shares, free or in use, then its own. At least its last token
// is always computed.
func (s *Scheduler) found(slot int32) (f hits) {
	q := &s.seqs[slot]
	most := (q.target - 1) / s.cfg.BlockSize
	f.shared, f.busy = s.shared.lookup(q.keys[:min(most, len(q.keys))])
	if q.parked != none && f.shared == len(q.keys) {
		f.own = min(s.unused.runs[q.parked].n, most-f.shared)
	}
	return f
}

// hits are blocks of a sequence that are in the cache.
type hits struct {
	shared int // with content that others may have too
	busy   int // of shared, those that a running sequence holds
	own    int // that it left itself when it was preempted
}

// blocks is how many they are.
func (h hits) blocks() int { return h.shared + h.own }

// claim takes the blocks that were found into use. What else the sequence has
// left is nobody's.
func (s *Scheduler) claim(slot int32, f hits) {
	q := &s.seqs[slot]
	for _, key := range q.keys[:f.shared] {
		i := s.shared.first(key)
		if e := &s.shared.entries[i]; e.refs == 0 {
			s.used++
			if s.recalls() {
				s.unused.remove(e.run)
			}
		}
		s.shared.entries[i].refs++
		q.held = append(q.held, i)
	}
	if q.parked == none {
		return
	}
	r := &s.unused.runs[q.parked]
	r.slot = none
	if r.n -= f.own; r.n == 0 {
		s.unused.remove(q.parked)
	}
	s.used += f.own
	q.parked = none
}
