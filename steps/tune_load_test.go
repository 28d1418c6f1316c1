package steps

import (
	"context"
	"strings"
	"testing"

	"calrun/pipeline"
)

// standIn yields a measurement of known points, as hardware-run does.
type standIn struct{}

type standInResult struct {
	Measurement pipeline.Artefact `json:"measurement" artefact:"measurement" doc:"a measurement"`
	Profiles    pipeline.Artefact `json:"profiles" artefact:"profiles" doc:"profiles"`
	Params      Params            `json:"params" doc:"parameters"`
}

func (standIn) Run(context.Context, *pipeline.Runtime) (any, error) { return standInResult{}, nil }

func (standIn) Names(pipeline.Static) map[string][]string {
	return map[string][]string{"measurement": {"probe-64-12", "probe-200-12", "rps-25", "rps-35"}}
}

func TestTuneInAPlan(t *testing.T) {
	kinds := pipeline.NewKinds(tuneKind, pipeline.Kind{
		Name: "stand-in", Doc: "Stand in.", Version: 1, Repeat: pipeline.Exact,
		New: func() pipeline.Step { return &standIn{} }, Result: standInResult{},
	})
	const head = `version: calrun/v1
name: t
steps:
  hw: {uses: stand-in}
  tune:
    uses: tune
    with:
      measured: "${{ steps.hw.measurement }}"
      profiles: "${{ steps.hw.profiles }}"
      start: "${{ steps.hw.params }}"
      deployment: {model: m, gpu: g, dtype: float16, attention: a, block_size: 16, gpu_memory_utilization: 0.9}
`
	for _, c := range []struct {
		why, with string
		want      string // in the problems; empty if there is none
		warning   bool
	}{
		{"as the reference plan has it", "fit_on: [probes, rps-35]\nknobs: {batch_size_cap: {range: [32, 512], free: true}, cpu_overhead_s: [0, 0.02]}", "", false},
		{"a point that the sweep does not have", "fit_on: [probes, rps-30]\nknobs: {cpu_overhead_s: [0, 0.02]}", "rps-30", false},
		{"a misspelt group", "fit_on: [probs]\nknobs: {cpu_overhead_s: [0, 0.02]}", `did you mean "probes"?`, false},
		{"a misspelt knob", "fit_on: [probes]\nknobs: {cpu_overhed_s: [0, 0.02]}", `did you mean "cpu_overhead_s"?`, false},
		{"a range the wrong way round", "fit_on: [probes]\nknobs: {cpu_overhead_s: [0.02, 0]}", "smaller", false},
		{"one number", "fit_on: [probes]\nknobs: {cpu_overhead_s: [0.02]}", "knobs.cpu_overhead_s", false},
		{"nothing held out", "fit_on: [rps-25, rps-35]\nknobs: {cpu_overhead_s: [0, 0.02]}", "nothing is held out", true},
	} {
		src := head + "      " + strings.ReplaceAll(c.with, "\n", "\n      ") + "\n"
		_, ps := pipeline.LoadBytes("t.yaml", []byte(src), pipeline.LoadOptions{Kinds: kinds})
		if c.want == "" {
			if len(ps) > 0 {
				t.Errorf("%s: %v", c.why, ps)
			}
			continue
		}
		if len(ps) != 1 || ps[0].Warning != c.warning || !strings.Contains(ps[0].Path+ps[0].Message+ps[0].Suggest, c.want) || ps[0].Line == 0 {
			t.Errorf("%s: %+v, want one problem that says %s", c.why, ps, c.want)
		}
	}
}

// What a tune of Vidur costs is said before it is paid: each simulation is
// seconds, and there are as many as the budget or the knobs allow.
func TestTuneCost(t *testing.T) {
	kinds := pipeline.NewKinds(tuneKind, pipeline.Kind{
		Name: "stand-in", Doc: "Stand in.", Version: 1, Repeat: pipeline.Exact,
		New: func() pipeline.Step { return &standIn{} }, Result: standInResult{},
	})
	for _, c := range []struct{ why, with, want string }{
		{"the embedded simulator's are not worth a word", "fit_on: [rps-25]\nknobs: {cpu_overhead_s: [0, 0.02]}", ""},
		{"one knob", "simulator: vidur\nfit_on: [rps-25]\nknobs: {cpu_overhead_s: [0, 0.02]}", "at most 7 simulations by Vidur, each of 1 of its points (rps-25) in every seed"},
		{"two knobs, and all probes", "simulator: vidur\nfit_on: [probes, rps-25]\nknobs: {cpu_overhead_s: [0, 0.02], k_mlp: [0.5, 2]}", "at most 10 simulations by Vidur, each of 3 of its points (probes, rps-25) in every seed"},
		{"a budget", "simulator: vidur\nbudget: 3\nfit_on: [rps-25]\nknobs: {cpu_overhead_s: [0, 0.02]}", "at most 3 simulations by Vidur, each of 1 of its points (rps-25) in every seed"},
	} {
		src := "version: calrun/v1\nname: t\nsteps:\n  hw: {uses: stand-in}\n  tune:\n    uses: tune\n    with:\n" +
			"      measured: \"${{ steps.hw.measurement }}\"\n      profiles: \"${{ steps.hw.profiles }}\"\n      " + strings.ReplaceAll(c.with, "\n", "\n      ") + "\n"
		plan, ps := pipeline.LoadBytes("t.yaml", []byte(src), pipeline.LoadOptions{Kinds: kinds})
		if plan == nil {
			t.Fatalf("%s: %v", c.why, ps)
		}
		step, in := plan.Static("tune")
		if got := step.(pipeline.Costly).Cost(in); got != c.want {
			t.Errorf("%s: %q, want %q", c.why, got, c.want)
		}
	}
}
