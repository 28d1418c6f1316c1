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
	"time"

	"calrun/internal/engine"
	"calrun/internal/profile"
	"calrun/internal/simulator"
	"calrun/internal/trace"
	"calrun/internal/workload"
	"calrun/pipeline"
)

// profileCheckKind judges a profile before anything is simulated with it.
var profileCheckKind = pipeline.Kind{
	Name: "profile-check", Doc: "Check that a profile is of this deployment, reaches as far as the workload, is fresh, and that the configurations agree.",
	Version: 4, Repeat: pipeline.Exact,
	New: func() pipeline.Step { return &ProfileCheck{} }, Result: ProfileCheckResult{},
}

// ProfileCheck judges a profile against a deployment and a workload, and the
// configurations of engine and simulator against each other.
type ProfileCheck struct {
	Workload   pipeline.Artefact `yaml:"workload" artefact:"workload" required:"true" doc:"what was asked of the engine, and the engine's own facts"`
	Measured   pipeline.Artefact `yaml:"measured" artefact:"measurement" doc:"what the engine did; its probes are held against the profile"`
	Profiles   pipeline.Artefact `yaml:"profiles" artefact:"profiles" required:"true" doc:"folder with Vidur's or LLMServingSim's tables, or a profile.yaml"`
	Deployment Deployment        `yaml:"deployment" doc:"what was deployed, and so what must have been profiled"`
	MaxAge     time.Duration     `yaml:"max_age" min:"0" doc:"oldest profile that is fresh, counted from the end of the measurement; 0 is any"`
	Params     Params            `yaml:"params" doc:"parameters that the simulator is going to have"`
}

// ProfileCheckResult is what was found. The booleans are what a gate reads;
// the findings say why.
type ProfileCheckResult struct {
	Profiles pipeline.Artefact `json:"profiles" artefact:"profiles" doc:"the profile as it was checked"`
	Findings pipeline.Artefact `json:"findings" artefact:"findings" doc:"every finding with what was seen, what is allowed and what to do"`
	Present  bool              `json:"present" doc:"all tables that the layout needs are there"`
	Identity bool              `json:"identity" doc:"no stated field of the profile differs from the deployment"`
	Covered  bool              `json:"covered" doc:"at most 1 % of each point's requests and of the simulated steps lie outside the profile"`
	Fresh    bool              `json:"fresh" doc:"not older than max_age when the measurement ended"`
	Values   bool              `json:"values" doc:"every time is above 0, finite, and not faster than the card can be"`
	Outside  *float64          `json:"outside,omitempty" doc:"share of simulated steps outside the profile, in [0,1]; absent if nothing can be simulated with it"`
	Probed   *bool             `json:"probed,omitempty" doc:"what the profile says of prefill and of decode on an idle engine is within 10 % of the measured probes; absent where the measurement has no probe that tells"`
	Phases   []profile.Phase   `json:"phases" doc:"each phase of the probes, measured over simulated"`
	KV       profile.KV        `json:"kv" doc:"the KV cache three ways"`
	Config   profile.Parity    `json:"config" doc:"settings as asked, of the engine and of the simulator"`
	Doubts   []string          `json:"doubts" doc:"what is not known or odd, as sentences"`
}

const findingsName = "findings.json"

// findingsFile is findings.json.
type findingsFile struct {
	Present  bool              `json:"present"`
	Identity bool              `json:"identity"`
	Covered  bool              `json:"covered"`
	Fresh    bool              `json:"fresh"`
	Values   bool              `json:"values"`
	Profile  profile.Identity  `json:"profile"`
	Reach    profile.Reach     `json:"reach"`
	Findings []profile.Finding `json:"findings"`
	KV       profile.KV        `json:"kv"`
	Config   profile.Parity    `json:"config"`
}

// Identity implements [pipeline.Identifier]: the share of steps outside comes
// from the embedded simulator.
func (s *ProfileCheck) Identity(context.Context) (map[string]string, error) {
	return map[string]string{"simulator": embedded + " " + simulator.Digest()}, nil
}

// Run judges.
func (s *ProfileCheck) Run(ctx context.Context, rt *pipeline.Runtime) (any, error) {
	points, err := trace.ReadPoints(s.Workload.Path)
	if err != nil {
		return nil, fmt.Errorf("profile-check: the workload: %w", err)
	}
	facts, err := readFacts(s.Workload.Path)
	if err != nil {
		return nil, fmt.Errorf("profile-check: %w", err)
	}
	ended, err := measurementEnd(s.Workload.Path)
	if err != nil {
		return nil, fmt.Errorf("profile-check: %w", err)
	}
	prof, err := openProfile(s.Profiles.Path, s.Deployment)
	if err != nil {
		return nil, fmt.Errorf("profile-check: %w", err)
	}
	set, err := settle(s.Params, facts, s.Deployment)
	if err != nil {
		return nil, fmt.Errorf("profile-check: %w", err)
	}
	f := findingsFile{Profile: prof.Identity, Reach: prof.Reach()}
	take := func(fs ...profile.Finding) bool {
		f.Findings = append(f.Findings, fs...)
		return profile.AllOK(fs)
	}
	f.Present = take(prof.Present()...)
	f.Identity = take(profile.Identify(s.Deployment.identity(), prof.Identity)...)
	plant := s.plant(points, facts, prof, set)
	f.Values = take(prof.Values()...)
	f.Values = take(prof.Physics(plant.Card, plant.Elem)...) && f.Values
	f.Covered = take(profile.Cover(f.Reach, s.demand(points, facts))...)
	f.Fresh = take(profile.Age(prof.Identity.MeasuredAt, ended, s.MaxAge))
	res := &ProfileCheckResult{Doubts: []string{}, Phases: []profile.Phase{}}
	f.KV = profile.Fit(plant)
	f.Config = s.parity(points, facts, prof, set)
	tellConfig(rt, f.Config, res) // before anything is simulated with it
	steps, err := s.simulated(ctx, rt, points, prof, set, res)
	if err != nil {
		return nil, err
	}
	f.Covered = take(steps) && f.Covered
	if s.Measured.Path != "" {
		found, err := s.probed(ctx, prof, set, res)
		if err != nil {
			return nil, err
		}
		if ok := take(found...); slices.ContainsFunc(res.Phases, profile.Phase.Kernels) {
			res.Probed = &ok
		}
	}
	res.Present, res.Identity, res.Covered, res.Fresh, res.Values = f.Present, f.Identity, f.Covered, f.Fresh, f.Values
	res.KV, res.Config = f.KV, f.Config
	s.tell(rt, f, res)
	if res.Findings, err = writeFindings(filepath.Join(rt.Dir(), "findings"), f); err != nil {
		return nil, err
	}
	res.Profiles, err = copyProfiles(s.Profiles.Path, filepath.Join(rt.Dir(), "profiles"))
	return res, err
}

// demand is what the workload asks of the profile.
func (s *ProfileCheck) demand(points []trace.Point, f engine.Facts) profile.Demand {
	d := profile.Demand{Points: map[string][]profile.Length{}}
	for _, p := range points {
		for _, r := range p.Runs {
			for _, q := range r.Requests {
				d.Points[p.Name] = append(d.Points[p.Name], profile.Length{Prompt: q.Prompt, Output: q.Output})
			}
		}
	}
	if n := cmp.Or(s.Params.ChunkSize, f.MaxTokens, s.Deployment.MaxTokens); n != nil {
		d.MaxTokens = *n
	}
	if n := cmp.Or(s.Params.BatchSizeCap, f.MaxNumSeqs, s.Deployment.MaxNumSeqs); n != nil {
		d.MaxSeqs = *n
	}
	return d
}

// simulated runs the workload through the embedded simulator and counts the
// steps that the profile does not reach: which batches form, nobody can read
// off a list of requests.
func (s *ProfileCheck) simulated(ctx context.Context, rt *pipeline.Runtime, points []trace.Point, prof *profile.Profile, set settled, res *ProfileCheckResult) (profile.Finding, error) {
	f := profile.Finding{Check: "covered.steps", Allowed: fmt.Sprintf("at most %.0f %% of the steps outside the profile", 100*profile.MaxOutside)}
	sim, err := newEmbedded(prof, set)
	if err != nil {
		f.Seen, f.Advice = "nothing can be simulated with it: "+err.Error(), "repair the profile"
		return f, nil
	}
	_, stats, err := sim.Points(ctx, points, rt.Progress)
	if err != nil {
		return f, fmt.Errorf("profile-check: %w", err)
	}
	share := stats.OutsideShare()
	res.Outside, f.Share = &share, share
	f.Seen = fmt.Sprintf("%.2f %% of %d simulated steps outside, at most %d sequences in one", 100*share, stats.Steps, stats.PeakSeqs)
	f.OK = share <= profile.MaxOutside
	f.Doubt = f.OK && share > 0
	if share > 0 {
		f.Advice = "times of these steps are extrapolated; profile larger batches and longer contexts"
	}
	return f, nil
}

// tell logs what is wrong and collects what is doubtful.
func (s *ProfileCheck) tell(rt *pipeline.Runtime, f findingsFile, res *ProfileCheckResult) {
	for _, x := range f.Findings {
		text := x.Check + ": " + x.Seen
		if x.Allowed != "" {
			text += " (wanted: " + x.Allowed + ")"
		}
		if x.Advice != "" {
			text += "; " + x.Advice
		}
		switch {
		case !x.OK:
			rt.Log().Warn().Msg(text)
		case x.Doubt:
			res.Doubts = append(res.Doubts, text)
		}
	}
	if !f.KV.Fits {
		rt.Log().Warn().Msg("kv: " + f.KV.Why)
	}
}

// tellConfig logs each setting that differs and collects what is doubtful.
func tellConfig(rt *pipeline.Runtime, p profile.Parity, res *ProfileCheckResult) {
	for _, x := range p.Fields {
		if !x.Same {
			rt.Log().Warn().Msgf("config: %s: asked %q, engine %q, simulator %q", x.Name, x.Asked, x.Engine, x.Simulator)
		}
		if x.Note != "" {
			res.Doubts = append(res.Doubts, "config: "+x.Name+": "+x.Note)
		}
	}
}

// openProfile opens the profile of a deployment: in a folder that holds
// several, the one that was deployed.
func openProfile(dir string, d Deployment) (*profile.Profile, error) {
	return profile.OpenFor(dir, profile.Want{Model: d.Model, GPU: d.GPU, TP: d.TP, BlockSize: d.BlockSize})
}

// measurementEnd reads when the measurement behind a workload ended; zero
// where nothing says so.
func measurementEnd(dir string) (time.Time, error) {
	f, err := workload.ReadFacts(dir)
	if errors.Is(err, fs.ErrNotExist) || err == nil && f.Ended == "" {
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, err
	}
	at, err := time.Parse(time.RFC3339, f.Ended)
	if err != nil {
		return time.Time{}, fmt.Errorf("read workload: ended: %q is not a time such as 2026-01-31T12:00:00Z", f.Ended)
	}
	return at, nil
}

func writeFindings(dir string, f findingsFile) (pipeline.Artefact, error) {
	a := pipeline.Artefact{Of: "findings", Path: dir}
	err := os.MkdirAll(dir, 0o755)
	if err == nil {
		err = writeJSON(filepath.Join(dir, findingsName), f)
	}
	if err != nil {
		return a, fmt.Errorf("profile-check: write findings: %w", err)
	}
	return a, nil
}

// copyProfiles gives the profile on as it was checked: the same bytes, so the
// same digest.
func copyProfiles(from, to string) (pipeline.Artefact, error) {
	a := pipeline.Artefact{Of: "profiles", Path: to}
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		return a, fmt.Errorf("profile-check: copy the profile: %w", err)
	}
	return a, nil
}

var (
	_ pipeline.Step       = (*ProfileCheck)(nil)
	_ pipeline.Identifier = (*ProfileCheck)(nil)
)
