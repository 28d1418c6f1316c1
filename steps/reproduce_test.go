package steps

import (
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"

	"github.com/rs/zerolog"

	"calrun/internal/profile"
	"calrun/internal/workload"
	"calrun/pipeline"
)

// looped is the quickstart's loop over a recording: every kind that is exact
// or seeded, two rounds, and a remedy between them.
const looped = `version: calrun/v1
name: looped
limits: {rounds: 3}
shared: {deployment: {model: emulated, gpu: emulated, block_size: 16}}
steps:
  hardware: {uses: import, with: {from: recording}}
  profile:
    uses: profile-check
    with: {workload: "${{ steps.hardware.workload }}", profiles: profile}
  sim:
    uses: simulate
    with: {workload: "${{ steps.hardware.workload }}", profiles: "${{ steps.profile.profiles }}"}
  error:
    uses: diff
    with: {measured: "${{ steps.hardware.measurement }}", simulated: "${{ steps.sim.simulation }}"}
  cause:
    uses: diagnose
    with:
      error: "${{ steps.error.detail }}"
      profile: "${{ steps.profile.findings }}"
      measured: "${{ steps.hardware.measurement }}"
      workload: "${{ steps.hardware.workload }}"
      profiles: "${{ steps.profile.profiles }}"
      params: "${{ steps.sim.params }}"
  verdict:
    uses: gate
    of: error
    assert: {typical: ttft.p50.mape < 0.10 && tpot.p50.mape < 0.05}
    routes:
      - {when: failed.typical || unsure.typical, run: tune, max: 1}
remedies:
  tune:
    uses: tune
    sets: {sim.params: params, profile.params: params}
    with:
      measured: "${{ steps.hardware.measurement }}"
      profiles: "${{ steps.profile.profiles }}"
      start: "${{ steps.sim.params }}"
      fit_on: [rps-35]
      knobs: {cpu_overhead_s: [0, 0.02], front_end_s: [0, 0.01]}
`

// loopedAt puts the plan, the recording and the profile into a folder.
func loopedAt(t *testing.T, dir string) string {
	t.Helper()
	step := profile.StepTime{Base: 8e-3, PerPrefillToken: 15e-6, PerSequence: 100e-6}
	p := emulated(7, step)
	p.n = 150
	m := &recording{facts: p.facts(), points: p.measure(t, 25, 35, 45), workload: workload.Facts{Plan: "looped"}}
	if _, _, err := m.write(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(dir, "measurement"), filepath.Join(dir, "recording")); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(filepath.Join(dir, "profile"), os.DirFS("../plans/quickstart/profile")); err != nil {
		t.Fatal(err)
	}
	plan := filepath.Join(dir, "looped.yaml")
	if err := os.WriteFile(plan, []byte(looped), 0o644); err != nil {
		t.Fatal(err)
	}
	return plan
}

// pageOf is the digest of a run's page.
func pageOf(p *pipeline.Past) (string, error) {
	return Report(RunRecord{State: p.State, Source: p.PlanSource, Artefact: p.Artefact}).Digest()
}

// runAndAccept runs a plan with a store of its own and accepts it.
func runAndAccept(t *testing.T, plan string) (*pipeline.Accepted, *pipeline.State) {
	t.Helper()
	kinds := pipeline.NewKinds(Builtin()...)
	store, err := pipeline.OpenStore(filepath.Join(t.TempDir(), "runs"))
	if err != nil {
		t.Fatal(err)
	}
	loaded, problems := pipeline.Load(plan, pipeline.LoadOptions{Kinds: kinds})
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	r := &pipeline.Runner{Kinds: kinds, Store: store, Log: zerolog.Nop(), Locks: t.TempDir()}
	s, err := r.Run(t.Context(), loaded, pipeline.RunOptions{})
	if err != nil || s.Verdict == "" {
		t.Fatalf("verdict %q, %v, %v", s.Verdict, err, s.Reasons)
	}
	opt := pipeline.AcceptOptions{Kinds: kinds, Page: pageOf}
	if s.Verdict != pipeline.Pass {
		opt.Verdict = s.Verdict
	}
	a, err := store.Accept(s.Run, opt)
	if err != nil {
		t.Fatal(err)
	}
	return a, s
}

// runLooped returns what a run of the looped plan found.
func runLooped(t *testing.T, plan string) (*pipeline.Accepted, string) {
	t.Helper()
	a, s := runAndAccept(t, plan)
	found, err := json.Marshal(a.Lock.Rounds)
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Rounds) != 2 {
		t.Errorf("%d rounds, want two: %s", len(s.Rounds), s.Reasons)
	}
	return a, string(found) + a.Lock.Report
}

// Exact and seeded results have the same bytes however many cores there are,
// wherever the plan lies, and however often it runs; a fresh clone finds them
// again, down to the page.
func TestExactResultsAreTheSameEverywhere(t *testing.T) {
	first, want := runLooped(t, loopedAt(t, t.TempDir()))
	for _, procs := range []int{1, 3} {
		func() {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
			deeper := filepath.Join(t.TempDir(), "somewhere", "else")
			if err := os.MkdirAll(deeper, 0o755); err != nil {
				t.Fatal(err)
			}
			if _, got := runLooped(t, loopedAt(t, deeper)); got != want {
				t.Errorf("with %d processors, in another folder: %s\nbefore %s", procs, got, want)
			}
		}()
	}
	clone := t.TempDir()
	for _, file := range []string{first.LockFile, first.PackFile} {
		data, err := os.ReadFile(file)
		if err == nil {
			err = os.WriteFile(filepath.Join(clone, filepath.Base(file)), data, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	r, err := pipeline.Reproduce(t.Context(), filepath.Join(clone, "looped.lock.yaml"), pipeline.ReproduceOptions{
		Kinds: pipeline.NewKinds(Builtin()...), Log: zerolog.Nop(), Page: pageOf, Limit: 1 << 30,
	})
	if err != nil || !r.Match {
		t.Fatalf("match %v, %v: %+v", r.Match, err, r.Checks)
	}
	for _, what := range []string{"round 1 error", "round 1 tune", "round 2 sim", "round 2 gate verdict", "report"} {
		if !slices.ContainsFunc(r.Checks, func(c pipeline.Check) bool { return c.What == what && c.Finding == pipeline.Same }) {
			t.Errorf("%s was not found again: %+v", what, r.Checks)
		}
	}
	t.Logf("the pack has %d bytes", first.Pack.Size)
}
