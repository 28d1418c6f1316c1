package emulator

import (
	"sync/atomic"
	"time"
)

// request is a request inside the engine. The loop writes its true times
// before it raises produced; the handler reads them after.
type request struct {
	id     int    // in order of receipt, from 0
	name   string // the client's X-Request-Id, or one made up
	prompt int
	output int
	keys   []uint64 // of the blocks of its prompt

	recv time.Duration // body read
	seen time.Duration // the scheduler may see it: recv + front-end delay

	cached      int           // tokens of its prompt that were found in the prefix cache
	began       time.Duration // true: the step that first held it began
	first, last time.Duration // true: its first and last token were there
	produced    atomic.Int32
	more        chan struct{} // produced has grown; capacity 1

	out outcome // once the handler is through, under the engine's lock
}

// outcome is how a handler got on with a request.
type outcome struct {
	written     int           // tokens
	first, last time.Duration // when the first and the latest token were handed to the kernel
	status      int
	failure     string // why it did not complete
}

// tell raises the number of tokens that are there.
func (r *request) tell(n int) {
	r.produced.Store(int32(n))
	select {
	case r.more <- struct{}{}:
	default: // the handler is behind and will read the count anyway
	}
}
