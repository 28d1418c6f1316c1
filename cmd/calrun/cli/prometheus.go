package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"

	"calrun/pipeline"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
)

// gauges collects the families of a text file, in the order in which they are
// first met.
type gauges struct {
	order  []string
	family map[string]*dto.MetricFamily
}

// set adds a value; labels are pairs of name and value.
func (g *gauges) set(name, help string, value float64, labels ...string) {
	f := g.family[name]
	if f == nil {
		f = &dto.MetricFamily{Name: &name, Help: &help, Type: dto.MetricType_GAUGE.Enum()}
		g.family[name] = f
		g.order = append(g.order, name)
	}
	m := &dto.Metric{Gauge: &dto.Gauge{Value: &value}}
	for i := 0; i+1 < len(labels); i += 2 {
		m.Label = append(m.Label, &dto.LabelPair{Name: &labels[i], Value: &labels[i+1]})
	}
	f.Metric = append(f.Metric, m)
}

// oneOf sets 1 for what is and 0 for what is not.
func (g *gauges) oneOf(name, help, label, is string, all []string, labels ...string) {
	for _, v := range all {
		g.set(name, help, float64(one(v == is)), append(slices.Clone(labels), label, v)...)
	}
}

var verdictNames = []string{string(pipeline.Pass), string(pipeline.Fail), string(pipeline.Inconclusive)}

// prometheus writes a run in the text format that node_exporter's textfile
// collector reads. A run's id is a label of calrun_run_info alone, so that the
// other series go on from run to run.
func prometheus(w io.Writer, e ending) error {
	g := &gauges{family: map[string]*dto.MetricFamily{}}
	s, plan := e.past.State, e.past.State.Plan
	g.set("calrun_run_info", "The newest run of a plan.", 1, "plan", plan, "run", s.Run, "version", s.Version)
	g.set("calrun_run_exit_code", "Exit code of the run: 0 pass, 1 fail, 3 error, 4 inconclusive, 130 interrupted.", float64(exitOf(s)), "plan", plan)
	g.oneOf("calrun_run_verdict", "Verdict of the run; all 0 after an error.", "verdict", string(s.Verdict), verdictNames, "plan", plan)
	g.set("calrun_run_rounds", "Rounds of the run.", float64(len(s.Rounds)), "plan", plan)
	g.set("calrun_run_opened_timestamp_seconds", "When the run began.", float64(s.Opened.UnixMilli())/1e3, "plan", plan)
	if !s.Closed.IsZero() {
		g.set("calrun_run_closed_timestamp_seconds", "When the run ended.", float64(s.Closed.UnixMilli())/1e3, "plan", plan)
	}
	g.set("calrun_run_active_seconds", "Time worked on the run.", s.Active.Seconds(), "plan", plan)
	for _, name := range e.gates() {
		gate := e.last().Gates[name]
		g.oneOf("calrun_gate_verdict", "Verdict of a gate in the last round.", "verdict", string(gate.Verdict), verdictNames, "plan", plan, "gate", name)
		for _, j := range append(slices.Clone(gate.Assert), gate.Warn...) {
			g.oneOf("calrun_assertion_verdict", "Verdict of an assertion in the last round.", "verdict", string(j.Verdict), verdictNames, "plan", plan, "gate", name, "assertion", j.Name)
			for _, v := range slices.Sorted(maps.Keys(j.Values)) {
				g.set("calrun_assertion_value", "A number that an assertion read.", j.Values[v], "plan", plan, "gate", name, "assertion", j.Name, "name", v)
			}
		}
	}
	for _, name := range e.steps() {
		st := e.last().Steps[name]
		g.set("calrun_step_seconds", "Time that a step took; 0 if its result was reused.", stepOf(st, false).Seconds, "plan", plan, "step", name, "kind", st.Kind, "status", string(st.Status))
	}
	for _, name := range e.steps() {
		var tree any
		if json.Unmarshal(e.last().Steps[name].Result, &tree) == nil {
			g.numbers(tree, "", "plan", plan, "step", name)
		}
	}
	for _, name := range g.order {
		if _, err := expfmt.MetricFamilyToText(w, g.family[name]); err != nil {
			return fmt.Errorf("metrics: %w", err)
		}
	}
	return nil
}

// numbers sets every number and every yes or no of a result, by its path;
// lists are data, not metrics, and left out.
func (g *gauges) numbers(v any, path string, labels ...string) {
	const name, help = "calrun_result", "A number in the result of a step, by its path; true is 1."
	switch x := v.(type) {
	case float64:
		g.set(name, help, x, append(slices.Clone(labels), "field", path)...)
	case bool:
		g.set(name, help, float64(one(x)), append(slices.Clone(labels), "field", path)...)
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(x)) {
			below := k
			if path != "" {
				below = path + "." + k
				if _, err := strconv.Atoi(k); err == nil {
					below = path + "[" + k + "]"
				}
			}
			g.numbers(x[k], below, labels...)
		}
	}
}
