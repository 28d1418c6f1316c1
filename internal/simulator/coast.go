package simulator

// Steps that only decode, one after the other, as long as nothing is to be
// decided: the batch of each is that of the one before it with one token of
// context more a sequence.

// calm says whether nobody waits and every running sequence decodes.
func (s *Scheduler) calm() bool {
	return s.queue.n == 0 && s.partial == none && s.decodes > 0
}

// glide returns the batch of the next step, which glided keeps up to date.
func (s *Scheduler) glide() *Batch {
	b := &s.now.batch
	b.Prefills = b.Prefills[:0]
	b.Decodes = s.decodes
	b.DecodeContext = s.leads + s.decodes*s.step
	b.MaxDecodeContext = s.maxContext()
	b.Padding = s.cfg.padding(s.decodes)
	return b
}

// glides says whether the next step ends no sequence and preempts none.
func (s *Scheduler) glides() bool {
	return s.ends[(s.step+1)&(len(s.ends)-1)] == none && s.newBlocks() <= s.room-s.used
}

// glided does such a step.
func (s *Scheduler) glided() {
	s.hold(s.newBlocks())
	s.peak = max(s.peak, s.used)
	s.tick()
	s.now.batch.DecodeContext += s.decodes
	s.now.batch.MaxDecodeContext++
}
