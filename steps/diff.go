package steps

import (
	"context"
	"fmt"
	"path/filepath"

	"calrun/internal/compare"
	"calrun/internal/trace"
	"calrun/pipeline"
)

// diffKind compares a measurement and a simulation of the same requests.
var diffKind = pipeline.Kind{
	Name: "diff", Doc: "Compare what was measured with what was simulated.", Version: 2, Repeat: pipeline.Exact,
	New: func() pipeline.Step { return &Diff{Looks: 1, Scope: compare.ScopeStable, Draws: 2000, Seed: 1} }, Result: DiffResult{},
}

// Diff pairs the requests of a measurement and a simulation. It is statistics
// alone: what caused an error is the business of `diagnose`.
type Diff struct {
	Measured  pipeline.Artefact `yaml:"measured" artefact:"measurement" required:"true" doc:"what the engine did"`
	Simulated pipeline.Artefact `yaml:"simulated" artefact:"simulation" required:"true" doc:"what the simulator said of the same requests"`
	Scope     string            `yaml:"scope" enum:"stable,all" default:"stable" doc:"points whose latencies are compared: all, or only those at which the engine kept up"`
	Looks     int               `yaml:"looks" fill:"looks" min:"1" default:"1" doc:"how often the gates over this result may look; filled in by the loader"`
	Draws     int               `yaml:"draws" min:"200" max:"20000" default:"2000" doc:"bootstrap replicates"`
	Seed      int               `yaml:"seed" min:"0" default:"1" doc:"of the resampling"`
}

// DiffResult holds the errors of a simulation, by the names that assertions
// use.
type DiffResult struct {
	compare.Result
	Detail pipeline.Artefact `json:"detail" artefact:"diff" doc:"cells, curves, doubts and the evidence behind them"`
	Draws  pipeline.Artefact `json:"draws" artefact:"draws" doc:"replicates of the numbers above"`
}

// Names implements [pipeline.Namer]: the points of the measurement, and the
// same under fitted.
func (s *Diff) Names(in pipeline.Static) map[string][]string {
	names := in.Names("measured")
	if names == nil {
		return nil
	}
	return map[string][]string{"points": names, "fitted.points": names}
}

// Run compares.
func (s *Diff) Run(ctx context.Context, rt *pipeline.Runtime) (any, error) {
	measured, err := trace.ReadPoints(s.Measured.Path)
	if err != nil {
		return nil, fmt.Errorf("diff: the measurement: %w", err)
	}
	simulated, err := trace.ReadPoints(s.Simulated.Path)
	if err != nil {
		return nil, fmt.Errorf("diff: the simulation: %w", err)
	}
	fittedOn, err := readFittedOn(s.Simulated.Path)
	if err != nil {
		return nil, fmt.Errorf("diff: %w", err)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	c, err := compare.Compare(measured, simulated, compare.Options{
		FittedOn: fittedOn, Looks: s.Looks, Scope: s.Scope, Draws: s.Draws, Seed: uint64(s.Seed),
	})
	if err != nil {
		return nil, err
	}
	if in := c.Result.Inputs; !in.Same {
		rt.Log().Warn().Int("checked", in.Checked).Int("due", in.Due).Int("prompt", in.Prompt).Int("output", in.Output).
			Msg("the simulator was not given what the engine was given: no gate over the points concerned passes or fails")
	}
	return s.write(rt.Dir(), c)
}

// write puts the detail and the draws below dir.
func (s *Diff) write(dir string, c *compare.Comparison) (*DiffResult, error) {
	res := &DiffResult{
		Result: c.Result,
		Detail: pipeline.Artefact{Of: "diff", Path: filepath.Join(dir, "detail")},
		Draws:  pipeline.Artefact{Of: "draws", Path: filepath.Join(dir, "draws.bin")},
	}
	if err := compare.WriteDetail(res.Detail.Path, &c.Detail); err != nil {
		return nil, fmt.Errorf("diff: %w", err)
	}
	if err := pipeline.WriteDraws(res.Draws.Path, pipelineDraws(c.Draws)); err != nil {
		return nil, fmt.Errorf("diff: %w", err)
	}
	return res, nil
}

// readFittedOn reads from a simulation which points its parameters were
// fitted on.
func readFittedOn(dir string) ([]string, error) {
	var file struct {
		Params struct {
			FittedOn []string `json:"fitted_on"`
		} `json:"params"`
	}
	if err := readJSON(filepath.Join(dir, "simulation.json"), &file); err != nil {
		return nil, fmt.Errorf("the simulation's parameters: %w", err)
	}
	return file.Params.FittedOn, nil
}

// pipelineDraws says the draws of a comparison in the runner's words.
func pipelineDraws(d compare.Draws) *pipeline.Draws {
	out := &pipeline.Draws{
		Leaves: make(map[string]pipeline.Leaf, len(d.Leaves)),
		Sets:   make(map[string]pipeline.Matrix, len(d.Sets)),
		Doubts: d.Doubts,
	}
	for name, l := range d.Leaves {
		out.Leaves[name] = pipeline.Leaf{Op: l.Op, Cols: l.Cols}
	}
	for name, m := range d.Sets {
		out.Sets[name] = pipeline.Matrix{Cols: m.Cols, Values: m.Values}
	}
	return out
}

var (
	_ pipeline.Step  = (*Diff)(nil)
	_ pipeline.Namer = (*Diff)(nil)
)
