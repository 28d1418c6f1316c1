package plan

import (
	"strings"

	"calrun/pipeline/document"
	"calrun/pipeline/expr"
)

// template is a text with references in ${{ }}.
type template struct {
	parts []part
}

// templates are the texts of a plan that hold references, by their place in
// its tree.
type templates map[*document.Value]*template

// part is a text, or an expression if ref is true.
type part struct {
	ref    bool
	text   string
	src    string // of the expression, as written
	offset int    // of src in the whole text, in characters
	expr   *expr.Expr
}

// lone returns the only expression of a template that is nothing else.
func (t *template) lone() *expr.Expr {
	if len(t.parts) == 1 {
		return t.parts[0].expr
	}
	return nil
}

// split finds the references of a text; nil if it has none. unclosed is where
// a ${{ has no }}, or -1.
func split(text string) (t *template, unclosed int) {
	if !strings.Contains(text, "${{") {
		return nil, -1
	}
	t = &template{}
	at := 0
	for {
		i := strings.Index(text[at:], "${{")
		if i < 0 {
			break
		}
		if i > 0 {
			t.parts = append(t.parts, part{text: text[at : at+i]})
		}
		from := at + i + 3
		n := refEnd(text[from:])
		if n < 0 {
			return t, document.Width(text[:at+i])
		}
		body := text[from : from+n]
		lead := len(body) - len(strings.TrimLeft(body, " \t\n"))
		t.parts = append(t.parts, part{ref: true, src: strings.TrimSpace(body), offset: document.Width(text[:from+lead])})
		at = from + n + 2
	}
	if at < len(text) {
		t.parts = append(t.parts, part{text: text[at:]})
	}
	// Blank space around a lone reference is how YAML folds lines.
	if len(t.parts) == 2 && t.parts[0].ref && strings.TrimSpace(t.parts[1].text) == "" {
		t.parts = t.parts[:1]
	}
	return t, -1
}

// refEnd finds the }} that ends an expression, texts and braces inside it
// left out; -1 if there is none.
func refEnd(s string) int {
	var quote byte
	depth := 0
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case quote != 0:
			switch c {
			case '\\':
				i++
			case quote:
				quote = 0
			}
		case c == '"' || c == '\'' || c == '`':
			quote = c
		case c == '{':
			depth++
		case c == '}' && depth > 0:
			depth--
		case c == '}' && i+1 < len(s) && s[i+1] == '}':
			return i
		}
	}
	return -1
}
