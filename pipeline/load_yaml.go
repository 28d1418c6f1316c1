package pipeline

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

// Limits of a source that is still a plan and no attack.
const (
	maxSource = 8 << 20 // bytes
	maxDepth  = 64
)

// source is the text of a plan, and collects what is wrong with it.
type source struct {
	file     string
	lines    []string
	problems Problems
	seen     map[string]bool // one problem a place and message: shared fields are checked in every step
}

func newSource(file string, src []byte) *source {
	text := strings.ReplaceAll(string(src), "\r\n", "\n")
	return &source{file: file, lines: strings.Split(text, "\n"), seen: map[string]bool{}}
}

// complain adds a problem.
func (s *source) complain(at pos, path, message, suggest string) {
	s.add(at, Problem{Path: path, Message: message, Suggest: suggest})
}

// doubt adds a warning.
func (s *source) doubt(at pos, path, message, suggest string) {
	s.add(at, Problem{Path: path, Message: message, Suggest: suggest, Warning: true})
}

func (s *source) add(at pos, p Problem) {
	key := fmt.Sprintf("%d:%d:%s", at.line, at.col, p.Message)
	if s.seen[key] {
		return
	}
	s.seen[key] = true
	p.File, p.Line, p.Col, p.width = s.file, at.line, at.col, at.width
	if at.line > 0 && at.line <= len(s.lines) {
		p.Snippet = s.lines[at.line-1]
		p.width = min(p.width, max(1, utf8.RuneCountInString(p.Snippet)-p.Col+1))
	}
	s.problems = append(s.problems, p)
}

// failed says whether there is a problem that is more than a warning.
func (s *source) failed() bool {
	for _, p := range s.problems {
		if !p.Warning {
			return true
		}
	}
	return false
}

// parse reads the YAML tree; nil if there is none.
func (s *source) parse(src []byte) *value {
	if len(src) > maxSource {
		s.complain(pos{}, "", fmt.Sprintf("the file has %d bytes, a plan at most %d", len(src), maxSource), "")
		return nil
	}
	if !utf8.Valid(src) {
		s.complain(pos{}, "", "the file is not UTF-8 text", "save it as UTF-8")
		return nil
	}
	dec := yaml.NewDecoder(bytes.NewReader(src))
	var doc yaml.Node
	if err := dec.Decode(&doc); err != nil {
		if errors.Is(err, io.EOF) {
			s.complain(pos{line: 1, col: 1}, "", "the file is empty", "a plan begins with version: calrun/v1")
			return nil
		}
		s.parserError(err)
		return nil
	}
	var next yaml.Node
	if err := dec.Decode(&next); err == nil {
		s.complain(pos{line: max(next.Line, 1), col: 1, width: 3}, "", "a second document begins", "one plan a file")
		return nil
	} else if !errors.Is(err, io.EOF) {
		s.parserError(err)
		return nil
	}
	if len(doc.Content) != 1 {
		s.complain(pos{line: 1, col: 1}, "", "the file is empty", "a plan begins with version: calrun/v1")
		return nil
	}
	return s.node(doc.Content[0], "", 0)
}

func runes(s string) int { return utf8.RuneCountInString(s) }

// node turns a YAML node into a value. What YAML offers beyond plain data is
// refused: an anchor or a tag makes a plan that means something else than it
// says.
func (s *source) node(n *yaml.Node, path string, depth int) *value {
	v := &value{pos: s.place(n)}
	if depth > maxDepth {
		s.complain(v.pos, path, fmt.Sprintf("nested more than %d deep", maxDepth), "")
		return v
	}
	if n.Anchor != "" {
		s.complain(v.pos, path, fmt.Sprintf("anchor &%s: plans have no anchors", n.Anchor), "write the value out, or use `shared`")
	}
	if n.Kind != yaml.AliasNode && s.tagged(n, path, v.pos) {
		v.form, v.bad = isText, true
		return v
	}
	switch n.Kind {
	case yaml.AliasNode:
		v.bad = true
		s.complain(v.pos, path, fmt.Sprintf("alias *%s: plans have no aliases", n.Value), "write the value out, or use `shared`; an expression that starts with * needs quotes")
	case yaml.ScalarNode:
		s.scalar(n, v, path)
	case yaml.SequenceNode:
		v.form = isList
		for i, c := range n.Content {
			v.items = append(v.items, s.node(c, fmt.Sprintf("%s[%d]", path, i), depth+1))
		}
	case yaml.MappingNode:
		s.mapping(n, v, path, depth)
	}
	return v
}

func (s *source) place(n *yaml.Node) pos {
	p := pos{line: n.Line, col: n.Column, width: 1}
	if n.Kind == yaml.ScalarNode && n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) == 0 {
		p.width = max(1, runes(n.Value))
		if n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle) != 0 {
			p.width += 2
		}
	}
	return p
}

// tagged complains about explicit tags. `when: !x` is one.
func (s *source) tagged(n *yaml.Node, path string, at pos) bool {
	if n.Style&yaml.TaggedStyle == 0 && (n.Tag == "" || strings.HasPrefix(n.Tag, "!!")) {
		return false
	}
	name := strings.TrimPrefix(n.Tag, "!")
	at.width = runes(n.Tag)
	if strings.HasPrefix(n.Tag, "!!") || name == "" {
		s.complain(at, path, fmt.Sprintf("%s is a YAML tag: plans have no tags", n.Tag), "write the value alone, in quotes if it is text")
		return true
	}
	whole := strings.TrimSpace(name + " " + n.Value)
	s.complain(at, path, fmt.Sprintf("!%s is a YAML tag, not an expression", name), fmt.Sprintf("write `not %s`, or '!%s' in quotes", whole, whole))
	return true
}

var jsonNumber = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?$`)

func (s *source) scalar(n *yaml.Node, v *value, path string) {
	v.text = n.Value
	switch n.Tag {
	case "!!null":
		v.form = isNull
	case "!!bool":
		v.form, v.flag = isBool, strings.EqualFold(n.Value, "true")
	case "!!int", "!!float":
		v.form = isNumber
		s.number(n, v, path)
	case "!!timestamp":
		v.form, v.bad = isText, true
		s.complain(v.pos, path, fmt.Sprintf("%s without quotes is a date, which plans do not have", n.Value), fmt.Sprintf("write %q", n.Value))
	default:
		v.form = isText
	}
}

func (s *source) number(n *yaml.Node, v *value, path string) {
	if jsonNumber.MatchString(n.Value) {
		if f, err := strconv.ParseFloat(n.Value, 64); err != nil || math.IsInf(f, 0) {
			s.complain(v.pos, path, n.Value+" is beyond what a number can hold", "")
			v.text, v.bad = "0", true
		}
		return
	}
	low := strings.ToLower(strings.TrimLeft(n.Value, "+-"))
	message, suggest := n.Value+" is not a plain number", ""
	plain := strings.ReplaceAll(strings.TrimPrefix(n.Value, "+"), "_", "")
	switch {
	case strings.HasPrefix(low, ".nan") || strings.HasPrefix(low, ".inf"):
		message, suggest = n.Value+" is not a number that a plan may hold", "leave the field out, or write a finite number"
	case len(low) > 1 && low[0] == '0' && strings.Trim(low, "0123456789") == "":
		octal, _ := strconv.ParseInt(low, 8, 64)
		message = fmt.Sprintf("%s starts with 0, which YAML reads as octal", n.Value)
		suggest = fmt.Sprintf("write %s", strings.TrimLeft(low, "0"))
		if octal > 0 {
			suggest += fmt.Sprintf(", or %d if octal was meant", octal)
		}
	case strings.HasPrefix(low, "0x"), strings.HasPrefix(low, "0o"), strings.HasPrefix(low, "0b"):
		if i, err := strconv.ParseInt(strings.ReplaceAll(n.Value, "_", ""), 0, 64); err == nil {
			suggest = fmt.Sprintf("write %d", i)
		}
	default:
		// .5, 5. and 1_000 mean what they say.
		if f, err := strconv.ParseFloat(plain, 64); err == nil && !math.IsInf(f, 0) {
			v.text = strconv.FormatFloat(f, 'g', -1, 64)
			return
		}
	}
	v.text, v.bad = "0", true
	s.complain(v.pos, path, message, suggest)
}

func (s *source) mapping(n *yaml.Node, v *value, path string, depth int) {
	v.form = isObject
	lines := make(map[string]int, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, c := n.Content[i], n.Content[i+1]
		at := s.place(k)
		below := join(path, k.Value)
		switch {
		case k.Kind != yaml.ScalarNode:
			s.complain(at, path, "a key must be a plain name", "a text that starts with { or [ needs quotes")
			continue
		case k.Tag == "!!merge":
			s.complain(at, path, "merge key <<: plans have no merge keys", "write the fields out, or use `shared`")
			continue
		case n.Style&yaml.FlowStyle != 0 && c.Tag == "!!null" && c.Value == "" && !nameRule.MatchString(k.Value):
			s.complain(at, path, fmt.Sprintf("%s stands alone: inside { } a comma ends the text before it", quote(k.Value)), "put the whole text in quotes")
			continue
		case lines[k.Value] > 0:
			s.complain(at, below, fmt.Sprintf("%q stands here twice, first on line %d", k.Value, lines[k.Value]), "remove one of the two")
			continue
		}
		if k.Anchor != "" || k.Style&yaml.TaggedStyle != 0 {
			s.node(k, path, depth+1)
		}
		lines[k.Value] = k.Line
		val := s.node(c, below, depth+1)
		val.key = at
		v.pairs = append(v.pairs, pair{key: k.Value, pos: at, val: val})
	}
}

// join extends a path by a key.
func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// within is the place of the i-th character of a text's value, which for a
// quoted or folded text is not its i-th character in the file.
func (s *source) within(v *value, offset, width int) pos {
	p := v.pos
	if p.line < 1 || p.line > len(s.lines) {
		return p
	}
	text := []rune(v.text)
	offset = min(max(offset, 0), len(text))
	width = max(width, 1)
	line := []rune(s.lines[p.line-1])
	start := min(p.col-1, len(line))
	rest := string(line[start:])
	if strings.HasPrefix(rest, ">") || strings.HasPrefix(rest, "|") {
		return s.withinBlock(v, text, offset, width)
	}
	first, escaped := start, false
	if strings.HasPrefix(rest, `"`) || strings.HasPrefix(rest, "'") {
		first++
		escaped = strings.ContainsAny(rest[1:], `\`) || strings.Contains(rest[1:], "''")
	}
	if end := first + len(text); escaped || end > len(line) || string(line[first:end]) != v.text {
		return p // several lines or escapes: the text's beginning is honest
	}
	return pos{line: p.line, col: first + offset + 1, width: width}
}

// withinBlock finds a place in a text that was written with > or |.
func (s *source) withinBlock(v *value, text []rune, offset, width int) pos {
	at := 0
	for no := v.pos.line; no < len(s.lines); no++ {
		line := []rune(s.lines[no])
		indent := 0
		for indent < len(line) && line[indent] == ' ' {
			indent++
		}
		body := line[indent:]
		if len(body) == 0 {
			continue
		}
		if at+len(body) > len(text) || string(text[at:at+len(body)]) != string(body) {
			break
		}
		if offset < at+len(body) {
			return pos{line: no + 1, col: indent + offset - at + 1, width: width}
		}
		at += len(body) + 1 // the space or newline between the lines
	}
	return v.pos
}
