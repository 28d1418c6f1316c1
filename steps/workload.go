package steps

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"calrun/internal/trace"
	"calrun/internal/workload"
	"calrun/pipeline"
)

// Workload is what is asked of an engine.
type Workload struct {
	Seed     int              `yaml:"seed" json:"seed" min:"0" default:"1" doc:"seed of every draw"`
	MaxTotal int              `yaml:"max_total" json:"max_total,omitempty" min:"0" doc:"most tokens of prompt and output together; 0 is no limit. A probe above it is an error"`
	Over     string           `yaml:"over" json:"over,omitempty" enum:"clip,drop,refuse" default:"refuse" doc:"what becomes of longer requests of a trace: shortened in proportion, left out, or an error; counted"`
	Dataset  string           `yaml:"dataset" json:"dataset,omitempty" doc:"name of the traces, for the record; without one their digest stands in"`
	Probes   *workload.Probes `yaml:"probes" json:"probes,omitempty" doc:"requests of fixed lengths, one at a time on an idle engine"`
	Sweep    *Sweep           `yaml:"sweep" json:"sweep,omitempty" doc:"an arrival process at several rates"`
	Replay   *Replay          `yaml:"replay" json:"replay,omitempty" doc:"a recorded trace, as it was"`
}

// Sweep is an arrival process at several rates, all with the same requests in
// the same order and the same unit gaps.
type Sweep struct {
	Arrivals     string                 `yaml:"arrivals" json:"arrivals" enum:"poisson,constant" default:"poisson" doc:"the arrival process"`
	RPS          []float64              `yaml:"rps" json:"rps" required:"true" doc:"rates, in requests per second"`
	Requests     int                    `yaml:"requests" json:"requests" min:"1" default:"300" doc:"requests of each rate and seed"`
	Seeds        int                    `yaml:"seeds" json:"seeds" min:"1" default:"1" doc:"independent runs of each rate"`
	Lengths      pipeline.Artefact      `yaml:"lengths" json:"lengths" artefact:"trace" doc:"trace whose lengths are drawn; or give a distribution"`
	Distribution *workload.Distribution `yaml:"distribution" json:"distribution,omitempty" doc:"lengths drawn from a distribution; or name a trace"`
	Scale        workload.Scale         `yaml:"scale" json:"scale" doc:"brings the trace's lengths into the engine's range"`
}

// Replay is a recorded trace.
type Replay struct {
	Trace   pipeline.Artefact `yaml:"trace" json:"trace" artefact:"trace" required:"true" doc:"trace in Vidur's columns: arrived_at, num_prefill_tokens, num_decode_tokens; and what prompts begin with, where they share anything, as hash_ids (ids of the blocks of a prompt) and hash_block_size (tokens in one)"`
	Window  time.Duration     `yaml:"window" json:"window,omitempty" doc:"how much of it, from its start, counted after scaling; 0 is all"`
	Repeats int               `yaml:"repeats" json:"repeats" min:"1" default:"3" doc:"how often it is replayed: what differs between repeats is the engine's own noise"`
	Scale   workload.Scale    `yaml:"scale" json:"scale" doc:"brings the trace into the engine's range"`
}

// spec is the workload as the room behind knows it.
func (w *Workload) spec() *workload.Spec {
	s := &workload.Spec{Seed: uint64(w.Seed), MaxTotal: w.MaxTotal, Over: workload.Over(w.Over), Probes: w.Probes}
	if p := w.Sweep; p != nil {
		s.Sweep = &workload.Sweep{Arrivals: p.Arrivals, RPS: p.RPS, Requests: p.Requests, Seeds: p.Seeds, Draw: p.Distribution, Scale: p.Scale}
		if s.Sweep.Arrivals == "" {
			s.Sweep.Arrivals = workload.Poisson
		}
	}
	if p := w.Replay; p != nil {
		s.Replay = &workload.Replay{Window: p.Window, Repeats: p.Repeats, Scale: p.Scale}
	}
	return s
}

// build reads the traces and makes the points.
func (w *Workload) build() ([]trace.Point, workload.Counts, error) {
	var src workload.Sources
	var err error
	if w.Sweep != nil && w.Sweep.Distribution == nil {
		if src.Lengths, err = requests(w.Sweep.Lengths.Path); err != nil {
			return nil, workload.Counts{}, fmt.Errorf("workload.sweep.lengths: %w", err)
		}
	}
	if w.Replay != nil {
		if src.Trace, err = requests(w.Replay.Trace.Path); err != nil {
			return nil, workload.Counts{}, fmt.Errorf("workload.replay.trace: %w", err)
		}
	}
	return workload.Build(w.spec(), src)
}

// requests reads a trace that has some.
func requests(path string) ([]trace.Request, error) {
	all, err := trace.ReadCSV(path)
	if err == nil && len(all) == 0 {
		return nil, fmt.Errorf("%s holds no requests, only the names of its columns", path)
	}
	return all, err
}

// check judges the literal part of a workload, at load time.
func (w *Workload) check(in pipeline.Static) []pipeline.FieldProblem {
	var all []pipeline.FieldProblem
	add := func(field, message, suggest string) {
		field = strings.TrimSuffix("workload."+field, ".")
		if !in.Dynamic(field) {
			all = append(all, pipeline.FieldProblem{Field: field, Message: message, Suggest: suggest})
		}
	}
	for _, p := range w.spec().Check() {
		add(p.Field, p.Message, p.Suggest)
	}
	if s := w.Sweep; s != nil {
		trace := !s.Lengths.IsZero() || in.Dynamic("workload.sweep.lengths")
		switch {
		case trace && s.Distribution != nil:
			add("sweep.distribution", "lengths come from a trace and from a distribution: which one is meant?", "keep one of them")
		case !trace && s.Distribution == nil:
			add("sweep", "no lengths: where do prompts and outputs get theirs from?", "name a trace (lengths) or a distribution")
		}
	}
	return all
}

// names are the names of the points, nil while they depend on a reference.
func (w *Workload) names(in pipeline.Static) []string {
	if slices.ContainsFunc([]string{"workload", "workload.probes.lengths", "workload.sweep.rps", "workload.sweep", "workload.probes", "workload.replay"}, in.Dynamic) {
		return nil
	}
	return w.spec().Names()
}

// dataset is the name of the trace that a point's lengths come from, for the
// record; empty where they do not come from one. In the store a file has lost
// its name, so the plan may give it.
func (w *Workload) dataset(group trace.Group) string {
	var a pipeline.Artefact
	switch {
	case group == trace.Sweep && w.Sweep.Distribution == nil:
		a = w.Sweep.Lengths
	case group == trace.Replay:
		a = w.Replay.Trace
	default:
		return ""
	}
	if w.Dataset != "" {
		return w.Dataset
	}
	if name, ok := strings.CutSuffix(filepath.Base(a.Path), ".csv"); ok {
		return name
	}
	return a.Digest
}
