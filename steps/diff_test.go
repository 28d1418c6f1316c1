package steps

import (
	"context"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"calrun/internal/compare"
	"calrun/internal/trace"
	"calrun/pipeline"
)

// diffSides writes a measurement and a simulation of two calm rates, the
// simulator slow by a factor, and returns the step that compares them.
func diffSides(t *testing.T, factor float64, simulation string) *Diff {
	t.Helper()
	root := t.TempDir()
	side := func(name string, factor float64) pipeline.Artefact {
		var points []trace.Point
		for _, rate := range []float64{1, 2} {
			run := trace.Run{Seed: 1, State: trace.OK}
			for i := range 60 {
				req := trace.Request{ID: i, Due: time.Duration(float64(i) / rate * 1e9), Prompt: 100, Output: 10}
				wait := time.Duration(factor * float64(20+i%7) * 1e6)
				row := trace.Row{Request: req, Sent: req.Due, First: req.Due + wait, Last: req.Due + 10*wait, Prompted: 100, Tokens: 10}
				run.Requests, run.Rows, run.Window = append(run.Requests, req), append(run.Rows, row), row.Last
			}
			points = append(points, trace.Point{Name: "rps-" + string('0'+byte(rate)), Group: trace.Sweep, Rate: rate, Runs: []trace.Run{run}})
		}
		dir := filepath.Join(root, name)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := trace.WritePoints(dir, points); err != nil {
			t.Fatal(err)
		}
		return pipeline.Artefact{Path: dir}
	}
	d := diffKind.New().(*Diff)
	d.Measured, d.Simulated = side("measurement", 1), side("simulation", factor)
	if simulation != "" {
		if err := os.WriteFile(filepath.Join(d.Simulated.Path, "simulation.json"), []byte(simulation), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

func runDiff(t *testing.T, d *Diff) (*DiffResult, error) {
	t.Helper()
	res, err := d.Run(context.Background(), pipeline.NewScratch(t.TempDir(), zerolog.Nop()))
	if err != nil {
		return nil, err
	}
	return res.(*DiffResult), nil
}

func TestDiff(t *testing.T) {
	res, err := runDiff(t, diffSides(t, 1.1, `{"params":{"fitted_on":["rps-2"]}}`))
	if err != nil {
		t.Fatal(err)
	}
	if got := *res.TTFT.P50.MAPE; got < 0.0999 || got > 0.1001 {
		t.Errorf("a simulator slow by 10 %% has ttft.p50.mape %v", got)
	}
	if !reflect.DeepEqual(res.FittedOn, []string{"rps-2"}) || res.Points["rps-2"].TTFT.P50.APE != nil {
		t.Errorf("what was fitted on must not be among what was held out: %v", res.FittedOn)
	}
	draws, err := pipeline.ReadDraws(res.Draws.Path)
	if err != nil {
		t.Fatal(err)
	}
	if draws.Sets["replicates"].Rows() != 2000 || draws.Leaves["/ttft/p50/mape"].Op != "mean_abs" || draws.Doubts["/ttft/p99"] == "" {
		t.Errorf("the draws lost something: %d rows, leaf %+v", draws.Sets["replicates"].Rows(), draws.Leaves["/ttft/p50/mape"])
	}
	detail, err := compare.ReadDetail(res.Detail.Path)
	if err != nil {
		t.Fatal(err)
	}
	if len(detail.Curves) != 6 || len(detail.Cells) != 32 || detail.Doubts["/knee"] == "" {
		t.Errorf("detail has %d curves and %d cells, want 6 and 32", len(detail.Curves), len(detail.Cells))
	}
}

func TestDiffRefuses(t *testing.T) {
	if _, err := runDiff(t, diffSides(t, 1, "")); err == nil || !strings.Contains(err.Error(), "simulation.json") {
		t.Errorf("a simulation that does not say what it was fitted on: %v", err)
	}
	d := diffSides(t, 1, `{}`)
	d.Measured.Path = filepath.Join(d.Measured.Path, "points")
	if _, err := runDiff(t, d); err == nil || !strings.Contains(err.Error(), "diff: the measurement:") {
		t.Errorf("a measurement without points: %v", err)
	}
}

// The kind says that it is exact: the same sides give the same bytes.
func TestDiffIsDeterministic(t *testing.T) {
	var files [2][]byte
	for i := range files {
		res, err := runDiff(t, diffSides(t, 1.05, `{}`))
		if err != nil {
			t.Fatal(err)
		}
		if files[i], err = os.ReadFile(res.Draws.Path); err != nil {
			t.Fatal(err)
		}
	}
	if string(files[0]) != string(files[1]) {
		t.Error("the same sides gave other draws: the kind says it is exact")
	}
}

// A simulation of another workload has errors, and no gate over them passes
// or fails.
func TestDiffDoubtsOtherRequests(t *testing.T) {
	d := diffSides(t, 1.01, `{}`)
	points, err := trace.ReadPoints(d.Simulated.Path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range points[0].Runs[0].Rows {
		points[0].Runs[0].Requests[i].Prompt, points[0].Runs[0].Rows[i].Prompt, points[0].Runs[0].Rows[i].Prompted = 200, 200, 200
	}
	if err := trace.WritePoints(d.Simulated.Path, points); err != nil {
		t.Fatal(err)
	}
	res, err := runDiff(t, d)
	if err != nil {
		t.Fatal(err)
	}
	draws, err := pipeline.ReadDraws(res.Draws.Path)
	if err != nil {
		t.Fatal(err)
	}
	const want = "60 of 60 requests differ in arrival or length: not the same requests"
	for _, pointer := range []string{"/ttft/p50", "/points/rps-1/ttft/p50", "/throughput"} {
		if got := draws.Doubts[pointer]; !strings.Contains(got, want) {
			t.Errorf("doubt about %s is %q, want %q", pointer, got, want)
		}
	}
	if got := draws.Doubts["/points/rps-2/ttft/p50"]; got != "" || res.TTFT.P50.MAPE == nil {
		t.Errorf("the other rate is the same on both sides, yet %q", got)
	}
}
