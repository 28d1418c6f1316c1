package steps

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"calrun/internal/engine"
	"calrun/internal/stats"
	"calrun/internal/trace"
	"calrun/internal/workload"
	"calrun/pipeline"
)

var importKind = pipeline.Kind{
	Name: "import", Doc: "Take a recorded measurement instead of an engine.", Version: 3, Repeat: pipeline.Exact,
	New: func() pipeline.Step { return &Import{} }, Result: MeasuredResult{},
}

// Import reads a recording and yields what [HardwareRun] would have yielded.
type Import struct {
	From       pipeline.Artefact `yaml:"from" artefact:"measurement" required:"true" doc:"folder that calrun measured, or another load generator's result: calrun import --help says which"`
	Format     string            `yaml:"format" enum:"auto,calrun,llmserving-sim,vllm,guidellm,aiperf,inference-perf,veeksha" default:"auto" doc:"what it is; auto knows folders by their files"`
	Deployment Deployment        `yaml:"deployment" doc:"what was deployed, for the record"`
}

// Format is a way to record a measurement.
type Format struct {
	Name string // as the field format has it
	What string // whose file or folder it is, and what makes that tool write it
	read func(path string) (*recording, error)
}

// Formats are those that [Import] reads.
func Formats() []Format {
	return []Format{
		{formatCalrun, "a folder that calrun measured", readCalrun},
		{formatSim, "a folder with LLMServingSim's requests.jsonl and meta.json", readServingSim},
		peerFormat("vllm", "the JSON file of vllm bench serve --save-result --save-detailed", readVLLM),
		peerFormat("guidellm", "the JSON file of guidellm (--output kind=json)", readGuideLLM),
		peerFormat("aiperf", "profile_export.jsonl of aiperf profile --streaming --export-level records", readAIPerf),
		peerFormat("inference-perf", "per_request_lifecycle_metrics.json of inference-perf (api: {streaming: true}, report: {request_lifecycle: {per_request: true}})", readInferencePerf),
		peerFormat("veeksha", "request_level_metrics.jsonl of veeksha (evaluators: [{type: performance}])", readVeeksha),
	}
}

// The formats that auto knows.
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
	m, err := format.read(i.From.Path)
	if err != nil {
		return nil, fmt.Errorf("import: %w", err)
	}
	res := &MeasuredResult{
		Engine:  MeasuredEngine{m.facts.Name, m.facts.Version, m.facts.Model, m.facts.Fingerprint()},
		Clipped: m.workload.Counts.Clipped, Dropped: m.workload.Counts.Dropped,
		Ended: m.workload.Ended, Join: m.workload.Join, Points: []PointRun{}, Doubts: append([]string{}, m.workload.Doubts...),
	}
	res.gather(m.points, RunLimits{Failures: 0.01})
	res.recorded(m)
	res.doubt(rt)
	if res.Workload, res.Measurement, err = m.write(rt.Dir()); err != nil {
		return nil, fmt.Errorf("import: %w", err)
	}
	if err := i.results(format.Name, m, res); err != nil {
		return nil, fmt.Errorf("import: %w", err)
	}
	return res, nil
}

// recorded fills what follows from the rows of a recording; it wants the lines
// of the runs to be there. Where clocks were joined, sent − due is their error
// and not the generator's.
func (r *MeasuredResult) recorded(m *recording) {
	n := 0
	for _, p := range m.points {
		for _, run := range p.Runs {
			var late []float64
			for _, row := range run.Rows {
				if row.OK() {
					r.Tokens.Prompt += row.Prompted
					r.Tokens.Output += row.Tokens
					late = append(late, row.Late().Seconds())
				}
			}
			if line := &r.Points[n]; m.workload.Join == nil && len(late) > 0 {
				line.Late = stats.Quantile(stats.Sorted(late), 0.99)
				r.Late = max(r.Late, line.Late)
			}
			n++
		}
	}
}

// results writes result.json of every run. It names neither the plan nor the
// run that imports: one recording yields the same bytes everywhere.
func (i *Import) results(format string, m *recording, res *MeasuredResult) error {
	_, digest, _ := strings.Cut(i.From.Digest, ":")
	for _, p := range m.points {
		for _, run := range p.Runs {
			r := newTemplate(i.Deployment, m.facts, p, run)
			r.ID, r.Calrun.Stamps = "recording-"+digest[:min(len(digest), 12)], cmp.Or(m.stamps, "engine")
			if format == formatCalrun {
				if err := i.askedBy(r); err != nil {
					return err
				}
			}
			res.Stamps = r.Calrun.Stamps
			r.Workload.Type = map[trace.Group]string{trace.Probe: "fixed_lengths", trace.Sweep: "poisson_trace", trace.Replay: "trace_replay"}[p.Group]
			r.Workload.Dataset = orNil(m.workload.Dataset)
			if err := r.write(filepath.Join(trace.RunDir(res.Measurement.Path, p.Name, run.Seed), "result.json")); err != nil {
				return err
			}
		}
	}
	return nil
}

// askedBy fills in who asked for the requests and who stamped the answers, as
// a recording by calrun says itself.
func (i *Import) askedBy(r *Template) error {
	path := filepath.Join(trace.RunDir(i.From.Path, r.Calrun.Point, r.Calrun.Seed), "result.json")
	var asked Template
	if err := readJSON(path, &asked); errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	r.ID, r.Calrun.Plan, r.Calrun.Run = asked.ID, asked.Calrun.Plan, asked.Calrun.Run
	r.Calrun.Stamps = cmp.Or(asked.Calrun.Stamps, r.Calrun.Stamps)
	return nil
}

// format decides what is there to read.
func (i *Import) format() (Format, error) {
	named := func(name string) (Format, error) {
		all := Formats()
		if at := slices.IndexFunc(all, func(f Format) bool { return f.Name == name }); at >= 0 {
			return all[at], nil
		}
		return Format{}, fmt.Errorf("there is no format %q", name)
	}
	if i.Format != "" && i.Format != "auto" {
		return named(i.Format)
	}
	has := func(name string) bool {
		_, err := os.Stat(filepath.Join(i.From.Path, name))
		return err == nil
	}
	switch {
	case has("points.json"):
		return named(formatCalrun)
	case has("requests.jsonl") && has("meta.json"):
		return named(formatSim)
	}
	if info, err := os.Stat(i.From.Path); err == nil && !info.IsDir() {
		return Format{}, fmt.Errorf("%s is a file: say by format which load generator wrote it; calrun import --help lists them", i.From.Path)
	}
	entries, err := os.ReadDir(i.From.Path)
	if err != nil {
		return Format{}, err
	}
	var names []string
	for _, e := range entries[:min(len(entries), 8)] {
		names = append(names, e.Name())
	}
	return Format{}, fmt.Errorf("%s holds %q: neither points.json (calrun) nor requests.jsonl and meta.json (LLMServingSim)", i.From.Path, names)
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
