package simulator

import "slices"

// One-step look-ahead, as vLLM does it with async_scheduling (AsyncScheduler,
// and step_with_batch_queue of its engine core with two places): when a step
// begins on the device the scheduler decides the one after it, without knowing
// what this one will bring but that it will bring it. So
//
//   - a request that arrives while step n is computed is first seen when step
//     n+1 begins, and joins n+2;
//   - a sequence that ends in n is not in n+1, because its length is known, but
//     keeps its place and its blocks until n has ended, and whoever waits for
//     them joins n+2 too;
//   - a sequence that is preempted gives its blocks up at once, and still gets
//     the token of the step under way.
//
// Where vLLM's differs: it may choose a sequence that ends in the step under
// way as the one to preempt, which frees its blocks a step early. A request
// that ends by a stop token instead of by its length costs it one more step;
// here every request ends by its length.

// nextAhead returns the step that was decided when the last one began, and
// decides the one after it.
func (s *Scheduler) nextAhead() *Batch {
	switch {
	case s.decided:
		s.now, s.ahead = s.ahead, s.now
		s.decided = false
	case s.running == 0 && s.queue.n == 0:
		return nil
	default:
		s.decide()
		s.enterAhead()
	}
	s.now, s.ahead = s.ahead, s.now
	if s.decide(); !s.now.batch.Empty() {
		s.enterAhead()
		s.decided = true
	}
	s.now, s.ahead = s.ahead, s.now
	return &s.now.batch
}

// enterAhead enters a step in the books before it is computed, and notes what
// could not be told afterwards.
func (s *Scheduler) enterAhead() {
	f := s.now
	f.yields, f.begins, f.gone = f.yields[:0], f.begins[:0], 0
	if !s.mute {
		s.note(f)
	}
	s.enter()
}

// note notes who gets a token in a step and who begins in it.
func (s *Scheduler) note(f *frame) {
	at := 0
	for slot := s.head; slot != none; slot = s.seqs[slot].next {
		q := &s.seqs[slot]
		if q.phase == decoding {
			f.yields = append(f.yields, q.id)
			continue
		}
		if at < len(f.planned) && f.planned[at].slot == slot {
			if q.computed+f.planned[at].tokens == q.target {
				f.yields = append(f.yields, q.id)
			}
			if !q.began {
				q.began = true
				f.begins = append(f.begins, q.id)
			}
			at++
		}
	}
}

// doneAhead ends the step under way: those that ended in it leave.
func (s *Scheduler) doneAhead() *Outcome {
	s.leaving -= s.now.gone
	s.settle(s.now)
	s.now.gone = 0
	return &s.now.out
}

// forget takes a request that was removed out of the step that is decided. It
// says whether the request was in it. What it holds there it keeps to its end.
func (s *Scheduler) forget(id int) (there bool) {
	if !s.decided {
		return false
	}
	for _, ids := range []*[]int{&s.ahead.yields, &s.ahead.begins, &s.ahead.out.First, &s.ahead.out.Last} {
		if i := slices.Index(*ids, id); i >= 0 {
			*ids = slices.Delete(*ids, i, i+1)
			there = true
		}
	}
	return there
}
