package compare

import (
	"strconv"
	"strings"

	"calrun/internal/stats"
)

// chosen is the points of one group that its numbers are over.
type chosen struct {
	at     string  // JSON pointer of the group, "" for the top
	points []*pair // compared in every metric
	rates  []*pair // compared by throughput: overloaded ones too
	absent string  // why there are no points
	unsure string  // a doubt about all numbers but the throughput
	alone  bool    // probes: no throughput
}

// group builds the numbers of a group and enters their leaves and doubts.
func (b *builder) group(c chosen) Group {
	g := Group{Cells: []Cell{}}
	metrics := [...]*Metric{&g.TTFT, &g.TPOT, &g.E2E}
	paired := [...]*Paired{&g.Requests.TTFT, &g.Requests.TPOT, &g.Requests.E2E}
	for metric, name := range metricNames {
		at := c.at + "/" + name
		slots := [...]*Errors{&metrics[metric].P50, &metrics[metric].P90, &metrics[metric].P95, &metrics[metric].P99, &metrics[metric].Mean}
		for stat, slot := range slots {
			var entries []entry
			for _, p := range c.points {
				entries = append(entries, b.entries[p][metric*len(statNames)+stat])
			}
			*slot = b.errors(at+"/"+statNames[stat], entries, c.absent)
		}
		b.groupDistances(c, metric, metrics[metric], paired[metric])
		b.unsure(at, c.unsure)
		b.unsure(c.at+"/requests/"+name, c.unsure)
	}
	var entries []entry
	for _, p := range c.rates {
		entries = append(entries, b.entries[p][len(b.entries[p])-1])
	}
	why := c.absent
	if len(c.rates) == 0 && c.alone {
		why = "probes are alone, their throughput is no rate of the engine"
	}
	g.Throughput = b.errors(c.at+"/throughput", entries, why)
	for _, p := range c.points {
		for _, e := range b.entries[p] {
			if e.cell.Metric == "throughput" && c.alone {
				continue
			}
			g.Cells = append(g.Cells, b.place(c.at+"/cells/"+strconv.Itoa(len(g.Cells)), e))
		}
	}
	b.unsure(c.at+"/cells", c.unsure)
	if len(c.points) == 0 {
		b.unsure(c.at+"/cells", c.absent)
	}
	return g
}

// errors aggregates cells over points. One point without a number leaves the
// aggregate without one: nothing is left out because it went wrong.
func (b *builder) errors(at string, entries []entry, absent string) Errors {
	if len(entries) == 0 {
		b.unsure(at, absent)
		return Errors{}
	}
	var cols []int
	var whys []string
	var worst, sum, absSum float64
	whole := true
	for _, e := range entries {
		cols = append(cols, e.col)
		if e.cell.Doubt != "" {
			whys = append(whys, e.cell.Point+": "+e.cell.Doubt)
		}
		if e.cell.Bias == nil {
			whole = false
			continue
		}
		worst = max(worst, *e.cell.APE)
		sum += *e.cell.Bias
		absSum += *e.cell.APE
	}
	b.unsure(at, summary(whys, len(entries)))
	b.leaf(at+"/mape", "mean_abs", cols...)
	b.leaf(at+"/worst", "max_abs", cols...)
	b.leaf(at+"/bias", "mean", cols...)
	if !whole {
		return Errors{}
	}
	n := float64(len(entries))
	return Errors{number(absSum / n), number(worst), number(sum / n)}
}

// groupDistances fills KS, W1 and the errors by request: means over points.
func (b *builder) groupDistances(c chosen, metric int, m *Metric, paired *Paired) {
	at := c.at + "/" + metricNames[metric]
	byRequest := c.at + "/requests/" + metricNames[metric]
	if len(c.points) == 0 {
		for _, pointer := range []string{at + "/ks", at + "/w1", byRequest} {
			b.unsure(pointer, c.absent)
		}
		return
	}
	var whys []string
	var values [4][]float64
	var cols [3][]int
	for _, p := range c.points {
		d := b.distances[p][metric]
		if d.doubt != "" {
			whys = append(whys, p.measured.Name+": "+d.doubt)
		}
		for k, v := range []*float64{d.ks, d.w1, d.requests.MAPE, d.requests.Correlation} {
			if v != nil {
				values[k] = append(values[k], *v)
			}
		}
		for k, col := range []int{d.ksCol, d.w1Col, d.requestsCol} {
			cols[k] = append(cols[k], col)
		}
	}
	average := func(k int) *float64 {
		if len(values[k]) < len(c.points) {
			return nil
		}
		return number(stats.Mean(values[k]))
	}
	m.KS, m.W1 = average(0), average(1)
	*paired = Paired{MAPE: average(2), Correlation: average(3)}
	for k, pointer := range []string{at + "/ks", at + "/w1", byRequest + "/mape"} {
		b.leaf(pointer, "mean", cols[k]...)
	}
	why := summary(whys, len(c.points))
	for _, pointer := range []string{at + "/ks", at + "/w1", byRequest} {
		b.unsure(pointer, why)
	}
	switch {
	case why != "":
	case paired.Correlation == nil:
		b.unsure(byRequest+"/correlation", "a side does not vary at some point")
	default:
		b.unsure(byRequest+"/correlation", unreplicated)
	}
}

// summary says doubts of several points once: without names where all points
// share one reason.
func summary(whys []string, points int) string {
	if len(whys) == 0 {
		return ""
	}
	_, first, _ := strings.Cut(whys[0], ": ")
	for _, w := range whys {
		if _, why, _ := strings.Cut(w, ": "); why != first {
			return strings.Join(whys, "; ")
		}
	}
	if len(whys) < points {
		return strings.Join(whys, "; ")
	}
	return first
}
