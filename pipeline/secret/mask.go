package secret

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// Hidden stands where a secret stood.
const Hidden = "***"

// Mask takes secrets out of what is written. Its zero value and nil know none
// and change nothing. It may be used by several goroutines, also while
// secrets are added.
type Mask struct {
	mu    sync.RWMutex
	forms [][]byte
	cores [][]byte        // those of base64, looked for over the ends of lines too
	seen  map[string]bool // values
	long  int             // of the longest form, in bytes
}

// Add makes the mask know a secret. One that is too short to be found without
// finding other things too is an error, which does not repeat it.
func (m *Mask) Add(name, value string) error {
	if len(value) < Shortest {
		return fmt.Errorf("the secret %s has %d bytes; one of less than %d cannot be kept out of logs and results", name, len(value), Shortest)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.seen[value] {
		return nil
	}
	if m.seen == nil {
		m.seen = map[string]bool{}
	}
	m.seen[value] = true
	for _, f := range forms(value) {
		m.forms = append(m.forms, []byte(f))
		m.long = max(m.long, len(f))
	}
	for _, f := range cores(value) {
		m.cores = append(m.cores, []byte(f))
		m.long = max(m.long, broken(len(f)))
	}
	return nil
}

// Empty says whether the mask knows no secret.
func (m *Mask) Empty() bool { return m.longest() == 0 }

func (m *Mask) longest() int {
	if m == nil {
		return 0
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.long
}

// Text is s without secrets.
func (m *Mask) Text(s string) string {
	if m.Empty() {
		return s
	}
	b := []byte(s)
	spans := m.find(b, 0)
	if spans == nil {
		return s
	}
	return string(hide(nil, b, spans))
}

// In says whether a secret stands in b, and where the first one begins.
func (m *Mask) In(b []byte) (at int, found bool) {
	spans := m.find(b, 0)
	if spans == nil {
		return 0, false
	}
	return spans[0].from, true
}

// span is a piece of bytes, from inclusive, to exclusive.
type span struct{ from, to int }

// find returns where secrets stand in b, in order; those that touch or overlap
// are one. before is how many characters of base64 stand directly before b.
func (m *Mask) find(b []byte, before int) []span {
	if m.Empty() {
		return nil
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	all := m.wrapped(b, before)
	for _, f := range m.forms {
		for at := 0; ; {
			i := bytes.Index(b[at:], f)
			if i < 0 {
				break
			}
			all = append(all, span{at + i, at + i + len(f)})
			at += i + 1
		}
	}
	slices.SortFunc(all, func(x, y span) int { return x.from - y.from })
	var out []span
	for _, s := range all {
		if n := len(out); n > 0 && s.from <= out[n-1].to {
			out[n-1].to = max(out[n-1].to, s.to)
			continue
		}
		out = append(out, s)
	}
	return out
}

// begun returns where a secret may have begun that b's end cuts off: the
// smallest index from which b is the beginning of one; len(b) if none is.
// before is as for find.
func (m *Mask) begun(b []byte, before int) int {
	m.mu.RLock()
	defer m.mu.RUnlock()
	end := m.wrappedBegun(b, before)
	for at := max(0, len(b)-m.long+1); at < end; at++ {
		for _, f := range m.forms {
			if len(f) > len(b)-at && bytes.HasPrefix(f, b[at:]) {
				return at
			}
		}
	}
	return end
}

// hide appends b to out, [Hidden] in place of each span.
func hide(out, b []byte, spans []span) []byte {
	at := 0
	for _, s := range spans {
		out = append(append(out, b[at:s.from]...), Hidden...)
		at = s.to
	}
	return append(out, b[at:]...)
}

// Error is err without secrets in its text; what it wraps stays.
func (m *Mask) Error(err error) error {
	if err == nil || m.Empty() {
		return err
	}
	text := err.Error()
	if clean := m.Text(text); clean != text {
		return masked{text: clean, err: err}
	}
	return err
}

type masked struct {
	text string
	err  error
}

func (e masked) Error() string { return e.text }
func (e masked) Unwrap() error { return e.err }

// Tree is a decoded JSON document without secrets: in its texts, the names of
// its members, and its numbers, which become text. changed says whether there
// were any.
func (m *Mask) Tree(v any) (out any, changed bool) {
	switch x := v.(type) {
	case string:
		clean := m.Text(x)
		return clean, clean != x
	case []any:
		for i := range x {
			e, c := m.Tree(x[i])
			x[i], changed = e, changed || c
		}
	case map[string]any:
		for name, e := range x {
			clean := m.Text(name)
			inner, c := m.Tree(e)
			if clean != name {
				delete(x, name)
			}
			x[clean], changed = inner, changed || c || clean != name
		}
	case fmt.Stringer: // a number as it was written
		if clean := m.Text(x.String()); clean != x.String() {
			return clean, true
		}
	}
	return v, changed
}

// stars are as many as the secret had bytes, so that a file keeps its length
// and whatever points into it.
func stars(n int) []byte { return []byte(strings.Repeat("*", n)) }
