package report

import (
	"io"
	"strings"
	"unicode/utf8"
)

// The widths from which a table shows more: P90 between the middle and the
// tail; instead of it, intervals beside the errors.
const (
	widthOfAll       = 118
	widthOfIntervals = 172
	leastWidth       = 40
)

// Table writes the core of p for a terminal that is width columns wide (0: 80):
// errors of every point, knee, gates, routes, and the verdict last, where the
// eye is. Without colour, a mark behind an error says what colour would.
func Table(w io.Writer, p Page, width int, colour bool) error {
	if width <= 0 {
		width = 80
	}
	t := &sheet{width: max(width, leastWidth), colour: colour}
	if p.Comparison != nil {
		t.comparison(*p.Comparison)
	}
	t.gates(p.Gates)
	t.routes(p.Rounds)
	t.parameters(p.Params)
	t.verdict(p)
	_, err := io.WriteString(w, t.b.String())
	return err
}

// sheet collects the lines of a table.
type sheet struct {
	b      strings.Builder
	width  int
	colour bool
}

func (t *sheet) line(parts ...string) {
	t.b.WriteString(strings.TrimRight(strings.Join(parts, ""), " ") + "\n")
}

// paint colours text by tone or verdict.
func (t *sheet) paint(tone, text string) string {
	code, known := map[string]string{
		"ok": "32", "pass": "32", "near": "33", "inconclusive": "33", "over": "31", "fail": "31", "error": "31",
		"doubt": "2", "soft": "2", "bold": "1",
	}[tone]
	if !t.colour || !known {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// mark stands behind an error for those who see no colour.
func mark(tone string) string {
	switch tone {
	case "near":
		return "~"
	case "over":
		return "!"
	case "doubt":
		return "?"
	}
	return " "
}

func left(s string, n int) string {
	return s + strings.Repeat(" ", max(n-utf8.RuneCountInString(s), 0))
}

func right(s string, n int) string {
	return strings.Repeat(" ", max(n-utf8.RuneCountInString(s), 0)) + s
}

// comparison writes a row for each point, a column for each metric and
// quantile.
func (t *sheet) comparison(c Comparison) {
	quantiles := []string{"p50", "p99"}
	intervals := t.width >= widthOfIntervals
	if t.width >= widthOfAll && !intervals {
		quantiles = []string{"p50", "p90", "p99"}
	}
	name := len("point")
	for _, p := range c.Points {
		name = max(name, utf8.RuneCountInString(p.Name))
	}
	wide := 10
	if intervals {
		wide = 24
	}
	ms := metrics(c.Points)
	if len(ms) == 0 {
		return
	}
	head := left("point", name) + right("load", 6)
	if utf8.RuneCountInString(head)+len(ms)*len(quantiles)*wide > t.width {
		quantiles = quantiles[:1] // a narrow terminal: the middle alone
	}
	for _, m := range ms {
		for _, q := range quantiles {
			head += right(upper(m)+" "+upper(q), wide-1) + " "
		}
	}
	t.line(t.paint("soft", "simulated against measured, signed error\n~ interval crosses the tolerance  ! outside  ? not judged\ntolerance: the gate's, else 5 %, 15 % for tails"))
	t.line(t.paint("bold", head))
	for _, p := range c.Points {
		t.point(p, layout{name, wide, ms, quantiles})
	}
	if c.Knee != nil {
		t.wrap(c.Knee.sentence(), "")
	}
	t.line()
}

// sentence says where the knee is, or on which side of the rates.
func (k Knee) sentence() string {
	side := func(v *float64) string {
		if v == nil {
			return k.State
		}
		return significant(*v)
	}
	text := "knee: " + k.State + " the rates"
	if k.Measured != nil || k.Simulated != nil {
		text = "knee: measured " + side(k.Measured) + ", simulated " + side(k.Simulated) + " requests/s"
	}
	if k.Error != nil {
		text += ", " + signed(*k.Error)
	}
	if k.Reason != "" {
		text += " (" + k.Reason + ")"
	}
	return text
}

// layout is what the columns of a comparison hold and how wide they are.
type layout struct {
	name, wide         int
	metrics, quantiles []string
}

func (t *sheet) point(p Point, l layout) {
	load := "–"
	if p.Load > 0 {
		load = number(p.Load, 2)
	}
	row := left(p.Name, l.name) + right(load, 6)
	for _, m := range l.metrics {
		for _, q := range l.quantiles {
			c, ok := p.cell(m, q)
			if !ok {
				row += right("–", l.wide-1) + " "
				continue
			}
			text := signed(c.Bias)
			if l.wide > 10 && c.Lo != nil && c.Hi != nil {
				text += " [" + number(*c.Lo*100, 1) + ", " + number(*c.Hi*100, 1) + "]"
			}
			row += t.paint(c.tone(), right(text, l.wide-1)+mark(c.tone()))
		}
	}
	if p.State != "stable" && p.State != "" {
		row += " " + t.paint("soft", p.State)
	}
	t.line(row)
}

func (t *sheet) gates(gates []Gate) {
	for _, g := range gates {
		t.line(t.paint("bold", "gate "+g.Name), t.paint("soft", " of "+g.Of), "  ", t.paint(g.Verdict, g.Verdict))
		name := 0
		for _, a := range g.Assertions {
			name = max(name, utf8.RuneCountInString(a.Name))
		}
		for _, a := range g.Assertions {
			head := "  " + t.paint(a.Verdict, glyph(a.Verdict)) + " " + left(a.Name, name) + "  "
			indent := strings.Repeat(" ", name+6)
			expr := a.Expr
			if a.Warn {
				expr += "  (warning only)"
			}
			t.wrap(expr, indent, head)
			if line := evidence(a); line != "" {
				t.wrap(line, indent, indent)
			}
			for _, r := range a.Reasons {
				t.wrap(r, indent, indent)
			}
		}
	}
	if len(gates) > 0 {
		t.line()
	}
}

// evidence is what an assertion read and how often it holds, on one line.
func evidence(a Assertion) string {
	var parts []string
	for _, v := range a.Values {
		parts = append(parts, v.Name+" = "+v.text())
	}
	for _, s := range a.Shares {
		parts = append(parts, "holds in "+percent(s.Number)+" of "+s.Name)
	}
	return strings.Join(parts, ", ")
}

func (t *sheet) routes(rounds []Round) {
	shown := false
	for _, r := range rounds {
		if r.Cause != "" {
			head := "round " + number(float64(r.N), 0) + "  "
			t.wrap("likely cause: "+r.Cause, strings.Repeat(" ", len(head)), t.paint("bold", head))
			shown = true
		}
		if r.Route == nil {
			continue
		}
		to := "a change of fields"
		if r.Route.Remedy != nil {
			to = r.Route.Remedy.Name
		}
		var values []string
		for _, v := range r.Route.Values {
			values = append(values, v.Name+" = "+v.text())
		}
		text := r.Route.Gate + " routed to " + to + " because " + r.Route.When
		if len(values) > 0 {
			text += ": " + strings.Join(values, ", ")
		}
		head := "round " + number(float64(r.N), 0) + "  "
		t.wrap(text, strings.Repeat(" ", len(head)), t.paint("bold", head))
		shown = true
	}
	if shown {
		t.line()
	}
}

// parameters writes those that changed, first value to last.
func (t *sheet) parameters(p *Params) {
	if p == nil || len(p.Columns) < 2 {
		return
	}
	shown := false
	for _, r := range p.Rows {
		from, to := r.Values[0], r.Values[len(r.Values)-1]
		if from == to {
			continue
		}
		if from == "" {
			from = "unset"
		}
		t.line(t.paint("soft", "parameter "), left(r.Name, 18), from, " → ", to)
		shown = true
	}
	if shown {
		t.line()
	}
}

func (t *sheet) verdict(p Page) {
	word := p.Verdict
	switch {
	case word == "":
		word = "not finished"
	case word == "pass" && len(p.Gates) == 0:
		word = "done" // a plan without a gate has judged nothing
	}
	text := t.paint("bold", t.paint(p.Verdict, strings.ToUpper(word)))
	t.wrap(p.Headline, "  ", text+"  ")
	for _, r := range p.Reasons {
		t.wrap(r, "    ", "  - ")
	}
}

// wrap writes text behind a head, its further lines behind indent, none of
// them wider than the terminal.
func (t *sheet) wrap(text, indent string, head ...string) {
	line := strings.Join(head, "")
	used := visible(line)
	fresh := true
	for word := range strings.FieldsSeq(text) {
		n := utf8.RuneCountInString(word)
		if !fresh && used+1+n > t.width {
			t.line(line)
			line, used, fresh = indent, utf8.RuneCountInString(indent), true
		}
		if !fresh {
			line, used = line+" ", used+1
		}
		line, used, fresh = line+word, used+n, false
	}
	t.line(line)
}

// visible counts the columns of text, colour codes aside.
func visible(text string) int {
	n, code := 0, false
	for _, r := range text {
		switch {
		case r == '\x1b':
			code = true
		case code:
			code = r != 'm'
		default:
			n++
		}
	}
	return n
}
