package document

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"
)

// late is a pattern that is compiled when it is first asked: those here only
// explain a file that is not YAML, and every call of the command would pay.
func late(pattern string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(pattern) })
}

var errorLine = late(`line (\d+): `)

// parserError says what the YAML parser did not understand, and guesses why:
// it is where an expression without quotes ends up.
func (s *Source) parserError(err error) {
	msg := strings.TrimPrefix(err.Error(), "yaml: ")
	line := 1
	if m := errorLine().FindStringSubmatch(msg); m != nil {
		line, _ = strconv.Atoi(m[1])
		msg = strings.Replace(msg, m[0], "", 1)
	}
	line = min(max(line, 1), len(s.lines))
	// The parser names the line where it gave up: the one after, at times.
	for _, n := range []int{line, line + 1, line - 1, line - 2} {
		if n < 1 || n > len(s.lines) {
			continue
		}
		if at, width, why, suggest := guess(withoutComment(s.lines[n-1])); why != "" {
			s.Complain(Pos{Line: n, Col: at + 1, Width: width}, "", why, suggest)
			return
		}
	}
	if at, ok := s.colonWithoutSpace(line); ok && (strings.Contains(msg, "mapping values") || strings.Contains(msg, "expected key")) {
		text := strings.TrimSpace(withoutComment(s.lines[at.Line-1]))
		s.Complain(at, "", fmt.Sprintf("%s has no space after its colon: YAML reads one text", Quote(text)), "write "+strings.Replace(text, ":", ": ", 1))
		return
	}
	if at, why := s.oddIndent(); why != "" && (strings.Contains(msg, "expected key") || strings.Contains(msg, "expected '-'") || strings.Contains(msg, "mapping values")) {
		s.Complain(at, "", why, "align it with its neighbours")
		return
	}
	if strings.Contains(msg, "did not find expected ','") {
		for n := min(line+1, len(s.lines)); n >= max(line-2, 1); n-- {
			if at := unclosedBracket(withoutComment(s.lines[n-1])); at >= 0 {
				s.Complain(Pos{Line: n, Col: at + 1, Width: 1}, "", "this bracket is not closed", "close it, or put a text with a bracket in quotes")
				return
			}
		}
	}
	text := s.lines[line-1]
	col := len(text) - len(strings.TrimLeft(text, " "))
	suggest := ""
	switch {
	case strings.Contains(msg, "cannot start any token") && strings.HasPrefix(strings.TrimLeft(text, " "), "\t"):
		s.Complain(Pos{Line: line, Col: col + 1, Width: 1}, "", "a tab indents this line", "indent with spaces")
		return
	case strings.Contains(msg, "did not find expected key"):
		suggest = "look at the indent, and for a quote or bracket that is not closed above"
	case strings.Contains(msg, "mapping values are not allowed"):
		suggest = `put a text that holds ": " in quotes`
	}
	s.Complain(Pos{Line: line, Col: col + 1, Width: len(strings.TrimSpace(text))}, "", "not YAML: "+msg, suggest)
}

var (
	flowRef = late(`[{\[,:]\s*(\$\{\{[^}]*\}\}?)`)
	ternary = late(`:\s+([^"'\s#{\[][^"'#]*\?[^"'#]*:\s[^,}#]*)`)
	flowTag = late(`[{,]\s*[A-Za-z_]+:\s+(![A-Za-z_(][^,}]*)`)
	flowIdx = late(`[{,][^{]*:\s*([^"'{}\[\],\s][^"'{},]*\[\s*["'][^}]*)`)
)

// guess recognises what people write without quotes.
func guess(line string) (at, width int, why, suggest string) {
	if m := flowRef().FindStringSubmatchIndex(line); m != nil && strings.ContainsAny(line[:m[2]], "{[") {
		ref := line[m[2]:m[3]]
		return Width(line[:m[2]]), Width(ref), "a reference inside { } or [ ] needs quotes", fmt.Sprintf("write %q", strings.TrimRight(ref, "}")+"}}")
	}
	if m := flowTag().FindStringSubmatchIndex(line); m != nil {
		cond := strings.TrimSpace(line[m[2]:m[3]])
		return Width(line[:m[2]]), Width(cond), "an expression that starts with ! needs quotes", fmt.Sprintf("write `not %s`, or '%s' in quotes", cond[1:], cond)
	}
	if m := ternary().FindStringSubmatchIndex(line); m != nil {
		cond := strings.TrimSpace(line[m[2]:m[3]])
		return Width(line[:m[2]]), Width(cond), `an expression with "? :" needs quotes`, fmt.Sprintf("write '%s'", cond)
	}
	if m := flowIdx().FindStringSubmatchIndex(line); m != nil {
		cond := strings.TrimSpace(line[m[2]:m[3]])
		return Width(line[:m[2]]), Width(cond), "an expression with brackets inside { } needs quotes", "put the whole expression in '...', or write the map over several lines"
	}
	return 0, 0, "", ""
}

// withoutComment cuts a line where a comment begins.
func withoutComment(line string) string {
	var quote rune
	last := ' '
	for i, r := range line {
		switch {
		case quote != 0:
			if r == quote {
				quote = 0
			}
		case (r == '"' || r == '\'') && (last == ' ' || last == '[' || last == '{' || last == ','):
			quote = r
		case r == '#' && last == ' ':
			return line[:i]
		}
		last = r
	}
	return line
}

var withValue = late(`^(?:- )?[A-Za-z_][A-Za-z0-9_]*:\s+[^\s]`)

var joined = late(`^\s*(?:- )?[A-Za-z_][A-Za-z0-9_]*:[^\s:/\\]\S*$`)

// colonWithoutSpace looks for `seed:1` from just above the line that the
// parser names, which may be where the block begins.
func (s *Source) colonWithoutSpace(line int) (Pos, bool) {
	for n := max(line-2, 1); n <= len(s.lines); n++ {
		text := strings.TrimRight(withoutComment(s.lines[n-1]), " ")
		if joined().MatchString(text) {
			lead := len(text) - len(strings.TrimLeft(text, " "))
			return Pos{Line: n, Col: lead + 1, Width: Width(text) - lead}, true
		}
	}
	return Pos{}, false
}

// oddIndent finds the first line whose indent is between those of the blocks
// around it, or deeper than a line that has its value already, and says which.
// It is asked only about files that are not YAML.
func (s *Source) oddIndent() (at Pos, why string) {
	var open []int
	full := false // the line before is a key with its value
	for i, line := range s.lines {
		text := strings.TrimRight(withoutComment(line), " ")
		body := strings.TrimLeft(text, " ")
		if body == "" {
			continue
		}
		indent := len(text) - len(body)
		for len(open) > 0 && open[len(open)-1] > indent {
			open = open[:len(open)-1]
			if len(open) == 0 || open[len(open)-1] < indent {
				return Pos{Line: i + 1, Col: indent + 1, Width: Width(body)}, "this line is indented like none above it"
			}
		}
		isKey := withValue().MatchString(body)
		if full && isKey && open[len(open)-1] < indent {
			return Pos{Line: i + 1, Col: indent + 1, Width: Width(body)}, "this line is indented deeper than the one above, which has a value already"
		}
		full = isKey && !strings.HasSuffix(body, "|") && !strings.HasSuffix(body, ">-") && !strings.HasSuffix(body, ">")
		if len(open) == 0 || open[len(open)-1] < indent {
			open = append(open, indent)
		}
		for strings.HasPrefix(body, "- ") {
			rest := strings.TrimLeft(body[2:], " ")
			indent += len(body) - len(rest)
			body = rest
			open = append(open, indent)
		}
	}
	return Pos{}, ""
}

// unclosedBracket finds the last bracket of a line that the line does not
// close; -1 if there is none.
func unclosedBracket(line string) int {
	var open []int
	for i, r := range []rune(line) {
		switch r {
		case '[', '{':
			open = append(open, i)
		case ']', '}':
			if len(open) > 0 {
				open = open[:len(open)-1]
			}
		}
	}
	if len(open) == 0 {
		return -1
	}
	return open[len(open)-1]
}
