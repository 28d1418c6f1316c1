package secret

import (
	"io"
	"sync"
)

// Writer passes bytes on without secrets, also where one is cut into several
// writes: what may be the beginning of one waits for what follows, or for
// [Writer.Flush].
type Writer struct {
	mask *Mask
	to   io.Writer

	mu     sync.Mutex
	held   []byte
	before int // characters of base64 that were passed on directly before held
}

// Writer returns a writer that masks what goes to w.
func (m *Mask) Writer(w io.Writer) *Writer { return &Writer{mask: m, to: w} }

// Write takes all of p; an error is that of the writer behind.
func (w *Writer) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.mask.Empty() && len(w.held) == 0 {
		return w.to.Write(p)
	}
	all := append(w.held, p...)
	spans := w.mask.find(all, w.before)
	end := w.mask.begun(all, w.before)
	for len(spans) > 0 && spans[len(spans)-1].to > end { // what waits may be longer than it looks
		end = min(end, spans[len(spans)-1].from)
		spans = spans[:len(spans)-1]
	}
	out := hide(nil, all[:end], spans)
	w.held, w.before = append([]byte(nil), all[end:]...), trailing(all[:end], w.before)
	if len(out) == 0 {
		return len(p), nil
	}
	if _, err := w.to.Write(out); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Flush writes what still waits. The writer may be used afterwards.
func (w *Writer) Flush() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.held) == 0 {
		return nil
	}
	out := hide(nil, w.held, w.mask.find(w.held, w.before))
	w.held, w.before = nil, trailing(w.held, w.before)
	_, err := w.to.Write(out)
	return err
}

// Unwrap is the writer behind: whether it is a terminal, say.
func (w *Writer) Unwrap() io.Writer { return w.to }
