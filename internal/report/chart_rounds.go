package report

import (
	"html/template"
	"time"
)

// clock is the time that all rounds of a run took, from the first start to
// the last end.
type clock struct{ from, to time.Time }

func clockOf(rounds []Round) clock {
	var c clock
	see := func(s Step) {
		if s.Started.IsZero() || s.Ended.IsZero() || s.Status == "reused" {
			return
		}
		if c.from.IsZero() || s.Started.Before(c.from) {
			c.from = s.Started
		}
		if s.Ended.After(c.to) {
			c.to = s.Ended
		}
	}
	for _, r := range rounds {
		for _, s := range r.Steps {
			see(s)
		}
		if r.Route != nil && r.Route.Remedy != nil {
			see(*r.Route.Remedy)
		}
	}
	return c
}

// lane draws when a step ran within the run.
func (c clock) lane(s Step) template.HTML {
	const w, h, least = 240, 10, 2
	total := c.to.Sub(c.from)
	if s.Started.IsZero() || s.Ended.IsZero() || s.Status == "reused" || total <= 0 {
		return ""
	}
	v := newCanvas(w, h)
	v.line("grid", 0, h/2, w, h/2)
	x := axis{lo: 0, hi: total.Seconds(), from: 0, to: w - least}
	from, to := x.at(s.Started.Sub(c.from).Seconds()), x.at(s.Ended.Sub(c.from).Seconds())
	v.rect("lane "+s.Status, from, 1, max(to-from, least), h-2)
	return v.draw("lanes", s.Name+" took "+span(s.Ended.Sub(s.Started)))
}
