package secret

import (
	"bytes"
	"strings"
)

// Programs break base64 into lines, of 64 characters (PEM) or 76 (MIME, the
// command base64), and a secret then stands on both sides of a line end. Base64
// is looked through as if it were not broken where a line has at least so many
// characters of it: shorter ones are words, whose neighbours are not theirs.
const wrapWidth = 60

// broken is the most bytes that a piece of base64 takes when it is broken into
// lines, with what stands before it in its first line.
func broken(n int) int { return wrapWidth + n + (n/wrapWidth+1)*len(`\\r\\n`) }

var inBase64 = func() (in [256]bool) {
	for _, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_") {
		in[c] = true
	}
	return in
}()

// unwrapped is b without the line ends inside base64, and where they stand in
// b; nil where there are none. before is how many characters of base64 stand
// directly before b. A line end that b's own end may have cut counts.
func unwrapped(b []byte, before int) (text []byte, ends []span) {
	if !fullLine(b, before) {
		return nil, nil
	}
	run := before
	for i := 0; i < len(b); {
		if run >= wrapWidth && !inBase64[b[i]] {
			if n := lineEnd(b[i:]); n > 0 {
				ends = append(ends, span{i, i + n})
				i, run = i+n, 0
				continue
			}
		}
		if run++; !inBase64[b[i]] {
			run = 0
		}
		i++
	}
	if ends == nil {
		return nil, nil
	}
	from := 0
	for _, e := range ends {
		text, from = append(text, b[from:e.from]...), e.to
	}
	return append(text, b[from:]...), ends
}

// fullLine says whether there is a line of base64 in b that may be a broken one.
// It looks at few of b's bytes: each that is none of base64 rules a line out
// that would hold it.
func fullLine(b []byte, before int) bool {
	for end := max(0, wrapWidth-1-before); end < len(b); {
		at := end
		for at >= 0 && at > end-wrapWidth && inBase64[b[at]] {
			at--
		}
		if at < 0 || at == end-wrapWidth {
			return true
		}
		end = at + wrapWidth
	}
	return before >= wrapWidth
}

// lineEnd is the length of the line end that b begins with, written as it is
// or escaped as in a JSON text, perhaps twice; 0 if there is none.
func lineEnd(b []byte) int {
	for _, end := range []string{"\n", "\r\n", `\n`, `\r\n`, `\\n`, `\\r\\n`} {
		if bytes.HasPrefix(b, []byte(end)) {
			return len(end)
		}
		if strings.HasPrefix(end, string(b[:min(len(b), len(end))])) {
			return len(b) // cut off
		}
	}
	return 0
}

// behind is where a place in unwrapped text stands in what was unwrapped.
func behind(ends []span, at int) int {
	for _, e := range ends {
		if at < e.from {
			break
		}
		at += e.to - e.from
	}
	return at
}

// wrapped returns where base64 of secrets stands in b over the ends of lines.
func (m *Mask) wrapped(b []byte, before int) (out []span) {
	text, ends := unwrapped(b, before)
	if ends == nil {
		return nil
	}
	for _, core := range m.cores {
		for at := 0; ; {
			i := bytes.Index(text[at:], core)
			if i < 0 {
				break
			}
			at += i + 1
			out = append(out, span{behind(ends, at-1), behind(ends, at+len(core)-2) + 1})
		}
	}
	return out
}

// wrappedBegun returns where base64 of a secret may have begun that goes on in
// the next line, behind the end of b; len(b) if none has.
func (m *Mask) wrappedBegun(b []byte, before int) int {
	text, ends := unwrapped(b, before)
	if ends == nil {
		return len(b)
	}
	for at := max(0, len(text)-m.long); at < len(text); at++ {
		for _, core := range m.cores {
			if len(core) > len(text)-at && bytes.HasPrefix(core, text[at:]) {
				return behind(ends, at)
			}
		}
	}
	return len(b)
}

// trailing is how many characters of base64 b ends with, those before it
// included.
func trailing(b []byte, before int) int {
	for i := len(b) - 1; i >= 0; i-- {
		if !inBase64[b[i]] {
			return len(b) - 1 - i
		}
	}
	return before + len(b)
}
