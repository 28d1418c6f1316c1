package steps

import (
	"cmp"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"calrun/internal/compare"
	"calrun/internal/report"
	"calrun/pipeline"
)

// comparison fills what a `diff` step found into the page: figures, knee,
// points and their doubts. A plan without one keeps its page without them.
func (b *reporter) comparison(p *report.Page, r *pipeline.Round) {
	step := b.diffStep(r)
	if step == nil {
		return
	}
	detail, err := b.detail(step)
	if err != nil {
		b.doubt("the comparison of %s cannot be shown: %v", step.Name, err)
		return
	}
	limits := b.limits(r, step.Name)
	p.Comparison = &report.Comparison{Step: step.Name, Knee: pageKnee(detail.Result), Points: pagePoints(detail, limits), Level: 0.95}
	p.Figures = b.figures(r, step.Name, detail)
	b.pointDoubts(detail)
}

// diffStep is the comparison that a gate judges, else the first.
func (b *reporter) diffStep(r *pipeline.Round) *pipeline.StepState {
	var first *pipeline.StepState
	for _, name := range b.order(r.Steps) {
		st := r.Steps[name]
		if st.Kind != diffKind.Name || st.Result == nil {
			continue
		}
		if first == nil {
			first = st
		}
		for gate := range r.Gates {
			if b.of(gate) == name {
				return st
			}
		}
	}
	return first
}

func (b *reporter) detail(step *pipeline.StepState) (*compare.Detail, error) {
	for _, a := range topArtefacts(step.Result) {
		if a.name == "detail" {
			dir, err := b.Artefact(a.Artefact)
			if err != nil {
				return nil, err
			}
			return compare.ReadDetail(dir)
		}
	}
	return nil, fmt.Errorf("its result has no detail")
}

// boundPattern is `name < 0.05` inside an assertion.
var boundPattern = regexp.MustCompile(`([A-Za-z_][A-Za-z0-9_.]*(?:\["[^"]+"\][A-Za-z0-9_.]*)?)\s*<=?\s*([0-9.]+(?:[eE][-+]?[0-9]+)?)`)

// limits are the errors that assertions over a step tolerate, by the name
// they bound; of several the tightest.
func (b *reporter) limits(r *pipeline.Round, step string) map[string]float64 {
	out := map[string]float64{}
	for _, gate := range b.gateOrder(r.Gates) {
		if of := b.of(gate); of != step && of != "" {
			continue
		}
		for _, j := range r.Gates[gate].Assert {
			for _, m := range boundPattern.FindAllStringSubmatch(j.Expr, -1) {
				v, err := strconv.ParseFloat(m[2], 64)
				if old, seen := out[m[1]]; err == nil && (!seen || v < old) {
					out[m[1]] = v
				}
			}
		}
	}
	return out
}

// metricName is a name of a comparison that a headline can show.
var metricName = regexp.MustCompile(`^(?:(probes|replay|fitted)\.)?(ttft|tpot|e2e|throughput)(?:\.(p50|p90|p95|p99|mean))?\.(mape|worst|bias)$`)

// figures are the numbers that the gates read, in plan order; without gates
// the middle of TTFT and TPOT and the tail of E2E.
func (b *reporter) figures(r *pipeline.Round, step string, d *compare.Detail) []report.Figure {
	var out []report.Figure
	seen := map[string]bool{}
	limits := b.limits(r, step)
	for _, gate := range b.gateOrder(r.Gates) {
		if of := b.of(gate); of != step && of != "" {
			continue
		}
		g := r.Gates[gate]
		for _, j := range slices.Concat(g.Assert, g.Warn) {
			for _, name := range inExprOrder(j) {
				m := metricName.FindStringSubmatch(name)
				if m == nil || seen[name] {
					continue
				}
				seen[name] = true
				f := report.Figure{Name: pageFigureName(m), Value: j.Values[name], Limit: limits[name], Note: worstPoint(m, d)}
				if j.Verdict == pipeline.Inconclusive && len(j.Reasons) > 0 {
					f.Doubt = j.Reasons[0]
				}
				out = append(out, f)
			}
		}
	}
	if out != nil {
		return out
	}
	res := d.Result
	for _, f := range []struct {
		name string
		v    *float64
	}{{"ttft.p50.mape", res.TTFT.P50.MAPE}, {"tpot.p50.mape", res.TPOT.P50.MAPE}, {"e2e.p99.mape", res.E2E.P99.MAPE}} {
		if f.v != nil {
			m := metricName.FindStringSubmatch(f.name)
			out = append(out, report.Figure{Name: pageFigureName(m), Value: *f.v, Note: worstPoint(m, d)})
		}
	}
	return out
}

func pageFigureName(m []string) string {
	name := strings.ToUpper(m[2])
	if m[2] == "throughput" {
		name = "Throughput"
	}
	if m[3] != "" {
		name += " " + strings.Replace(strings.ToUpper(m[3]), "MEAN", "mean", 1)
	}
	name += map[string]string{"mape": ", mean error", "worst": ", worst error", "bias": ", signed error"}[m[4]]
	if m[1] != "" {
		name += ", " + m[1]
	}
	return name
}

// worstPoint names the sweep point with the largest error of a mean over points.
func worstPoint(m []string, d *compare.Detail) string {
	if m[1] != "" || m[4] != "mape" || m[3] == "" {
		return ""
	}
	var at compare.Cell
	for _, c := range d.Result.Cells {
		if c.Metric == m[2] && c.Stat == m[3] && c.Bias != nil && (at.Bias == nil || math.Abs(*c.Bias) > math.Abs(*at.Bias)) {
			at = c
		}
	}
	if at.Bias == nil {
		return ""
	}
	return "worst " + strings.Replace(fmt.Sprintf("%+.1f %%", *at.Bias*100), "-", "−", 1) + " at " + at.Point
}

func pageKnee(r compare.Result) *report.Knee {
	k, why := r.Knee, []string{}
	if k.Measured == nil && k.Simulated == nil && r.Fitted.Knee.State != "" && r.Fitted.Knee.State != "none" {
		k = r.Fitted.Knee
		why = append(why, "uses a rate that was fitted on")
	}
	if k.State == "" || k.State == "none" {
		return nil
	}
	if k.Reason != "" {
		why = append(why, k.Reason)
	}
	return &report.Knee{Measured: k.Measured, Simulated: k.Simulated, Error: k.Bias, State: k.State, Reason: strings.Join(why, "; ")}
}

// pagePoints are all points of a comparison: the sweep by rate, the replay, the
// probes by name.
func pagePoints(d *compare.Detail, limits map[string]float64) []report.Point {
	var out []report.Point
	for _, all := range []map[string]*compare.Point{d.Result.Fitted.Points, d.Result.Points} {
		for _, name := range inNameOrder(all) {
			// A fitted point stands under both, with its numbers under the first.
			if !slices.ContainsFunc(out, func(p report.Point) bool { return p.Name == name }) {
				out = append(out, pagePoint(name, all[name], d, limits))
			}
		}
	}
	groups := []string{"sweep", "replay", "probe"}
	slices.SortStableFunc(out, func(a, b report.Point) int {
		return cmp.Or(slices.Index(groups, a.Group)-slices.Index(groups, b.Group), cmp.Compare(a.Rate, b.Rate), shorterFirst(a.Name, b.Name))
	})
	return out
}

// shorterFirst compares names so that probe-512 stands before probe-2048.
func shorterFirst(a, b string) int {
	return cmp.Or(len(a)-len(b), strings.Compare(a, b))
}

func pagePoint(name string, p *compare.Point, d *compare.Detail, limits map[string]float64) report.Point {
	out := report.Point{Name: name, Group: p.Group, Rate: p.Rate, State: p.State, Requests: p.N + p.Failed, Failed: p.Failed}
	out.Apart = p.Fitted || p.State == "invalid" || p.State == "overloaded" && d.Scope != "all" && p.Group == "sweep"
	if p.Fitted {
		out.State = "fitted"
		if p.State != "stable" {
			out.State += ", " + p.State
		}
	}
	if p.Simulator != "" && p.Simulator != "ok" {
		out.State += ", simulator " + p.Simulator
	}
	if p.Rho != nil {
		out.Load = *p.Rho
	}
	out.Tokens = report.Pair{Measured: orZero(p.Throughput.Measured), Simulated: orZero(p.Throughput.Simulated)}
	for _, c := range d.Cells {
		if c.Point == name && c.Measured != nil && c.Simulated != nil && c.Metric != "throughput" {
			out.Cells = append(out.Cells, pageCell(c, p, limits))
		}
	}
	for _, c := range d.Curves {
		if c.Point == name {
			out.CDFs = append(out.CDFs, report.CDF{Metric: c.Metric, KS: pageKS(p, c.Metric), P: c.P, Measured: c.Measured, Simulated: c.Simulated})
		}
	}
	return out
}

func pageCell(c compare.Cell, p *compare.Point, limits map[string]float64) report.Cell {
	out := report.Cell{
		Metric: c.Metric, Quantile: c.Stat, Measured: *c.Measured, Simulated: *c.Simulated,
		Bias: math.NaN(), Lo: c.Low, Hi: c.High, N: c.N, Blocks: c.Blocks, Doubt: c.Doubt,
	}
	if c.Bias != nil {
		out.Bias = *c.Bias
	}
	prefix := map[string]string{"probe": "probes.", "replay": "replay."}[p.Group]
	stat := c.Stat
	if stat == "mean" && limits[prefix+c.Metric+".mean.mape"] == 0 {
		stat = "p50" // the mean may err as much as the median
	}
	name := c.Metric + "." + stat
	for _, of := range []string{prefix + name + ".mape", prefix + name + ".worst", `points["` + c.Point + `"].` + name + ".ape"} {
		if v, ok := limits[of]; ok && (out.Limit == 0 || v < out.Limit) {
			out.Limit = v
		}
	}
	return out
}

func pageKS(p *compare.Point, metric string) *float64 {
	return map[string]*float64{"ttft": p.TTFT.KS, "tpot": p.TPOT.KS, "e2e": p.E2E.KS}[metric]
}

// pointDoubts collects what a reader must know before trusting the figures.
func (b *reporter) pointDoubts(d *compare.Detail) {
	r := d.Result
	for _, name := range r.Overloaded {
		switch p := r.Points[name]; {
		case p != nil && p.Drain:
			b.doubt("The engine did not keep up at %s: TTFT and E2E there say how fast its queue drains.", name)
		case d.Scope != "all":
			b.doubt("The engine did not keep up at %s: compared by throughput alone.", name)
		}
	}
	if len(r.FittedOn) > 0 {
		b.doubt("The simulator's parameters were fitted on %s: these points are held apart.", strings.Join(r.FittedOn, ", "))
	}
	if r.Inputs.Checked > 0 && !r.Inputs.Same {
		b.doubt("Engine and simulator were not given the same requests: of %d pairs, %d differ in arrival, %d in prompt tokens, %d in output tokens.",
			r.Inputs.Checked, r.Inputs.Due, r.Inputs.Prompt, r.Inputs.Output)
	}
	if r.Inputs.Failed > 0 {
		b.doubt("%d requests failed on the engine; every other number leaves them out.", r.Inputs.Failed)
	}
	if r.Inputs.Cached > 0 {
		b.doubt("The engine served %.1f %% of prompt tokens from its prefix cache.", r.Inputs.Cached*100)
	}
	for _, all := range []map[string]*compare.Point{r.Points, r.Fitted.Points} {
		for _, name := range inNameOrder(all) {
			if p := all[name]; p.Reason != "" && p.State == "invalid" {
				b.doubt("%s: %s", name, p.Reason)
			}
		}
	}
}
