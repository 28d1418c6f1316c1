package simulator

// shared are the blocks of prompts that other requests may find, each with a
// key that stands for all tokens up to its end, as vLLM's block hashes do. A
// block is entered when the step that fills it is decided, so that whoever is
// admitted after it, in that very step even, finds it; it leaves when its
// memory is taken for something else.
//
// One key may have several blocks: a prompt that is all in the cache has its
// last block computed again. The oldest is the one that is found.
type shared struct {
	entries []entry
	vacant  []int32
	byKey   map[uint64]int32 // oldest entry
}

// entry is one such block.
type entry struct {
	key  uint64
	refs int   // running sequences that hold it
	run  int32 // where it is in the free list, if nobody does
	next int32 // a younger one of the same key
}

// enter enters a block that a sequence holds.
func (t *shared) enter(key uint64) int32 {
	i := int32(len(t.entries))
	if last := len(t.vacant) - 1; last >= 0 {
		i, t.vacant = t.vacant[last], t.vacant[:last]
	} else {
		t.entries = append(t.entries, entry{})
	}
	t.entries[i] = entry{key: key, refs: 1, next: none}
	if t.byKey == nil {
		t.byKey = map[uint64]int32{}
	}
	at, twice := t.byKey[key]
	if !twice {
		t.byKey[key] = i
		return i
	}
	for t.entries[at].next != none {
		at = t.entries[at].next
	}
	t.entries[at].next = i
	return i
}

// forget takes out a block whose memory was taken.
func (t *shared) forget(i int32) {
	e := t.entries[i]
	switch at := t.byKey[e.key]; {
	case at != i:
		for t.entries[at].next != i {
			at = t.entries[at].next
		}
		t.entries[at].next = e.next
	case e.next != none:
		t.byKey[e.key] = e.next
	default:
		delete(t.byKey, e.key)
	}
	t.vacant = append(t.vacant, i)
}

// first is the oldest block of a key that is there.
func (t *shared) first(key uint64) int32 { return t.byKey[key] }

// lookup is how many of the keys, from the first on, have a block, and how many
// of these are in use.
func (t *shared) lookup(keys []uint64) (found, busy int) {
	for _, key := range keys {
		i, ok := t.byKey[key]
		if !ok {
			break
		}
		found++
		if t.entries[i].refs > 0 {
			busy++
		}
	}
	return found, busy
}

// publish enters the blocks of a sequence's prompt that are full once so many
// of its tokens are computed.
func (s *Scheduler) publish(slot int32, computed int) {
	q := &s.seqs[slot]
	for full := min(computed/s.cfg.BlockSize, len(q.keys)); len(q.held) < full; {
		q.held = append(q.held, s.shared.enter(q.keys[len(q.held)]))
	}
}

// letGo gives up a sequence's share of the blocks that it held, its last one
// first.
func (s *Scheduler) letGo(slot int32) {
	q := &s.seqs[slot]
	s.unshare(q.held)
	q.held = q.held[:0]
}

// unshare frees blocks that nobody else holds.
func (s *Scheduler) unshare(held []int32) {
	for n := len(held) - 1; n >= 0; n-- {
		e := &s.shared.entries[held[n]]
		if e.refs--; e.refs > 0 {
			continue
		}
		s.used--
		if s.recalls() {
			e.run = s.unused.push(none, held[n], 1)
		}
	}
}
