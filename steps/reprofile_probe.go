package steps

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"calrun/internal/engine"
	"calrun/internal/loadgen"
	"calrun/internal/profile"
	"calrun/internal/stats"
	"calrun/internal/trace"
	"calrun/pipeline"
)

// sender sends requests that are due at once, or, alone, one after the other.
// name decides the content of the prompts.
type sender func(ctx context.Context, name string, alone bool, reqs []trace.Request) ([]trace.Row, error)

// probe opens the engine and explores it.
func (s *Reprofile) probe(ctx context.Context, rt *pipeline.Runtime) (res *ReprofileResult, err error) {
	session, err := s.Engine.Open(ctx, rt, rt.Dir())
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, session.Close()) }()
	send := func(ctx context.Context, name string, alone bool, reqs []trace.Request) ([]trace.Row, error) {
		rows, _, err := loadgen.Run(ctx, session.Target, reqs, loadgen.Options{Name: name, Alone: alone})
		return rows, err
	}
	waited, told := engine.Waited()
	began := time.Now()
	res, err = s.explore(ctx, rt, session.Facts, session.Identity+", "+s.Engine.asked(), send)
	if until, ok := engine.Waited(); err == nil && ok && told && session.emulated == nil && session.Here() {
		if share := (until - waited).Seconds() / time.Since(began).Seconds(); share > crowded {
			res.Doubts = append(res.Doubts, fmt.Sprintf("the engine runs on this machine, and something here waited for a core for %.0f %% of the time: the prices are those of an engine with that beside it", 100*share))
			rt.Log().Warn().Msg(res.Doubts[len(res.Doubts)-1])
		}
	}
	return res, err
}

// experiment is one combination of a probe.
type experiment struct{ prompt, concurrency int }

// name keeps the prompts of two experiments from sharing a prefix.
func (e experiment) name() string { return fmt.Sprintf("reprofile-%d-x%d", e.prompt, e.concurrency) }

// Fallbacks where the engine states no limit.
const (
	probeTop  = 2048 // longest prompt: vLLM's smallest default budget of a step
	probeSeqs = 16   // requests at once that every engine stands
	probeMost = 64   // requests at once, where the engine allows more
)

// design lists the experiments: every prompt length at every concurrency that
// the engine's limits allow. Prompts reach what one step takes, so that no
// step of a workload exceeds what was probed.
func (s *Reprofile) design(f engine.Facts) ([]experiment, error) {
	room := probeTop + s.Output
	if f.MaxModelLen != nil {
		room = *f.MaxModelLen
	}
	top := probeTop
	if f.MaxTokens != nil {
		top = *f.MaxTokens
	}
	top = min(top, room-s.Output)
	prompts := s.Prompts
	if len(prompts) == 0 {
		prompts = []int{min(16, top), top / 8, top / 2, top}
	}
	seqs := probeSeqs
	if f.MaxNumSeqs != nil {
		seqs = *f.MaxNumSeqs
	}
	counts := s.Concurrency
	if len(counts) == 0 {
		counts = []int{1, 4, probeSeqs, max(probeSeqs, min(seqs, probeMost))}
	}
	if !slices.Contains(counts, 1) {
		counts = append([]int{1}, counts...)
	}
	kv := 0
	if f.KVBlocks != nil && f.BlockSize != nil {
		kv = *f.KVBlocks * *f.BlockSize
	}
	var out []experiment
	for _, p := range distinct(prompts) {
		for _, c := range distinct(counts) {
			if len(s.Concurrency) == 0 && c > probeSeqs && p > top/8 {
				continue // prefilling all of them would take longer than all the rest
			}
			fits := p >= 1 && p+s.Output <= room && (c == 1 || c <= seqs) && (kv == 0 || c*(p+s.Output) <= kv)
			if fits {
				out = append(out, experiment{p, c})
			}
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("no probe fits into the engine: prompts %v with %d output tokens, its longest sequence is %d; give shorter prompts", prompts, s.Output, room)
	}
	return out, nil
}

func distinct(v []int) []int {
	v = slices.Clone(v)
	slices.Sort(v)
	return slices.Compact(v)
}

// explore runs the experiments and fits a profile. All are run once before any
// is run again, so that a machine that is slower for a while is so for one
// repeat of each and not for all repeats of one, where it would pass for what
// that experiment costs. Each repeat is a durable part.
func (s *Reprofile) explore(ctx context.Context, rt *pipeline.Runtime, facts engine.Facts, fingerprint string, send sender) (*ReprofileResult, error) {
	plan, err := s.design(facts)
	if err != nil {
		return nil, err
	}
	runs, warm := make([][]trace.Run, len(plan)), make([]bool, len(plan))
	began := time.Now()
	for repeat := 1; repeat <= s.Repeats; repeat++ {
		for i, e := range plan {
			rt.Progress(float64((repeat-1)*len(plan)+i), float64(s.Repeats*len(plan)), fmt.Sprintf("%d tokens, %d at once, %d of %d", e.prompt, e.concurrency, repeat, s.Repeats))
			key := fmt.Sprintf("probe %d + %d tokens, %d at once, repeat %d, of %s", e.prompt, s.Output, e.concurrency, repeat, fingerprint)
			dir, _, err := rt.Part(key, func(dir string) error {
				run, err := s.measure(ctx, send, e, repeat, &warm[i])
				if err != nil {
					return err
				}
				return errors.Join(writeWhen(dir), trace.WritePoints(dir, []trace.Point{{Name: e.name(), Group: trace.Probe, Runs: []trace.Run{run}}}))
			})
			if err != nil {
				return nil, err
			}
			points, err := trace.ReadPoints(dir)
			if err != nil {
				return nil, err
			}
			at, err := readWhen(dir)
			if err != nil {
				return nil, err
			}
			if at.Before(began) {
				began = at // made by an attempt before, or by another run: the profile is as old as its oldest probe
			}
			runs[i] = append(runs[i], points[0].Runs...)
		}
	}
	cells := make([]profile.Cell, len(plan))
	for i, e := range plan {
		if cells[i], err = cellOf(e, runs[i]); err != nil {
			return nil, err
		}
	}
	return s.probed(rt, facts, cells, began)
}

// whenFile holds when a probe was measured.
const whenFile = "measured_at"

func writeWhen(dir string) error {
	return os.WriteFile(filepath.Join(dir, whenFile), []byte(time.Now().UTC().Format(time.RFC3339)), 0o644)
}

func readWhen(dir string) (time.Time, error) {
	text, err := os.ReadFile(filepath.Join(dir, whenFile))
	if err != nil {
		return time.Time{}, err
	}
	return time.Parse(time.RFC3339, string(text))
}

// measure runs an experiment once. What an engine that was just started gives
// first is thrown away: it compiles and captures graphs for sizes that it has
// not seen.
func (s *Reprofile) measure(ctx context.Context, send sender, e experiment, repeat int, warm *bool) (trace.Run, error) {
	reqs := make([]trace.Request, e.concurrency)
	for i := range reqs {
		reqs[i] = trace.Request{ID: i, Prompt: e.prompt, Output: s.Output}
	}
	once := func(name string) ([]trace.Row, error) {
		rows, err := send(ctx, name, e.concurrency == 1, reqs)
		if err != nil {
			return nil, err
		}
		for _, r := range rows {
			if !r.OK() {
				return nil, fmt.Errorf("a probe of %d + %d tokens, %d at once, failed: %s", e.prompt, s.Output, e.concurrency, r.Error)
			}
		}
		return rows, nil
	}
	if !*warm {
		if _, err := once(fmt.Sprintf("%s-%d-warm-up", e.name(), repeat)); err != nil {
			return trace.Run{}, err
		}
		*warm = true
	}
	rows, err := once(fmt.Sprintf("%s-%d", e.name(), repeat))
	return trace.Run{Seed: repeat, Requests: reqs, Rows: rows, State: trace.OK}, err
}

// cellOf sums an experiment up. Of requests at once the one whose first token
// came last counts: while it decodes, none of the others prefills. How many
// of them still decode beside it the rows say themselves. Repeats that the
// client read in one piece are left out, half of them at most.
func cellOf(e experiment, runs []trace.Run) (profile.Cell, error) {
	c := profile.Cell{Prompt: e.prompt, Concurrency: e.concurrency}
	var first, per, active []float64
	for _, run := range runs {
		last := slices.MaxFunc(run.Rows, func(a, b trace.Row) int { return cmp.Compare(a.First, b.First) })
		if last.Prompted > 0 {
			c.Prompt = last.Prompted
		}
		n := last.Tokens
		if last.FirstTokens > 1 {
			n -= last.FirstTokens - 1
		}
		if n < 2 || last.Last <= last.First {
			continue // read at once by a client that had to wait for the processor
		}
		c.Output = last.Tokens
		first = append(first, last.TTFTSent().Seconds())
		per = append(per, (last.Last-last.First).Seconds()/float64(n-1))
		active = append(active, beside(last, run.Rows))
	}
	if c.N = len(per); 2*c.N < len(runs) || c.N == 0 {
		return c, fmt.Errorf("of %d probes of %d tokens, %d at once, only %d came token by token, so their TPOT is not known: "+
			"ask for more output, or give this machine less to do beside", len(runs), e.prompt, e.concurrency, c.N)
	}
	if e.concurrency == 1 {
		c.TTFT = trace.FromSeconds(median(first))
	}
	c.TPOT, c.Active = trace.FromSeconds(median(per)), median(active)
	return c, nil
}

// beside is how many requests decode while one does, itself included, on
// average over time.
func beside(one trace.Row, rows []trace.Row) float64 {
	sum := time.Duration(0)
	for _, r := range rows {
		sum += max(0, min(one.Last, r.Last)-max(one.First, r.First))
	}
	return float64(sum) / float64(one.Last-one.First)
}

func median(v []float64) float64 { return stats.Quantile(stats.Sorted(v), 0.5) }

// probed fits a profile to the experiments and writes it.
func (s *Reprofile) probed(rt *pipeline.Runtime, facts engine.Facts, cells []profile.Cell, at time.Time) (*ReprofileResult, error) {
	opt := profile.FitOptions{Context: len(s.Operators) == 0 || slices.Contains(s.Operators, operatorAttention)}
	if facts.MaxTokens != nil {
		opt.Chunk = *facts.MaxTokens
	}
	fit, err := profile.FitSteps(cells, opt)
	if err != nil {
		return nil, err
	}
	res := &ReprofileResult{
		Format: string(profile.Steps), FrontEnd: new(fit.FrontEnd.Seconds()),
		Residual: &fit.Median, Worst: &fit.Worst, Residuals: fit.Residuals, Doubts: append([]string{}, fit.Doubts...),
	}
	m := profile.Manifest{
		Format: profile.Steps, Identity: s.probedIdentity(facts, at), Covers: fit.Covers, Step: &fit.Step,
		Source: fmt.Sprintf("calrun reprofile, method probe: %d experiments of %d repeats; residuals %.1f %% (median), %.1f %% (worst); front-end %.3f ms, which is no part of a step", len(cells), s.Repeats, 100*fit.Median, 100*fit.Worst, 1e3*fit.FrontEnd.Seconds()),
	}
	dir := filepath.Join(rt.Dir(), "profiles")
	if err := profile.WriteManifest(dir, m, "Step times derived from requests to the engine. A linear model: no step\nquantisation, no kernel switches, no quadratic attention."); err != nil {
		return nil, err
	}
	if _, err := profile.Open(dir); err != nil {
		return nil, errors.Join(errors.New("the profile just written cannot be read; this is a bug of calrun"), err)
	}
	res.Profiles = pipeline.Artefact{Of: "profiles", Path: dir}
	for _, d := range res.Doubts {
		rt.Log().Warn().Msg(d)
	}
	rt.Log().Info().Msg(m.Source)
	return res, nil
}

// probedIdentity is what was probed: what the engine states goes before what
// the deployment says.
func (s *Reprofile) probedIdentity(f engine.Facts, at time.Time) profile.Identity {
	id := s.Deployment.identity()
	for _, x := range []struct {
		to   *string
		from string
	}{{&id.Model, f.Model}, {&id.GPU, f.GPU}, {&id.Dtype, f.Dtype}, {&id.Attention, f.Attention}} {
		if x.from != "" {
			*x.to = x.from
		}
	}
	if f.TP != nil {
		id.TP = *f.TP
	}
	if f.BlockSize != nil {
		id.BlockSize = *f.BlockSize
	}
	id.MeasuredAt = at.UTC().Truncate(time.Second)
	return id
}
