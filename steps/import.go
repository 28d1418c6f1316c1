package steps

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"calrun/internal/engine"
	"calrun/internal/trace"
	"calrun/internal/workload"
	"calrun/pipeline"
)

var importKind = pipeline.Kind{
	Name: "import", Doc: "Take a recorded measurement instead of an engine.", Version: 2, Repeat: pipeline.Exact,
	New: func() pipeline.Step { return &Import{} }, Result: MeasuredResult{},
}

// Import reads a recording and yields what [HardwareRun] would have yielded.
type Import struct {
	From       pipeline.Artefact `yaml:"from" artefact:"measurement" required:"true" doc:"folder: one that calrun measured, or LLMServingSim's requests.jsonl and meta.json"`
	Format     string            `yaml:"format" enum:"auto,calrun,llmserving-sim" default:"auto" doc:"what the folder holds; auto looks at its files"`
	Deployment Deployment        `yaml:"deployment" doc:"what was deployed, for the record"`
}

// The formats of a recording.
const (
	formatCalrun = "calrun"
	formatSim    = "llmserving-sim"
)

// Run reads and writes.
func (i *Import) Run(_ context.Context, rt *pipeline.Runtime) (any, error) {
	format, err := i.format()
	if err != nil {
		return nil, fmt.Errorf("import: %w", err)
	}
	var m *recording
	if format == formatCalrun {
		m, err = readCalrun(i.From.Path)
	} else {
		m, err = readServingSim(i.From.Path)
	}
	if err != nil {
		return nil, fmt.Errorf("import: %w", err)
	}
	res := &MeasuredResult{
		Engine:  MeasuredEngine{m.facts.Name, m.facts.Version, m.facts.Model, m.facts.Fingerprint()},
		Clipped: m.workload.Counts.Clipped, Dropped: m.workload.Counts.Dropped,
		Stamps: "engine", Ended: m.workload.Ended, Join: m.workload.Join, Points: []PointRun{}, Doubts: []string{},
	}
	res.gather(m.points, RunLimits{Failures: 0.01})
	for _, p := range m.points {
		for _, run := range p.Runs {
			for _, row := range run.Rows {
				if row.OK() {
					res.Tokens.Prompt += row.Prompted
					res.Tokens.Output += row.Tokens
				}
			}
		}
	}
	res.doubt(rt)
	if res.Workload, res.Measurement, err = m.write(rt.Dir()); err != nil {
		return nil, fmt.Errorf("import: %w", err)
	}
	if err := i.results(m, res); err != nil {
		return nil, fmt.Errorf("import: %w", err)
	}
	return res, nil
}

// results writes result.json of every run. It names neither the plan nor the
// run that imports: one recording yields the same bytes everywhere.
func (i *Import) results(m *recording, res *MeasuredResult) error {
	for _, p := range m.points {
		for _, run := range p.Runs {
			r := newTemplate(i.Deployment, m.facts, p, run)
			if err := i.askedBy(r); err != nil {
				return err
			}
			r.Workload.Type = map[trace.Group]string{trace.Probe: "fixed_lengths", trace.Sweep: "poisson_trace", trace.Replay: "trace_replay"}[p.Group]
			r.Workload.Dataset, r.Calrun.Stamps = orNil(m.workload.Dataset), res.Stamps
			if err := r.write(filepath.Join(trace.RunDir(res.Measurement.Path, p.Name, run.Seed), "result.json")); err != nil {
				return err
			}
		}
	}
	return nil
}

// askedBy fills in who asked for the requests: what a recording by calrun
// says itself; of any other the recording, by its digest.
func (i *Import) askedBy(r *Template) error {
	path := filepath.Join(trace.RunDir(i.From.Path, r.Calrun.Point, r.Calrun.Seed), "result.json")
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		_, digest, _ := strings.Cut(i.From.Digest, ":")
		r.ID = "recording-" + digest[:min(len(digest), 12)]
		return nil
	}
	if err != nil {
		return err
	}
	var asked Template
	if err := json.Unmarshal(data, &asked); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	r.ID, r.Calrun.Plan, r.Calrun.Run = asked.ID, asked.Calrun.Plan, asked.Calrun.Run
	return nil
}

// format decides what the folder holds.
func (i *Import) format() (string, error) {
	if i.Format != "" && i.Format != "auto" {
		return i.Format, nil
	}
	has := func(name string) bool {
		_, err := os.Stat(filepath.Join(i.From.Path, name))
		return err == nil
	}
	switch {
	case has("points.json"):
		return formatCalrun, nil
	case has("requests.jsonl") && has("meta.json"):
		return formatSim, nil
	}
	entries, err := os.ReadDir(i.From.Path)
	if err != nil {
		return "", err
	}
	var names []string
	for _, e := range entries[:min(len(entries), 8)] {
		names = append(names, e.Name())
	}
	return "", fmt.Errorf("%s holds %q: neither points.json (calrun) nor requests.jsonl and meta.json (LLMServingSim)", i.From.Path, names)
}

// readCalrun reads a folder that hardware-run wrote.
func readCalrun(dir string) (*recording, error) {
	points, err := trace.ReadPoints(dir)
	if err != nil {
		return nil, err
	}
	m := &recording{points: points}
	rows := 0
	for _, p := range points {
		for _, r := range p.Runs {
			rows += len(r.Rows)
		}
	}
	if rows == 0 {
		return nil, fmt.Errorf("%s holds requests without answers: that is a workload, not a measurement", dir)
	}
	if m.facts, err = engine.ReadFacts(dir); err != nil {
		return nil, err
	}
	if m.workload, err = workload.ReadFacts(dir); err != nil {
		return nil, err
	}
	return m, nil
}
