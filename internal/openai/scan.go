package openai

import "bytes"

// scanEvent is the fast way through an event. ok is false for anything that
// it does not know for certain, errors included: then encoding/json decides.
func scanEvent(data []byte) (ev Event, ok bool) {
	s := scanner{b: data}
	s.object(func(key []byte) {
		switch string(key) {
		case "choices":
			s.choices(&ev)
		case "usage":
			s.usage(&ev)
		case "error", "detail":
			s.bad = !s.null()
		default:
			s.fallOnFold(key, "choices", "usage", "error", "detail")
			s.skip(0)
		}
	})
	s.space()
	return ev, !s.bad && s.i == len(s.b)
}

// scanner walks JSON without building it. bad means: not for the fast way.
type scanner struct {
	b   []byte
	i   int
	bad bool
}

func (s *scanner) choices(ev *Event) {
	if ev.Choice { // a second list of choices
		s.bad = true
		return
	}
	if s.null() {
		return
	}
	s.array(func() {
		ev.Choice = true
		seen := 0
		s.object(func(key []byte) {
			switch string(key) {
			case "text":
				seen++
				ev.Text = s.nonEmptyString() || ev.Text
			case "delta":
				seen += 1 << 8
				s.delta(ev)
			case "finish_reason":
				seen += 1 << 16
				if !s.null() {
					ev.Finish = string(s.str())
				}
			case "token_ids":
				seen += 1 << 24
				if !s.null() {
					s.array(func() { ev.TokenIDs++; s.count() })
				}
			default:
				s.fallOnFold(key, "text", "delta", "finish_reason", "token_ids")
				s.skip(0)
			}
		})
		if seen&^0x01010101 != 0 { // a key twice: the last one counts, let the other reader see to it
			s.bad = true
		}
	})
}

func (s *scanner) delta(ev *Event) {
	if s.null() {
		return
	}
	var seen [16]bool // by length and first letter; two keys in one place only cost the slow way
	s.object(func(key []byte) {
		if !textKey(string(key)) {
			s.skip(0)
			return
		}
		at := (len(key) + int(key[0])) % len(seen)
		s.bad = s.bad || seen[at]
		seen[at] = true
		if s.peek() == '"' {
			ev.Text = s.nonEmptyString() || ev.Text
			return
		}
		from := s.i
		s.skip(0)
		switch string(s.b[from:s.i]) {
		case "null", "[]", "{}":
		default:
			s.bad = true // tool calls and the like are rare: the other reader
		}
	})
}

func (s *scanner) usage(ev *Event) {
	if ev.Usage != nil {
		s.bad = true
		return
	}
	if s.null() {
		return
	}
	var u Usage
	seen := 0
	s.object(func(key []byte) {
		switch string(key) {
		case "prompt_tokens":
			seen++
			u.Prompt = s.count()
		case "completion_tokens":
			seen += 1 << 8
			u.Completion = s.count()
		case "prompt_tokens_details":
			seen += 1 << 16
			if !s.null() {
				s.object(func(key []byte) {
					if string(key) == "cached_tokens" {
						u.Cached = s.count()
						return
					}
					s.fallOnFold(key, "cached_tokens")
					s.skip(0)
				})
			}
		default:
			s.fallOnFold(key, "prompt_tokens", "completion_tokens", "prompt_tokens_details")
			s.skip(0)
		}
	})
	if seen&^0x010101 != 0 {
		s.bad = true
	}
	ev.Usage = &u
}

// fallOnFold gives up on a key that encoding/json would take for one of the
// names although its case differs.
func (s *scanner) fallOnFold(key []byte, names ...string) {
	for _, n := range names {
		if len(key) >= len(n) && bytes.EqualFold(key, []byte(n)) {
			s.bad = true
		}
	}
}

func (s *scanner) space() {
	for s.i < len(s.b) {
		switch s.b[s.i] {
		case ' ', '\t', '\n', '\r':
			s.i++
		default:
			return
		}
	}
}

// peek is the next byte that is no space, 0 at the end.
func (s *scanner) peek() byte {
	s.space()
	if s.bad || s.i >= len(s.b) {
		return 0
	}
	return s.b[s.i]
}

func (s *scanner) expect(c byte) {
	if s.peek() != c {
		s.bad = true
		return
	}
	s.i++
}

// object calls value for each key, standing before its value.
func (s *scanner) object(value func(key []byte)) {
	s.list('{', '}', func() {
		key := s.str()
		s.expect(':')
		if !s.bad {
			value(key)
		}
	})
}

func (s *scanner) array(element func()) { s.list('[', ']', element) }

func (s *scanner) list(open, end byte, one func()) {
	s.expect(open)
	if s.peek() == end {
		s.i++
		return
	}
	for !s.bad {
		one()
		switch s.peek() {
		case ',':
			s.i++
		case end:
			s.i++
			return
		default:
			s.bad = true
		}
	}
}

// str is a string without escapes, unquoted.
func (s *scanner) str() []byte {
	s.expect('"')
	if s.bad {
		return nil
	}
	from := s.i
	for ; s.i < len(s.b); s.i++ {
		switch c := s.b[s.i]; {
		case c == '"':
			s.i++
			return s.b[from : s.i-1]
		case c == '\\' || c < ' ' || c >= 0x80:
			s.bad = true
			return nil
		}
	}
	s.bad = true
	return nil
}

// nonEmptyString passes over a string, escapes and all, or a null.
func (s *scanner) nonEmptyString() bool {
	if s.null() {
		return false
	}
	from := s.i
	s.passString()
	return !s.bad && s.i-from > 2
}

// passString passes over a string. It is strict about control characters and
// leaves a backslash followed by anything rare to the other reader.
func (s *scanner) passString() {
	s.expect('"')
	for ; !s.bad && s.i < len(s.b); s.i++ {
		switch c := s.b[s.i]; {
		case c == '"':
			s.i++
			return
		case c < ' ':
			s.bad = true
		case c == '\\':
			s.i++
			if s.i >= len(s.b) || !bytes.ContainsRune([]byte(`"\/bfnrt`), rune(s.b[s.i])) {
				s.unicodeEscape()
			}
		}
	}
	s.bad = true
}

// unicodeEscape stands on the u of \uXXXX and ends on its last digit.
func (s *scanner) unicodeEscape() {
	if s.i+4 >= len(s.b) || s.b[s.i] != 'u' {
		s.bad = true
		return
	}
	for _, c := range s.b[s.i+1 : s.i+5] {
		if bytes.IndexByte([]byte("0123456789abcdefABCDEF"), c) < 0 {
			s.bad = true
		}
	}
	s.i += 4
}

// null passes over a null and says so.
func (s *scanner) null() bool {
	if s.peek() == 'n' && bytes.HasPrefix(s.b[s.i:], []byte("null")) {
		s.i += 4
		return true
	}
	return false
}

// count is a whole number of at most nine digits.
func (s *scanner) count() int {
	c, n, digits := s.peek(), 0, 0
	first := c
	for ; c >= '0' && c <= '9'; digits++ {
		n = 10*n + int(c-'0')
		s.i++
		if s.i == len(s.b) {
			break
		}
		c = s.b[s.i]
	}
	if digits == 0 || digits > 9 || c == '.' || c == 'e' || c == 'E' || (first == '0' && digits > 1) {
		s.bad = true
	}
	return n
}

// skip passes over any value.
func (s *scanner) skip(depth int) {
	switch c := s.peek(); {
	case c == '"':
		s.passString()
	case depth > 32:
		s.bad = true
	case c == '{':
		s.list('{', '}', func() { s.passString(); s.expect(':'); s.skip(depth + 1) })
	case c == '[':
		s.list('[', ']', func() { s.skip(depth + 1) })
	case c == 't' && bytes.HasPrefix(s.b[s.i:], []byte("true")), c == 'n' && bytes.HasPrefix(s.b[s.i:], []byte("null")):
		s.i += 4
	case c == 'f' && bytes.HasPrefix(s.b[s.i:], []byte("false")):
		s.i += 5
	default:
		if c == '-' {
			s.i++
		}
		s.number()
	}
}

// number passes over a number without its sign.
func (s *scanner) number() {
	digits := func() bool {
		from := s.i
		for s.i < len(s.b) && s.b[s.i] >= '0' && s.b[s.i] <= '9' {
			s.i++
		}
		return s.i > from
	}
	from := s.i
	if !digits() || (s.b[from] == '0' && s.i-from > 1) {
		s.bad = true
		return
	}
	if s.i < len(s.b) && s.b[s.i] == '.' {
		s.i++
		if !digits() {
			s.bad = true
			return
		}
	}
	if s.i < len(s.b) && (s.b[s.i] == 'e' || s.b[s.i] == 'E') {
		s.i++
		if s.i < len(s.b) && (s.b[s.i] == '+' || s.b[s.i] == '-') {
			s.i++
		}
		if !digits() {
			s.bad = true
		}
	}
}
