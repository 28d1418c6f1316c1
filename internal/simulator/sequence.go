package simulator

// phase is where a sequence stands.
type phase uint8

const (
	waiting phase = iota
	prefilling
	decoding
)

// none ends a list of slots.
const none = int32(-1)

// sequence is a request inside the scheduler. Slots are used again.
//
// A decoding sequence gains one token of context a step. Its context is kept
// as the difference to the step counter, so that a step changes nothing in it.
type sequence struct {
	id       int
	prompt   int
	output   int
	produced int   // tokens produced so far; while decoding see [Scheduler.producedBy]
	target   int   // tokens to prefill: prompt + produced at admission
	computed int   // of target, while prefilling
	lead     int   // while decoding: tokens in the KV cache − step counter
	ends     int   // while decoding: value of the step counter when its last token is there
	prev     int32 // neighbours among the running, in order of admission
	next     int32
	up       int32 // neighbours among those that end at the same step
	down     int32
	parked   int32 // while waiting after a preemption: its run in the free list
	phase    phase
	began    bool     // [Scheduler.Begins] has named it
	again    bool     // it was preempted before
	since    int      // while running: number of its admission
	keys     []uint64 // of the full blocks of its prompt that others may have too
	held     []int32  // while running: entries of the first of them
}

// queue holds waiting slots; it grows at both ends.
type queue struct {
	ring []int32
	head int
	n    int
}

func (q *queue) at(i int) int32 { return q.ring[(q.head+i)&(len(q.ring)-1)] }

func (q *queue) grow() {
	if q.n < len(q.ring) {
		return
	}
	ring := make([]int32, max(64, 2*len(q.ring)))
	for i := range q.n {
		ring[i] = q.at(i)
	}
	q.ring, q.head = ring, 0
}

func (q *queue) pushBack(slot int32) {
	q.grow()
	q.ring[(q.head+q.n)&(len(q.ring)-1)] = slot
	q.n++
}

func (q *queue) pushFront(slot int32) {
	q.grow()
	q.head = (q.head - 1) & (len(q.ring) - 1)
	q.ring[q.head] = slot
	q.n++
}

func (q *queue) popFront() int32 {
	slot := q.ring[q.head]
	q.head = (q.head + 1) & (len(q.ring) - 1)
	q.n--
	return slot
}

// remove takes out the slot at place i, keeping the order of the others.
func (q *queue) remove(i int) {
	for ; i < q.n-1; i++ {
		q.ring[(q.head+i)&(len(q.ring)-1)] = q.at(i + 1)
	}
	q.n--
}
