package report

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
)

var (
	//go:embed page.gohtml
	pageText string
	//go:embed page.css
	pageStyle string
)

// HTML writes p as one self-contained page: style and drawings are inside,
// nothing is fetched, nothing runs. The same Page gives the same bytes.
func HTML(w io.Writer, p Page) error {
	t, err := template.New("page").Funcs(template.FuncMap{
		"percent": percent, "plain": plain, "signed": signed, "significant": significant, "rate": rate, "upper": upper,
		"span":  tookText,
		"text":  Value.text,
		"join":  strings.Join,
		"glyph": glyph,
		"share": share,
		"raw":   func(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) },
	}).Parse(pageText)
	if err != nil {
		return fmt.Errorf("read the page's template: %w", err)
	}
	if err := t.Execute(w, newView(p)); err != nil {
		return fmt.Errorf("write the page of run %s: %w", p.Run, err)
	}
	return nil
}

// view is a Page as the template wants it: with drawings, and with the cells
// of each metric as a grid.
type view struct {
	Page
	Style template.CSS
	Rates []chart
	Grids []grid
	CDFs  [][]chart                // a row for each point
	Lanes map[string]template.HTML // "round step" → drawing
	Total string                   // wall time of the rounds
	Reach string                   // half-width of the error axis, as text
}

// grid is one metric: a row for each point, a column for each quantile.
type grid struct {
	Metric    string
	Unit      string
	Quantiles []string
	Rows      []gridRow
	Doubts    []string // footnotes, in order of their letters
}

type gridRow struct {
	Point Point
	Cells []gridCell // one for each quantile of the grid
}

type gridCell struct {
	Cell
	Missing             bool
	Tone                string
	Bar                 template.HTML
	Measured, Simulated string
	Letter              string // of its footnote
}

// Title says what the small print of a cell rests on.
func (c gridCell) Title() string {
	text := "n " + strconv.Itoa(c.N)
	if c.Blocks > 0 {
		text += ", " + strconv.Itoa(c.Blocks) + " independent blocks"
	}
	if c.Lo != nil && c.Hi != nil {
		text += ", interval " + signed(*c.Lo) + " to " + signed(*c.Hi)
	}
	if c.Doubt != "" {
		text += "; " + c.Doubt
	}
	return text
}

func newView(p Page) view {
	v := view{Page: p, Style: template.CSS(pageStyle), Lanes: map[string]template.HTML{}} //nolint:gosec // our own file
	c := clockOf(p.Rounds)
	if total := c.to.Sub(c.from); total > 0 {
		v.Total = span(total)
	}
	for _, r := range p.Rounds {
		for _, s := range r.Steps {
			v.Lanes[laneName(r.N, s.Name)] = c.lane(s)
		}
		if r.Route != nil && r.Route.Remedy != nil {
			v.Lanes[laneName(r.N, r.Route.Remedy.Name)] = c.lane(*r.Route.Remedy)
		}
	}
	if p.Comparison == nil {
		return v
	}
	v.Rates = rateCharts(p.Comparison)
	wide := reach(p.Comparison.Points)
	v.Reach = plain(wide)
	for _, m := range metrics(p.Comparison.Points) {
		v.Grids = append(v.Grids, newGrid(m, p.Comparison.Points, wide))
	}
	for _, pt := range p.Comparison.Points {
		var row []chart
		for _, d := range pt.CDFs {
			row = append(row, cdfChart(pt, d))
		}
		if row != nil {
			v.CDFs = append(v.CDFs, row)
		}
	}
	return v
}

func laneName(round int, step string) string { return strconv.Itoa(round) + " " + step }

// Lane is the drawing of a step in a round.
func (v view) Lane(round int, step string) template.HTML { return v.Lanes[laneName(round, step)] }

// order is the place of a name among those known; others follow.
func order(known []string, name string) int {
	if i := slices.Index(known, name); i >= 0 {
		return i
	}
	return len(known)
}

var (
	metricOrder   = []string{"ttft", "tpot", "e2e"}
	quantileOrder = []string{"p50", "p90", "p95", "p99", "mean"}
)

// metrics are the names of metrics that the points have cells of.
func metrics(points []Point) []string {
	return names(points, metricOrder, func(c Cell) string { return c.Metric })
}

func names(points []Point, known []string, of func(Cell) string) []string {
	var out []string
	for _, p := range points {
		for _, c := range p.Cells {
			if n := of(c); !slices.Contains(out, n) {
				out = append(out, n)
			}
		}
	}
	slices.SortStableFunc(out, func(a, b string) int { return order(known, a) - order(known, b) })
	return out
}

func newGrid(metric string, points []Point, wide float64) grid {
	g := grid{Metric: metric}
	var times []float64
	var with []Point
	for _, p := range points {
		cells := slices.DeleteFunc(slices.Clone(p.Cells), func(c Cell) bool { return c.Metric != metric })
		if len(cells) == 0 {
			continue
		}
		for _, c := range cells {
			times = append(times, c.Measured, c.Simulated)
		}
		q := p
		q.Cells = cells
		with = append(with, q)
	}
	g.Quantiles = names(with, quantileOrder, func(c Cell) string { return c.Quantile })
	s := scaleFor(times)
	g.Unit = s.unit
	for _, p := range with {
		row := gridRow{Point: p}
		for _, q := range g.Quantiles {
			c, ok := p.cell(metric, q)
			if !ok {
				row.Cells = append(row.Cells, gridCell{Missing: true})
				continue
			}
			row.Cells = append(row.Cells, gridCell{
				Cell: c, Tone: c.tone(), Bar: whisker(c, wide),
				Measured: s.value(c.Measured), Simulated: s.value(c.Simulated), Letter: g.footnote(c.Doubt),
			})
		}
		g.Rows = append(g.Rows, row)
	}
	return g
}

// footnote is the letter under which a doubt stands below its grid.
func (g *grid) footnote(doubt string) string {
	if doubt == "" {
		return ""
	}
	i := slices.Index(g.Doubts, doubt)
	if i < 0 {
		i = len(g.Doubts)
		g.Doubts = append(g.Doubts, doubt)
	}
	return letter(i)
}

func letter(i int) string {
	if i < 26 {
		return string(rune('a' + i))
	}
	return letter(i/26-1) + letter(i%26)
}

// Letter is the letter of the i-th footnote.
func (grid) Letter(i int) string { return letter(i) }

// tookText is how long a step took, or a dash where it did not run.
func tookText(s Step) string {
	if s.Status == "reused" || s.Started.IsZero() || s.Ended.IsZero() {
		return "–"
	}
	return span(s.Ended.Sub(s.Started).Round(time.Millisecond))
}

// glyph says a verdict or status without colour.
func glyph(what string) string {
	switch what {
	case "pass", "done":
		return "✓"
	case "fail", "failed":
		return "✕"
	case "error":
		return "!"
	case "reused":
		return "↺"
	case "blocked":
		return "–"
	}
	return "?"
}
