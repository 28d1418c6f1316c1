package report

import (
	"cmp"
	"html/template"
	"math"
	"slices"
)

// views are what the three charts over the rates show.
var views = [...]struct{ metric, quantile string }{{"ttft", "p50"}, {"tpot", "p50"}, {"e2e", "p99"}}

// chart is a drawing with the words around it.
type chart struct {
	Title string
	Note  string
	SVG   template.HTML
}

// rateCharts draws metrics over the arrival rate, measured and simulated.
// They need two rates; with fewer there is nothing to draw.
func rateCharts(c *Comparison) []chart {
	var sweep []Point
	for _, p := range c.Points {
		if p.Group == "sweep" && p.Rate > 0 {
			sweep = append(sweep, p)
		}
	}
	slices.SortStableFunc(sweep, func(a, b Point) int { return cmp.Compare(a.Rate, b.Rate) })
	var out []chart
	for _, v := range views {
		var rates []float64
		var cells []Cell
		for _, p := range sweep {
			if cell, ok := p.cell(v.metric, v.quantile); ok {
				rates, cells = append(rates, p.Rate), append(cells, cell)
			}
		}
		if len(rates) < 2 {
			continue
		}
		knee := c.Knee
		if v.metric != "e2e" {
			knee = nil
		}
		out = append(out, rateChart(rates, cells, knee))
	}
	return out
}

// cell finds a cell of a point.
func (p Point) cell(metric, quantile string) (Cell, bool) {
	for _, c := range p.Cells {
		if c.Metric == metric && c.Quantile == quantile {
			return c, true
		}
	}
	return Cell{}, false
}

// The plot area inside a chart of the page.
const (
	chartW, chartH             = 340, 210
	chartLeft, chartRight      = 44, 10
	chartTop, chartBottom      = 12, 34
	legibleLabels              = 24 // pixels between labels of rates
	logFromRates, logFromTimes = 6, 20
)

func rateChart(rates []float64, cells []Cell, knee *Knee) chart {
	var times []float64
	for _, c := range cells {
		times = append(times, c.Measured, c.Simulated)
	}
	times = slices.DeleteFunc(times, func(v float64) bool { return !(v > 0) })
	s := scaleFor(times)
	title := upper(cells[0].Metric) + " " + upper(cells[0].Quantile)
	if len(times) == 0 {
		return chart{Title: title, Note: "no values"}
	}
	x := axis{lo: rates[0], hi: rates[len(rates)-1], from: chartLeft + 8, to: chartW - chartRight - 8}
	x.log = x.hi/x.lo > logFromRates
	y := axis{lo: 0, hi: slices.Max(times) * s.factor * 1.06, from: chartH - chartBottom, to: chartTop}
	note := s.unit
	if slices.Max(times)/slices.Min(times) > logFromTimes {
		y.lo, y.log = slices.Min(times)*s.factor*0.8, true
		note += ", logarithmic"
	}

	v := newCanvas(chartW, chartH)
	for _, t := range y.ticks(4) {
		v.line("grid", chartLeft, y.at(t), chartW-chartRight, y.at(t))
		v.text("tick", "end", chartLeft-6, y.at(t)+3.5, significant(t))
	}
	v.line("axis", chartLeft, y.from, chartW-chartRight, y.from)
	last := math.Inf(-1)
	for _, r := range rates {
		v.line("axis", x.at(r), y.from, x.at(r), y.from+4)
		if x.at(r)-last >= legibleLabels {
			v.text("tick", "middle", x.at(r), y.from+15, rate(r))
			last = x.at(r)
		}
	}
	v.text("tick", "middle", (chartLeft+chartW-chartRight)/2, chartH-4, "requests/s")
	if knee != nil {
		v.knee("simulated", knee.Simulated, x, y)
		v.knee("measured", knee.Measured, x, y)
	}
	sides := []struct {
		class string
		of    func(Cell) float64
	}{{"measured", func(c Cell) float64 { return c.Measured }}, {"simulated", func(c Cell) float64 { return c.Simulated }}}
	for _, side := range sides {
		var line [][2]float64
		for i, c := range cells {
			at := side.of(c)
			if !(at > 0) {
				line = append(line, [2]float64{math.NaN(), 0})
				continue
			}
			line = append(line, [2]float64{x.at(rates[i]), y.at(at * s.factor)})
		}
		v.path("curve "+side.class, line)
		for _, p := range line {
			if !math.IsNaN(p[0]) {
				v.dot("mark "+side.class, p[0], p[1], 3)
			}
		}
	}
	return chart{Title: title, Note: note, SVG: v.draw("chart", title+" over the arrival rate, measured and simulated")}
}

// knee marks a rate as a dashed upright.
func (c *canvas) knee(side string, at *float64, x, y axis) {
	if at == nil || *at < x.lo || *at > x.hi {
		return
	}
	c.line("upright "+side, x.at(*at), y.from, x.at(*at), y.to)
}

// cdfChart draws both distributions of a metric at one point. The axis ends
// at the larger 99.5 % quantile, so that one straggler does not flatten the
// rest.
func cdfChart(p Point, d CDF) chart {
	const w, h = 330, 140
	const left, right, top, bottom = 28, 8, 8, 20
	title := p.Name + " " + upper(d.Metric)
	n := len(d.P)
	if n < 2 || len(d.Measured) != n || len(d.Simulated) != n {
		return chart{Title: title, Note: "too few values"}
	}
	hi := max(tail(d.P, d.Measured), tail(d.P, d.Simulated))
	lo := min(d.Measured[0], d.Simulated[0])
	if lo < hi/4 {
		lo = 0
	}
	s := scaleFor([]float64{hi, max(lo, hi/20)})
	x := axis{lo: lo * s.factor, hi: hi * s.factor, from: left, to: w - right}
	y := axis{lo: 0, hi: 1, from: h - bottom, to: top}
	v := newCanvas(w, h)
	for _, q := range []float64{0, 0.5, 1} {
		v.line("grid", left, y.at(q), w-right, y.at(q))
		v.text("tick", "end", left-4, y.at(q)+3.5, significant(q))
	}
	for _, t := range x.ticks(4) {
		v.line("axis", x.at(t), y.from, x.at(t), y.from+3)
		v.text("tick", "middle", x.at(t), h-6, significant(t))
	}
	v.path("curve measured", cumulative(d.P, d.Measured, s.factor, x, y))
	v.path("curve simulated", cumulative(d.P, d.Simulated, s.factor, x, y))
	note, label := s.unit, "cumulative distribution of "+title+", measured and simulated"
	if d.KS != nil {
		note += " · KS " + number(*d.KS, 2)
		label += "; KS distance " + number(*d.KS, 2)
	}
	return chart{Title: title, Note: note, SVG: v.draw("cdf", label)}
}

// tail is the value at the first probability from 99.5 % on, else the last.
func tail(p, values []float64) float64 {
	for i, q := range p {
		if q >= 0.995 {
			return values[i]
		}
	}
	return values[len(values)-1]
}

// cumulative are values at probabilities as the points of a curve, which ends
// where it leaves the axis.
func cumulative(p, values []float64, factor float64, x, y axis) [][2]float64 {
	var out [][2]float64
	for i, v := range values {
		out = append(out, [2]float64{x.at(v * factor), y.at(p[i])})
		if v*factor > x.hi {
			break
		}
	}
	return out
}
