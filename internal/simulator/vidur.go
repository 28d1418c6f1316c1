package simulator

import (
	"fmt"
	"math"
	"slices"
)

// vidur schedules as Vidur 0.0.26 does, with its scheduler sarathi or vllm.
// What they share:
//
//   - A request is admitted when the blocks of its whole prompt can be taken
//     and the watermark still stays free. It takes them at once.
//   - A decoding sequence needs one free block to go on, even in a step in
//     which it begins none. If there is none the last of those that have not
//     had their turn in this step is restarted; if all have, itself.
//   - What a restarted request had computed becomes its prompt. That is so
//     for half a prompt too: the rest of it is then counted as output.
//   - The batch cap bounds those that hold blocks, prefilling or not.
//
// Vidur 0.0.26 itself ends with an assertion soon after the first restart,
// because a second counter of its requests is not set back; here the run goes
// on as its scheduler asks. And where a request that has the whole cache to
// itself restarts itself, Vidur's vllm stands still until somebody arrives;
// here it is admitted again at once.
type vidur struct {
	cfg     Config
	reserve int // blocks that admission leaves free
	room    int // blocks in all

	used, peak, restarts int
	holders              int // requests that hold blocks
	added                int

	queue   []*vidurJob // waiting, from head on
	head    int
	running []*vidurJob // hold blocks and are not in the batch under way
	halves  []*vidurJob // scratch of sarathi
	pool    []*vidurJob

	batch Batch
	now   []vidurShare
	total int // tokens in the batch
	out   Outcome
}

// vidurJob is a request as Vidur counts it.
type vidurJob struct {
	id        int
	number    int // order of arrival
	prompt    int // tokens to prefill, grown by what a restart threw away
	output    int // tokens after them
	processed int // with the prompt's last token the first one of the output is counted too
	held      int // blocks
	ready     bool
	first     bool // its first token has been told
}

// vidurShare is one request's part in a batch.
type vidurShare struct {
	job    *vidurJob
	tokens int
}

func newVidur(cfg Config) (*vidur, error) {
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	s := &vidur{cfg: cfg, room: math.MaxInt}
	if cfg.Blocks > 0 {
		s.room, s.reserve = cfg.Blocks, cfg.kept()
	}
	return s, nil
}

// Add puts a request at the end of the queue. Vidur shares no prefix.
func (s *vidur) Add(id, prompt, output int, _ []uint64) error {
	if err := s.cfg.Fits(prompt, output); err != nil {
		return err
	}
	var j *vidurJob
	if n := len(s.pool); n > 0 {
		j, s.pool = s.pool[n-1], s.pool[:n-1]
	} else {
		j = &vidurJob{}
	}
	*j = vidurJob{id: id, number: s.added, prompt: prompt, output: output}
	s.added++
	s.queue = append(s.queue, j)
	return nil
}

// Next decides what the next step computes; nil when there is nothing to do.
func (s *vidur) Next() *Batch {
	s.now, s.total = s.now[:0], 0
	s.batch = Batch{Prefills: s.batch.Prefills[:0]}
	if s.cfg.Policy == Sarathi {
		s.sarathi()
	} else if s.vllm(); len(s.now) == 0 && s.waits() {
		s.vllm()
	}
	if len(s.now) == 0 {
		return nil
	}
	s.peak = max(s.peak, s.used)
	return &s.batch
}

// sarathi lets all decode, then prompts that have begun go on, then admits;
// the last two share what the decoding left of the chunk size.
func (s *vidur) sarathi() {
	s.halves = s.halves[:0]
	rest := s.decode(func(j *vidurJob) bool {
		if !j.ready {
			s.halves = append(s.halves, j)
		}
		return j.ready
	})
	var skipped []*vidurJob
	for _, j := range s.halves {
		if tokens := s.chunk(j); tokens > 0 {
			s.take(j, tokens)
		} else {
			skipped = append(skipped, j)
		}
	}
	s.running = append(s.running[:0], rest...)
	s.running = slices.Insert(s.running, 0, skipped...)
	byArrival(s.running)
	for s.waits() && s.holders != s.cfg.MaxNumSeqs && len(s.now) != s.cfg.MaxNumSeqs {
		j := s.queue[s.head]
		tokens := s.chunk(j)
		if !s.admissible(j) || tokens == 0 {
			return
		}
		s.admit(j, tokens)
	}
}

// chunk is how much of a prompt the step may still prefill.
func (s *vidur) chunk(j *vidurJob) int {
	return max(0, min(j.prompt-j.processed, s.cfg.MaxTokens-s.total))
}

// vllm prefills whole prompts as long as it can admit any, and decodes in the
// steps between.
func (s *vidur) vllm() {
	for s.waits() && s.holders != s.cfg.MaxNumSeqs {
		j := s.queue[s.head]
		if !s.admissible(j) || s.total+j.prompt > s.cfg.MaxTokens {
			break
		}
		s.admit(j, j.prompt)
	}
	if len(s.now) > 0 {
		return
	}
	byArrival(s.running)
	s.running = append(s.running[:0], s.decode(func(*vidurJob) bool { return true })...)
}

// decode gives every running sequence its turn, in order, as far as the batch
// cap allows, and returns those that had none. wanted passes a sequence over.
func (s *vidur) decode(wanted func(*vidurJob) bool) (rest []*vidurJob) {
	run := s.running
	for len(run) > 0 && len(s.now) < s.cfg.MaxNumSeqs {
		j := run[0]
		if run = run[1:]; !wanted(j) {
			continue
		}
		alive := true
		for alive && s.used >= s.room {
			if last := len(run) - 1; last >= 0 {
				s.restart(run[last])
				run = run[:last]
			} else {
				s.restart(j)
				alive = false
			}
		}
		if !alive {
			break
		}
		if j.processed > j.held*s.cfg.BlockSize {
			s.hold(j, 1)
		}
		s.take(j, 1)
	}
	return run
}

func (s *vidur) waits() bool { return s.head < len(s.queue) }

// admissible says whether the blocks of a prompt are there, above the
// watermark.
func (s *vidur) admissible(j *vidurJob) bool {
	return s.room-s.used-blocks(j.prompt, s.cfg.BlockSize) >= s.reserve
}

// admit takes the head of the queue into the batch.
func (s *vidur) admit(j *vidurJob, tokens int) {
	if s.head++; s.head > len(s.queue)/2 {
		s.queue = s.queue[:copy(s.queue, s.queue[s.head:])]
		s.head = 0
	}
	s.holders++
	s.hold(j, blocks(j.prompt, s.cfg.BlockSize))
	s.take(j, tokens)
}

func (s *vidur) hold(j *vidurJob, n int) {
	j.held += n
	s.used += n
}

// take puts a request's tokens into the batch. Of a decoding sequence the
// token counted last is not in the cache yet.
func (s *vidur) take(j *vidurJob, tokens int) {
	s.now = append(s.now, vidurShare{j, tokens})
	s.total += tokens
	if !j.ready {
		s.batch.Prefills = append(s.batch.Prefills, Chunk{Tokens: tokens, Context: j.processed})
		return
	}
	s.batch.Decodes++
	s.batch.DecodeContext += j.processed - 1
	s.batch.MaxDecodeContext = max(s.batch.MaxDecodeContext, j.processed-1)
}

// restart sends a request back to the head of the queue.
func (s *vidur) restart(j *vidurJob) {
	s.free(j)
	s.restarts++
	j.prompt, j.output = j.processed, j.prompt+j.output-j.processed
	j.processed, j.ready = 0, false
	if s.head > 0 {
		s.head--
		s.queue[s.head] = j
	} else {
		s.queue = slices.Insert(s.queue, 0, j)
	}
}

func (s *vidur) free(j *vidurJob) {
	s.used -= j.held
	j.held = 0
	s.holders--
}

// Done ends the step that Next began.
func (s *vidur) Done() *Outcome {
	s.out.First, s.out.Last = s.out.First[:0], s.out.Last[:0]
	for _, w := range s.now {
		j := w.job
		if j.processed += w.tokens; j.processed == j.prompt {
			j.ready = true
			j.processed++
			if !j.first {
				j.first = true
				s.out.First = append(s.out.First, j.id)
			}
		}
		if j.processed == j.prompt+j.output {
			s.out.Last = append(s.out.Last, j.id)
			s.free(j)
			s.pool = append(s.pool, j)
			continue
		}
		s.running = append(s.running, j)
	}
	return &s.out
}

func (s *vidur) totals() (preemptions, peakBlocks int) { return s.restarts, s.peak }

// String describes the state in one line, for errors and tests.
func (s *vidur) String() string {
	return fmt.Sprintf("%v: %d holding %d blocks, %d waiting", s.cfg.Policy, s.holders, s.used, len(s.queue)-s.head)
}

func byArrival(jobs []*vidurJob) {
	slices.SortStableFunc(jobs, func(a, b *vidurJob) int { return a.number - b.number })
}
