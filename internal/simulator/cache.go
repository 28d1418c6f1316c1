package simulator

// freeList is the order in which an engine with a prefix cache takes free
// blocks: those free longest first. A block keeps its content until it is
// taken, so that a preempted sequence which comes back finds again what nobody
// has taken; vLLM frees a sequence's blocks from its end, so that what is left
// is a prefix.
//
// Blocks are kept as runs, not one by one: nothing else is known of them. Only
// a sequence's own blocks are found again; requests are taken to share no
// prefix.
type freeList struct {
	runs []run
	base int // absolute number of runs[0]
	head int // runs before it are used up
}

// run is a number of free blocks in a row that hold the prefix of one waiting
// sequence, or nothing that anybody will ask for.
type run struct {
	slot int32 // none: nobody's
	n    int
}

// push frees n blocks with the content of slot and returns the absolute
// number of their run.
func (f *freeList) push(slot int32, n int) int {
	if last := len(f.runs) - 1; slot == none && last >= f.head && f.runs[last].slot == none {
		f.runs[last].n += n
		return f.base + last
	}
	if f.head > 64 && f.head > len(f.runs)/2 {
		f.runs = f.runs[:copy(f.runs, f.runs[f.head:])]
		f.base += f.head
		f.head = 0
	}
	f.runs = append(f.runs, run{slot, n})
	return f.base + len(f.runs) - 1
}

// take uses up n blocks.
func (f *freeList) take(n int) {
	for n > 0 {
		r := &f.runs[f.head]
		if r.n > n {
			r.n -= n
			return
		}
		n -= r.n
		f.head++
	}
}

// left is how many blocks of a slot's run nobody has taken.
func (f *freeList) left(number int, slot int32) int {
	i := number - f.base
	if i < f.head || f.runs[i].slot != slot {
		return 0
	}
	return f.runs[i].n
}

// claim takes n blocks of a slot's run back into use. The rest is nobody's.
func (f *freeList) claim(number, n int) {
	if i := number - f.base; i >= f.head {
		f.runs[i].n -= n
		f.runs[i].slot = none
	}
}

// caching says whether freed blocks are worth remembering.
func (s *Scheduler) caching() bool { return s.cfg.PrefixCache && s.cfg.Blocks > 0 }

// hold takes n free blocks.
func (s *Scheduler) hold(n int) {
	s.used += n
	if s.caching() {
		s.unused.take(n)
	}
}

// drop frees the blocks of a sequence that will not come back.
func (s *Scheduler) drop(cached int) { s.giveBack(blocks(cached, s.cfg.BlockSize)) }

func (s *Scheduler) giveBack(n int) {
	s.used -= n
	if s.caching() && n > 0 {
		s.unused.push(none, n)
	}
}

// park frees the blocks of a sequence that will come back. Its last block has
// an identity only if it is full.
func (s *Scheduler) park(slot int32, cached int) {
	n := blocks(cached, s.cfg.BlockSize)
	s.used -= n
	if !s.caching() {
		return
	}
	full := cached / s.cfg.BlockSize
	if n > full {
		s.unused.push(none, n-full)
	}
	s.seqs[slot].parked = s.unused.push(slot, full)
}

// found is how many tokens of a waiting sequence are still in the cache. At
// least its last token is always computed.
func (s *Scheduler) found(slot int32) int {
	q := &s.seqs[slot]
	if q.parked < 0 {
		return 0
	}
	return min(s.unused.left(q.parked, slot), (q.target-1)/s.cfg.BlockSize) * s.cfg.BlockSize
}

// unpark takes the blocks of the tokens that were found.
func (s *Scheduler) unpark(slot int32, found int) {
	if s.seqs[slot].parked >= 0 {
		n := found / s.cfg.BlockSize
		s.unused.claim(s.seqs[slot].parked, n)
		s.used += n
		s.seqs[slot].parked = -1
	}
}
