package steps

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"calrun/internal/process"
	"calrun/internal/profile"
	"calrun/pipeline"
)

// reprofileKind makes a new profile: of what steps cost, over the engine's
// API, or with the user's own profiler.
var reprofileKind = pipeline.Kind{
	Name: "reprofile", Doc: "Make a new profile: by probes over the engine's API, with Vidur's own profiler on the host of the cards, or by a command of yours.",
	Version: 3, Repeat: pipeline.Measured,
	New: func() pipeline.Step {
		return &Reprofile{Method: methodProbe, Output: 32, Repeats: 5, Python: "python3"}
	}, Result: ReprofileResult{},
}

// The methods of a Reprofile.
const (
	methodProbe = "probe"
	methodVidur = "vidur"
	methodExec  = "exec"
)

// The operators that a probe can look at.
const (
	operatorMLP       = "mlp"
	operatorAttention = "attention"
)

// Reprofile makes a profile. The method probe needs nothing but the API, and
// yields a step-time profile for the embedded simulator; vidur runs Vidur's
// profiler on the host of the cards, the engine being stopped meanwhile; exec
// runs a command that writes operator profiles.
type Reprofile struct {
	Method      string            `yaml:"method" enum:"probe,vidur,exec" default:"probe" doc:"probe: derive step times from requests to the engine; vidur: run Vidur's profiler on the host of the cards; exec: run a command that profiles"`
	Engine      Engine            `yaml:"engine" doc:"of a probe: the engine that is asked; of vidur: the engine that holds the cards, stopped before and started again after"`
	Deployment  Deployment        `yaml:"deployment" doc:"what is profiled; becomes the identity of the profile"`
	Operators   []string          `yaml:"operators" doc:"of a probe: mlp, attention; without attention the context of a sequence costs nothing. Of vidur: mlp, attention, all_reduce; the last always with several cards. Default is mlp and attention"`
	Prompts     []int             `yaml:"prompts" doc:"of a probe: prompt lengths in tokens; default spans what one step of the engine takes"`
	Concurrency []int             `yaml:"concurrency" doc:"of a probe: requests at once; default 1, 4, 16, 64 within the engine's cap"`
	Output      int               `yaml:"output" default:"32" min:"2" doc:"of a probe: output tokens of each request"`
	Repeats     int               `yaml:"repeats" default:"5" min:"1" doc:"of a probe: repeats of each combination"`
	Command     []string          `yaml:"command" doc:"of exec: program and arguments; it writes the profile into its working folder, or a tar archive of it to stdout"`
	Prefix      []string          `yaml:"run" doc:"of vidur and exec: words before the command, as [ssh, gpu-node]; for vidur they must pass standard input on (docker exec -i)"`
	Python      string            `yaml:"python" default:"python3" key:"-" doc:"of vidur: interpreter on the host of the cards that has Vidur and what its profiler needs (torch, ray, sarathi)"`
	Longest     int               `yaml:"longest" min:"0" doc:"of vidur: most tokens of a request that the tables reach; default is max_model_len as the engine or the deployment states it, up to 16384, or 4096"`
	Profiles    pipeline.Artefact `yaml:"profiles" artefact:"profiles" doc:"of vidur: the profile before, for the operators that are not made anew"`
}

// ReprofileResult is the new profile and how well it is known.
type ReprofileResult struct {
	Profiles  pipeline.Artefact  `json:"profiles" artefact:"profiles" doc:"the new profile"`
	Format    string             `json:"format" doc:"steps, vidur or layers"`
	FrontEnd  *float64           `json:"front_end_s,omitempty" doc:"of a probe: seconds that a request spends outside the engine's steps"`
	Residual  *float64           `json:"residual,omitempty" doc:"of a probe: median over the probes of |fitted - seen| / seen"`
	Worst     *float64           `json:"worst_residual,omitempty" doc:"of a probe: the largest of these"`
	Residuals []profile.Residual `json:"residuals" doc:"of a probe: each median with its fitted value"`
	Doubts    []string           `json:"doubts" doc:"what the new profile does not know"`
}

// Check implements [pipeline.Checker].
func (s *Reprofile) Check(in pipeline.Static) []pipeline.FieldProblem {
	var out []pipeline.FieldProblem
	if s.Method == methodExec && len(s.Command) == 0 && !in.Dynamic("command") {
		out = append(out, pipeline.FieldProblem{Field: "command", Message: "the method exec needs a command", Suggest: "command: [program, argument, ...]"})
	}
	if s.Method == methodProbe && len(s.Command)+len(s.Prefix) > 0 {
		out = append(out, pipeline.FieldProblem{Field: "command", Message: "the method probe runs no command", Suggest: "set method: exec, or leave command and run out", Warning: true})
	}
	known := []string{operatorMLP, operatorAttention}
	switch s.Method {
	case methodProbe:
		out = append(out, s.Engine.check(in)...)
	case methodVidur:
		out = append(out, s.checkVidur(in)...)
		known = append(known, operatorAllReduce)
	}
	for i, op := range s.Operators {
		if !slices.Contains(known, op) {
			out = append(out, pipeline.FieldProblem{Field: fmt.Sprintf("operators[%d]", i), Message: fmt.Sprintf("%q is not an operator", op), Suggest: strings.Join(known, ", ")})
		}
	}
	for _, l := range []struct {
		field string
		vals  []int
	}{{"prompts", s.Prompts}, {"concurrency", s.Concurrency}} {
		if len(l.vals) == 1 {
			out = append(out, pipeline.FieldProblem{Field: l.field, Message: "one value cannot separate the prices of a step", Suggest: "give at least two, far apart"})
		}
		for i, v := range l.vals {
			if v < 1 {
				out = append(out, pipeline.FieldProblem{Field: fmt.Sprintf("%s[%d]", l.field, i), Message: fmt.Sprintf("%d is not a count from 1 on", v)})
			}
		}
	}
	return out
}

// Run makes the profile.
func (s *Reprofile) Run(ctx context.Context, rt *pipeline.Runtime) (any, error) {
	var res any
	var err error
	switch s.Method {
	case methodExec:
		return s.exec(ctx, rt)
	case methodVidur:
		res, err = s.vidur(ctx, rt)
	default:
		res, err = s.probe(ctx, rt)
	}
	if err != nil {
		return nil, fmt.Errorf("reprofile: %w", err)
	}
	return res, nil
}

// Identity implements [pipeline.Identifier]: of a probe, the engine.
func (s *Reprofile) Identity(ctx context.Context) (map[string]string, error) {
	if s.Method != methodProbe {
		return nil, nil // the engine is stopped meanwhile, or nobody knows of it
	}
	return s.Engine.Identity(ctx)
}

// Locks implements [pipeline.Locker]: a profiler of any sort wants the cards,
// or the engine, for itself.
func (s *Reprofile) Locks() []string { return s.Engine.locks() }

// exec runs the user's profiler and takes what it wrote for a profile.
func (s *Reprofile) exec(ctx context.Context, rt *pipeline.Runtime) (any, error) {
	dir := filepath.Join(rt.Dir(), "profiles")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("reprofile: %w", err)
	}
	archive, err := os.Create(filepath.Join(rt.Dir(), "stdout"))
	if err != nil {
		return nil, fmt.Errorf("reprofile: %w", err)
	}
	defer archive.Close()
	stderr, err := os.Create(filepath.Join(rt.Dir(), "stderr"))
	if err != nil {
		return nil, fmt.Errorf("reprofile: %w", err)
	}
	defer stderr.Close()
	args := slices.Concat(s.Prefix, s.Command)
	rt.Log().Info().Msg("profiling: " + strings.Join(args, " "))
	if err := process.Run(process.WithLease(ctx, rt.Lease()), process.Cmd{Args: args, Dir: dir, Stdout: archive, Stderr: stderr}); err != nil {
		return nil, fmt.Errorf("reprofile: the command: %w", err)
	}
	if err := unpack(archive, dir); err != nil {
		return nil, fmt.Errorf("reprofile: %w", err)
	}
	prof, err := openProfile(dir, s.Deployment)
	if err != nil {
		return nil, fmt.Errorf("reprofile: the command ended well, but what it wrote is no profile: %w", err)
	}
	if _, err := prof.Model(profile.Scale{}); err != nil {
		return nil, fmt.Errorf("reprofile: the command ended well, but nothing can be simulated with what it wrote: %w", err)
	}
	res := &ReprofileResult{Format: string(prof.Format), Residuals: []profile.Residual{}, Doubts: []string{}}
	for _, f := range slices.Concat(profile.Identify(s.Deployment.identity(), prof.Identity), prof.Values()) {
		if !f.OK {
			return nil, fmt.Errorf("reprofile: what the command wrote is not the profile that was asked for: %s is %s, wanted %s; %s", f.Check, f.Seen, f.Allowed, f.Advice)
		}
	}
	if err := s.date(dir, prof, time.Now()); err != nil {
		return nil, fmt.Errorf("reprofile: %w", err)
	}
	res.Profiles = pipeline.Artefact{Of: "profiles", Path: dir}
	return res, nil
}

// date states when the tables were measured, where they do not say so
// themselves.
func (s *Reprofile) date(dir string, prof *profile.Profile, now time.Time) error {
	if !prof.Identity.MeasuredAt.IsZero() {
		return nil
	}
	if _, err := os.Stat(filepath.Join(dir, profile.ManifestFile)); err == nil {
		return nil // its writer chose not to
	}
	m := profile.Manifest{
		Format: prof.Format, Identity: profile.Identity{MeasuredAt: now.UTC().Truncate(time.Second)},
		Source: "calrun reprofile, method exec: " + strings.Join(slices.Concat(s.Prefix, s.Command), " "),
	}
	return profile.WriteManifest(dir, m, "When the tables beside this file were measured; what they are of, they say themselves.")
}

var (
	_ pipeline.Step       = (*Reprofile)(nil)
	_ pipeline.Identifier = (*Reprofile)(nil)
	_ pipeline.Checker    = (*Reprofile)(nil)
	_ pipeline.Locker     = (*Reprofile)(nil)
)
