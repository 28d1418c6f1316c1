package steps

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"calrun/internal/compare"
	"calrun/internal/report"
	"calrun/pipeline"
)

// finished is a run that failed once, was tuned and passed.
func finished() *pipeline.State {
	at := time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC)
	step := func(name, kind, result string, status pipeline.Status) *pipeline.StepState {
		at = at.Add(time.Minute)
		return &pipeline.StepState{Name: name, Kind: kind, Status: status, Started: at, Ended: at.Add(30 * time.Second), Result: json.RawMessage(result), From: "round 1"}
	}
	judged := func(v pipeline.Verdict, mape float64) map[string]*pipeline.GateState {
		return map[string]*pipeline.GateState{"verdict": {Name: "verdict", Verdict: v, Assert: []pipeline.Judgement{{
			Name: "strict", Expr: "ttft.p50.mape < 0.05", Verdict: v,
			Values: map[string]float64{"ttft.p50.mape": mape}, Shares: map[string]float64{"replicates": 0.99, "null": 1},
		}}}}
	}
	detail := `{"detail":{"artefact":"diff","digest":"sha256:d1"}}`
	return &pipeline.State{
		Run: "20261124-090000-aaaa", Plan: "p", Opened: at, Closed: at.Add(time.Hour), Verdict: pipeline.Pass,
		Rounds: []*pipeline.Round{
			{
				N: 1, Gates: judged(pipeline.Fail, 0.21),
				Steps: map[string]*pipeline.StepState{
					"sim":   step("sim", "simulate", `{"params":{"cpu_overhead_s":0,"batch_size_cap":256}}`, pipeline.Done),
					"error": step("error", "diff", detail, pipeline.Done),
				},
				Route: &pipeline.RouteState{
					Gate: "verdict", When: "failed.strict", Values: map[string]any{"ttft.p50.mape": 0.21, "failed.strict": true}, Run: "tune",
					Remedy: &pipeline.StepState{Name: "tune", Kind: "tune", Status: pipeline.Done, Result: json.RawMessage(`{"improved":true,"knobs":[{"name":"cpu_overhead_s","low":0.0021,"high":0.0029}]}`), Sets: map[string]json.RawMessage{"sim.params": json.RawMessage(`{"cpu_overhead_s":0.0025}`)}},
				},
			},
			{
				N: 2, Gates: judged(pipeline.Pass, 0.02),
				Steps: map[string]*pipeline.StepState{
					"sim":   step("sim", "simulate", `{"params":{"cpu_overhead_s":0.0025,"batch_size_cap":256,"fitted_on":["rps-1"]}}`, pipeline.Done),
					"error": step("error", "diff", detail, pipeline.Done),
				},
			},
		},
	}
}

// sampleDetail has a held-out, a fitted and an overloaded point.
func sampleDetail() *compare.Detail {
	cell := func(point string, bias float64) compare.Cell {
		return compare.Cell{Point: point, Metric: "ttft", Stat: "p50", Measured: new(0.1), Simulated: new(0.1 * (1 + bias)), Bias: new(bias), Low: new(bias - 0.01), High: new(bias + 0.01), N: 100}
	}
	d := &compare.Detail{
		Scope:  "stable",
		Cells:  []compare.Cell{cell("rps-2", 0.02), cell("rps-10", -0.3), cell("rps-1", 0.01), {Point: "rps-2", Metric: "tpot", Stat: "p50", Doubt: "no values"}},
		Curves: []compare.Curve{{Point: "rps-2", Metric: "ttft", P: []float64{0, 1}, Measured: []float64{0.1, 0.2}, Simulated: []float64{0.1, 0.2}}},
	}
	d.Result.Points = map[string]*compare.Point{
		"rps-2":  {Group: "sweep", Rate: 2, State: "stable", N: 100, Rho: new(0.4)},
		"rps-10": {Group: "sweep", Rate: 10, State: "overloaded", N: 97, Failed: 3},
	}
	d.Result.Fitted.Points = map[string]*compare.Point{"rps-1": {Group: "sweep", Rate: 1, State: "stable", Fitted: true, N: 100}}
	d.Result.Cells = []compare.Cell{cell("rps-2", 0.02)}
	d.Result.Overloaded, d.Result.FittedOn = []string{"rps-10"}, []string{"rps-1"}
	d.Result.Knee = compare.Knee{Measured: new(3.0), Simulated: new(3.3), Error: new(0.1), Bias: new(0.1), State: "bracketed"}
	return d
}

func record(t *testing.T) RunRecord {
	t.Helper()
	dir := t.TempDir()
	if err := compare.WriteDetail(dir, sampleDetail()); err != nil {
		t.Fatal(err)
	}
	return RunRecord{State: finished(), Artefact: func(pipeline.Artefact) (string, error) { return dir, nil }}
}

func TestReportOfARun(t *testing.T) {
	p := Report(record(t))
	if p.Verdict != "pass" || !strings.Contains(p.Headline, "round 2, after tune") {
		t.Errorf("verdict %q, headline %q", p.Verdict, p.Headline)
	}
	if len(p.Figures) != 1 || p.Figures[0].Value != 0.02 || p.Figures[0].Limit != 0.05 {
		t.Errorf("figures %+v, want the value and bound of the gate", p.Figures)
	}
	if want := "worst +2.0 % at rps-2"; len(p.Figures) == 1 && p.Figures[0].Note != want {
		t.Errorf("note %q, want %q", p.Figures[0].Note, want)
	}
	if p.Comparison == nil {
		t.Fatal("no comparison")
	}
	var names []string
	for _, pt := range p.Comparison.Points {
		names = append(names, pt.Name)
		if apart := pt.Name != "rps-2"; pt.Apart != apart {
			t.Errorf("%s stands apart: %v, want %v", pt.Name, pt.Apart, apart)
		}
	}
	if got := strings.Join(names, " "); got != "rps-1 rps-2 rps-10" {
		t.Errorf("points %s, want them by rate", got)
	}
	if c := p.Comparison.Points[1].Cells; len(c) != 1 || c[0].Limit != 0.05 {
		t.Errorf("cells of rps-2: %+v, want one with the gate's bound and none without values", c)
	}
	if p.Params == nil || len(p.Params.Columns) != 2 || p.Params.FittedOn[0] != "rps-1" {
		t.Errorf("params %+v, want a column for each of two rounds", p.Params)
	}
	if v := p.Params.Rows[1].Values; !slices.Equal(v, []string{"0", "0.0025 (0.0021 to 0.0029)"}) {
		t.Errorf("cpu_overhead_s is shown as %q, want the interval of the fit beside its value", v)
	}
	if rt := p.Rounds[0].Route; rt == nil || rt.Remedy == nil || len(rt.Values) != 2 || len(rt.Sets) != 1 {
		t.Errorf("route %+v", rt)
	}
}

// Every page can be written, and shows what is not known as missing.
func TestReportIsWritten(t *testing.T) {
	gone := record(t)
	gone.Artefact = func(pipeline.Artefact) (string, error) { return "", errors.New("removed by gc") }
	open := record(t)
	open.State.Closed, open.State.Verdict = time.Time{}, ""
	broken := RunRecord{State: &pipeline.State{Run: "r", Plan: "p", Opened: time.Now(), Closed: time.Now(), Exit: pipeline.ExitError, Reasons: []string{"hardware: no engine at http://127.0.0.1:1"}}}
	rows := []struct {
		why  string
		r    RunRecord
		want string
	}{
		{"a whole run", record(t), "rps-10"},
		{"its artefacts are gone: the gates still show", gone, "removed by gc"},
		{"a run that goes on", open, "Not finished"},
		{"a run without a round", broken, "no engine at"},
	}
	for _, row := range rows {
		var html, table bytes.Buffer
		page := Report(row.r)
		if err := errors.Join(report.HTML(&html, page), report.Table(&table, page, 80, false)); err != nil {
			t.Errorf("%s: %v", row.why, err)
		}
		if !strings.Contains(html.String(), row.want) {
			t.Errorf("%s: the page lacks %q", row.why, row.want)
		}
	}
}

func TestReportNamesWithoutPlan(t *testing.T) {
	rows := []struct{ name, want string }{
		{"ttft.p50.mape", "TTFT P50, mean error"},
		{"replay.e2e.p99.worst", "E2E P99, worst error, replay"},
		{"throughput.mape", "Throughput, mean error"},
		{"tpot.mean.bias", "TPOT mean, signed error"},
	}
	for _, r := range rows {
		m := metricName.FindStringSubmatch(r.name)
		if m == nil {
			t.Errorf("%s is no metric", r.name)
			continue
		}
		if got := pageFigureName(m); got != r.want {
			t.Errorf("%s is shown as %q, want %q", r.name, got, r.want)
		}
	}
}
