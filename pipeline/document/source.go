package document

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
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

// Source is the text of a plan, and collects what is wrong with it.
type Source struct {
	file     string
	lines    []string
	Problems Problems
	seen     map[string]bool // one problem a place and message: shared fields are checked in every step
}

// NewSource is the source with that text; file is what problems name.
func NewSource(file string, src []byte) *Source {
	text := strings.ReplaceAll(string(src), "\r\n", "\n")
	return &Source{file: file, lines: strings.Split(text, "\n"), seen: map[string]bool{}}
}

// Complain adds a problem.
func (s *Source) Complain(at Pos, path, message, suggest string) {
	s.Add(at, Problem{Path: path, Message: message, Suggest: suggest})
}

// Doubt adds a warning.
func (s *Source) Doubt(at Pos, path, message, suggest string) {
	s.Add(at, Problem{Path: path, Message: message, Suggest: suggest, Warning: true})
}

// Add adds a problem at a place.
func (s *Source) Add(at Pos, p Problem) {
	key := fmt.Sprintf("%d:%d:%s", at.Line, at.Col, p.Message)
	if s.seen[key] {
		return
	}
	s.seen[key] = true
	p.File, p.Line, p.Col, p.width = s.file, at.Line, at.Col, at.Width
	if at.Line > 0 && at.Line <= len(s.lines) {
		p.Snippet = s.lines[at.Line-1]
		p.width = min(p.width, max(1, utf8.RuneCountInString(p.Snippet)-p.Col+1))
	}
	s.Problems = append(s.Problems, p)
}

// Failed says whether there is a problem that is more than a warning.
func (s *Source) Failed() bool {
	for _, p := range s.Problems {
		if !p.Warning {
			return true
		}
	}
	return false
}

// Parse reads the YAML tree; nil if there is none.
func (s *Source) Parse(src []byte) *Value {
	if len(src) > maxSource {
		s.Complain(Pos{}, "", fmt.Sprintf("the file has %d bytes, a plan at most %d", len(src), maxSource), "")
		return nil
	}
	if !utf8.Valid(src) {
		s.Complain(Pos{}, "", "the file is not UTF-8 text", "save it as UTF-8")
		return nil
	}
	dec := yaml.NewDecoder(bytes.NewReader(src))
	var doc yaml.Node
	if err := dec.Decode(&doc); err != nil {
		if errors.Is(err, io.EOF) {
			s.Complain(Pos{Line: 1, Col: 1}, "", "the file is empty", "a plan begins with version: calrun/v1")
			return nil
		}
		s.parserError(err)
		return nil
	}
	var next yaml.Node
	if err := dec.Decode(&next); err == nil {
		s.Complain(Pos{Line: max(next.Line, 1), Col: 1, Width: 3}, "", "a second document begins", "one plan a file")
		return nil
	} else if !errors.Is(err, io.EOF) {
		s.parserError(err)
		return nil
	}
	if len(doc.Content) != 1 {
		s.Complain(Pos{Line: 1, Col: 1}, "", "the file is empty", "a plan begins with version: calrun/v1")
		return nil
	}
	return s.node(doc.Content[0], "", 0)
}

// node turns a YAML node into a value. What YAML offers beyond plain data is
// refused: an anchor or a tag makes a plan that means something else than it
// says.
func (s *Source) node(n *yaml.Node, path string, depth int) *Value {
	v := &Value{Pos: s.place(n)}
	if depth > maxDepth {
		s.Complain(v.Pos, path, fmt.Sprintf("nested more than %d deep", maxDepth), "")
		return v
	}
	if n.Anchor != "" {
		s.Complain(v.Pos, path, fmt.Sprintf("anchor &%s: plans have no anchors", n.Anchor), "write the value out, or use `shared`")
	}
	if n.Kind != yaml.AliasNode && s.tagged(n, path, v.Pos) {
		v.Form, v.Bad = Text, true
		return v
	}
	switch n.Kind {
	case yaml.AliasNode:
		v.Bad = true
		s.Complain(v.Pos, path, fmt.Sprintf("alias *%s: plans have no aliases", n.Value), "write the value out, or use `shared`; an expression that starts with * needs quotes")
	case yaml.ScalarNode:
		s.scalar(n, v, path)
	case yaml.SequenceNode:
		v.Form = List
		for i, c := range n.Content {
			v.Items = append(v.Items, s.node(c, fmt.Sprintf("%s[%d]", path, i), depth+1))
		}
	case yaml.MappingNode:
		s.mapping(n, v, path, depth)
	}
	return v
}

func (s *Source) place(n *yaml.Node) Pos {
	p := Pos{Line: n.Line, Col: n.Column, Width: 1}
	if n.Kind == yaml.ScalarNode && n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) == 0 {
		p.Width = max(1, Width(n.Value))
		if n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle) != 0 {
			p.Width += 2
		}
	}
	return p
}

// tagged complains about explicit tags. `when: !x` is one.
func (s *Source) tagged(n *yaml.Node, path string, at Pos) bool {
	if n.Style&yaml.TaggedStyle == 0 && (n.Tag == "" || strings.HasPrefix(n.Tag, "!!")) {
		return false
	}
	name := strings.TrimPrefix(n.Tag, "!")
	at.Width = Width(n.Tag)
	if strings.HasPrefix(n.Tag, "!!") || name == "" {
		s.Complain(at, path, fmt.Sprintf("%s is a YAML tag: plans have no tags", n.Tag), "write the value alone, in quotes if it is text")
		return true
	}
	whole := strings.TrimSpace(name + " " + n.Value)
	s.Complain(at, path, fmt.Sprintf("!%s is a YAML tag, not an expression", name), fmt.Sprintf("write `not %s`, or '!%s' in quotes", whole, whole))
	return true
}

func (s *Source) scalar(n *yaml.Node, v *Value, path string) {
	v.Text = n.Value
	switch n.Tag {
	case "!!null":
		v.Form = Null
	case "!!bool":
		v.Form, v.Flag = Bool, strings.EqualFold(n.Value, "true")
	case "!!int", "!!float":
		v.Form = Number
		s.number(n, v, path)
	case "!!timestamp":
		v.Form, v.Bad = Text, true
		s.Complain(v.Pos, path, fmt.Sprintf("%s without quotes is a date, which plans do not have", n.Value), fmt.Sprintf("write %q", n.Value))
	default:
		v.Form = Text
	}
}

func (s *Source) number(n *yaml.Node, v *Value, path string) {
	if IsNumber(n.Value) {
		if f, err := strconv.ParseFloat(n.Value, 64); err != nil || math.IsInf(f, 0) {
			s.Complain(v.Pos, path, n.Value+" is beyond what a number can hold", "")
			v.Text, v.Bad = "0", true
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
			v.Text = strconv.FormatFloat(f, 'g', -1, 64)
			return
		}
	}
	v.Text, v.Bad = "0", true
	s.Complain(v.Pos, path, message, suggest)
}

func (s *Source) mapping(n *yaml.Node, v *Value, path string, depth int) {
	v.Form = Object
	lines := make(map[string]int, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, c := n.Content[i], n.Content[i+1]
		at := s.place(k)
		below := Join(path, k.Value)
		switch {
		case k.Kind != yaml.ScalarNode:
			s.Complain(at, path, "a key must be a plain name", "a text that starts with { or [ needs quotes")
			continue
		case k.Tag == "!!merge":
			s.Complain(at, path, "merge key <<: plans have no merge keys", "write the fields out, or use `shared`")
			continue
		case n.Style&yaml.FlowStyle != 0 && c.Tag == "!!null" && c.Value == "" && !IsName(k.Value):
			s.Complain(at, path, fmt.Sprintf("%s stands alone: inside { } a comma ends the text before it", Quote(k.Value)), "put the whole text in quotes")
			continue
		case lines[k.Value] > 0:
			s.Complain(at, below, fmt.Sprintf("%q stands here twice, first on line %d", k.Value, lines[k.Value]), "remove one of the two")
			continue
		}
		if k.Anchor != "" || k.Style&yaml.TaggedStyle != 0 {
			s.node(k, path, depth+1)
		}
		lines[k.Value] = k.Line
		val := s.node(c, below, depth+1)
		val.Key = at
		v.Pairs = append(v.Pairs, Pair{Key: k.Value, Pos: at, Val: val})
	}
}

// Within is the place of the i-th character of a text's value, which for a
// quoted or folded text is not its i-th character in the file.
func (s *Source) Within(v *Value, offset, width int) Pos {
	p := v.Pos
	if p.Line < 1 || p.Line > len(s.lines) {
		return p
	}
	text := []rune(v.Text)
	offset = min(max(offset, 0), len(text))
	width = max(width, 1)
	line := []rune(s.lines[p.Line-1])
	start := min(p.Col-1, len(line))
	rest := string(line[start:])
	if strings.HasPrefix(rest, ">") || strings.HasPrefix(rest, "|") {
		return s.withinBlock(v, text, offset, width)
	}
	first, escaped := start, false
	if strings.HasPrefix(rest, `"`) || strings.HasPrefix(rest, "'") {
		first++
		escaped = strings.ContainsAny(rest[1:], `\`) || strings.Contains(rest[1:], "''")
	}
	if end := first + len(text); escaped || end > len(line) || string(line[first:end]) != v.Text {
		return p // several lines or escapes: the text's beginning is honest
	}
	return Pos{Line: p.Line, Col: first + offset + 1, Width: width}
}

// withinBlock finds a place in a text that was written with > or |.
func (s *Source) withinBlock(v *Value, text []rune, offset, width int) Pos {
	at := 0
	for no := v.Pos.Line; no < len(s.lines); no++ {
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
			return Pos{Line: no + 1, Col: indent + offset - at + 1, Width: width}
		}
		at += len(body) + 1 // the space or newline between the lines
	}
	return v.Pos
}
