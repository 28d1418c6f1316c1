package steps

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"calrun/internal/engine"
	"calrun/internal/process"
	"calrun/internal/profile"
	"calrun/internal/vidur"
	"calrun/pipeline"
)

// operatorAllReduce is profiled wherever there is more than one card.
const operatorAllReduce = "all_reduce"

// checkVidur is Check of the method vidur.
func (s *Reprofile) checkVidur(in pipeline.Static) []pipeline.FieldProblem {
	var out []pipeline.FieldProblem
	if s.Deployment.Model == "" && !in.Dynamic("deployment") {
		out = append(out, pipeline.FieldProblem{Field: "deployment.model", Message: "the method vidur must know which model to profile", Suggest: "deployment: {model: org/name, gpu: A100-80GB}"})
	}
	if _, err := vidur.Registry.Model(s.Deployment.Model); err != nil && s.Deployment.Model != "" && !in.Dynamic("deployment") {
		out = append(out, pipeline.FieldProblem{Field: "deployment.model", Message: err.Error(), Suggest: "method: exec, with a profiler of yours"})
	}
	if needs := s.lacking(); needs != "" && s.Profiles.Digest == "" && s.Profiles.Path == "" && !in.Dynamic("profiles") && !in.Dynamic("operators") {
		out = append(out, pipeline.FieldProblem{Field: "operators", Message: needs + " is not profiled anew, and there is no profile to take it from", Suggest: "name it, or give profiles"})
	}
	if in.Dynamic("engine") {
		return out
	}
	if ps := s.Engine.check(in); len(ps) > 0 && ps[0].Field != "engine" { // there need be none
		return append(out, ps...)
	}
	if !s.Engine.pauses() {
		out = append(out, pipeline.FieldProblem{
			Field: "engine", Warning: true,
			Message: "calrun cannot stop this engine, which holds the memory of the cards: where it runs, this step ends with exit code 3, asks for it to be stopped, and goes on with `calrun resume`",
			Suggest: "engine: {url: ..., stop: [cmd], restart: [cmd]}, or engine.start",
		})
	}
	return out
}

// operators are those to profile, in the profiler's order.
func (s *Reprofile) operators() []vidur.Operator {
	asked := s.Operators
	if len(asked) == 0 {
		asked = []string{operatorMLP, operatorAttention}
	}
	var out []vidur.Operator
	for _, op := range []vidur.Operator{vidur.OpMLP, vidur.OpAttention, vidur.OpAllReduce} {
		// A profile of several cards is none without what they exchange.
		if slices.Contains(asked, string(op)) || op == vidur.OpAllReduce && s.Deployment.TP > 1 {
			out = append(out, op)
		}
	}
	return out
}

// lacking is an operator without which there is no profile, and that is not
// made anew; "" if there is none.
func (s *Reprofile) lacking() string {
	for _, op := range []vidur.Operator{vidur.OpMLP, vidur.OpAttention} {
		if !slices.Contains(s.operators(), op) {
			return string(op)
		}
	}
	return ""
}

// vidur runs Vidur's own profiler on the host of the cards, with the engine
// stopped meanwhile.
func (s *Reprofile) vidur(ctx context.Context, rt *pipeline.Runtime) (_ any, err error) {
	facts, resume, err := s.Engine.pause(ctx, rt, rt.Dir())
	if err != nil {
		return nil, err
	}
	raw := filepath.Join(rt.Dir(), "raw")
	job := s.profiling(facts)
	err = s.profileThere(ctx, rt, job, raw)
	back := resume() // also after a failure, and after an interrupt
	if err != nil {
		return nil, errors.Join(err, back)
	}
	res, err := s.collect(job, raw, filepath.Join(rt.Dir(), "profiles"))
	if err != nil {
		return nil, errors.Join(err, back)
	}
	if silent := s.unstated(facts, job); silent != "" {
		res.Doubts = append(res.Doubts, silent)
	}
	if back != nil { // the profile is good, and took hours
		res.Doubts = append(res.Doubts, "the engine is not back: "+back.Error())
	}
	for _, d := range res.Doubts {
		rt.Log().Warn().Msg(d)
	}
	return res, nil
}

// Where nobody states a limit: those of Vidur's profiler.
const (
	profiledTokens = 4096
	profiledSeqs   = 128
	profiledTop    = 16384 // longest request, however long the model's are
)

// profiling is what Vidur's profiler is asked: tables that reach as far as the
// engine's steps do.
func (s *Reprofile) profiling(f engine.Facts) vidur.Profiling {
	d := s.Deployment
	or := func(v int, ps ...*int) int {
		if p := cmp.Or(ps...); p != nil {
			return *p
		}
		return v
	}
	p := vidur.Profiling{
		Python: s.Python, Model: d.Model, GPUs: max(1, d.GPUs), TP: max(1, d.TP), Operators: s.operators(),
		BlockSize: or(16, f.BlockSize, positive(d.BlockSize)),
		Seqs:      or(profiledSeqs, f.MaxNumSeqs, d.MaxNumSeqs),
		Tokens:    or(profiledTokens, f.MaxTokens, d.MaxTokens),
		Longest:   s.Longest,
	}
	if p.Longest == 0 {
		p.Longest = min(profiledTop, or(profiledTokens, f.MaxModelLen, d.MaxModelLen))
	}
	return p
}

// unstated says which limits of its steps the engine did not state, being
// stopped already or silent about them; "" if it stated all.
func (s *Reprofile) unstated(f engine.Facts, p vidur.Profiling) string {
	var taken []string
	for _, x := range []struct {
		name   string
		stated *int
		used   int
	}{
		{"block_size", f.BlockSize, p.BlockSize},
		{"max_num_seqs", f.MaxNumSeqs, p.Seqs},
		{"max_num_batched_tokens", f.MaxTokens, p.Tokens},
		{"max_model_len", cmp.Or(f.MaxModelLen, positive(s.Longest)), p.Longest},
	} {
		if x.stated == nil {
			taken = append(taken, fmt.Sprintf("%s %d", x.name, x.used))
		}
	}
	if len(taken) == 0 {
		return ""
	}
	return "the engine, stopped already or silent, did not state all limits of its steps: the tables are for those of the plan, or else of Vidur's profiler: " + strings.Join(taken, ", ")
}

// profileThere runs the profiler and unpacks what it wrote into raw.
func (s *Reprofile) profileThere(ctx context.Context, rt *pipeline.Runtime, job vidur.Profiling, raw string) (err error) {
	script, err := job.Script()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(raw, 0o755); err != nil {
		return err
	}
	archive, err := os.Create(filepath.Join(rt.Dir(), "stdout"))
	if err != nil {
		return err
	}
	defer archive.Close()
	log, err := os.Create(filepath.Join(rt.Dir(), "profiler.log"))
	if err != nil {
		return err
	}
	defer log.Close()
	// The pipe stays open as long as calrun lives and waits: its end ends the
	// profiler there.
	in, hold, err := os.Pipe()
	if err != nil {
		return err
	}
	defer in.Close()
	defer hold.Close()
	told := make(chan error, 1)
	go func() { _, err := io.WriteString(hold, script); told <- err }()
	args := slices.Concat(s.Prefix, []string{"sh", "-s"})
	rt.Log().Info().Strs("operators", operatorNames(job.Operators)).Msg("Vidur's profiler: " + strings.Join(args, " "))
	rt.Progress(0, 0, "profiling "+strings.Join(operatorNames(job.Operators), ", "))
	err = process.Run(process.WithLease(ctx, rt.Lease()), process.Cmd{Args: args, Dir: raw, Stdin: in, Stdout: archive, Stderr: log})
	in.Close() // nobody reads on, so that the writer ends
	if sent := <-told; err == nil && sent != nil {
		err = sent
	}
	if err != nil {
		return fmt.Errorf("run Vidur's profiler: %w; all that it said is in %s", err, filepath.Base(log.Name()))
	}
	if info, err := archive.Stat(); err != nil || info.Size() == 0 {
		return fmt.Errorf("%s ended well and sent nothing: the words of run must pass standard input on to a shell (docker exec -i, kubectl exec -i)", strings.Join(args, " "))
	}
	return unpack(archive, raw)
}

func operatorNames(ops []vidur.Operator) []string {
	out := make([]string, len(ops))
	for i, op := range ops {
		out[i] = string(op)
	}
	return out
}

// collect makes a profile of the tables and judges it.
func (s *Reprofile) collect(job vidur.Profiling, raw, dir string) (*ReprofileResult, error) {
	_, node, err := vidur.Registry.Device(s.Deployment.GPU, "")
	if err != nil {
		node = "node" // of a card that Vidur does not know
	}
	made, err := vidur.Collect(raw, dir, node)
	if err != nil {
		return nil, err
	}
	for _, op := range job.Operators {
		if !slices.Contains(made, op) {
			return nil, fmt.Errorf("the profiler ended well, and there is no table of %s", op)
		}
	}
	res := &ReprofileResult{Format: string(profile.Vidur), Residuals: []profile.Residual{}, Doubts: []string{}}
	m := profile.Manifest{
		Format: profile.Vidur, Source: "calrun reprofile, method vidur: " + strings.Join(operatorNames(made), ", "),
		Identity: profile.Identity{Model: s.Deployment.Model, GPU: s.Deployment.GPU, TP: job.TP, Dtype: "float16", MeasuredAt: time.Now().UTC().Truncate(time.Second)},
	}
	if err := s.keep(made, dir, &m, res); err != nil {
		return nil, err
	}
	if err := profile.WriteManifest(dir, m, "What the tables beside this file are of. Vidur's profiler measures float16 alone."); err != nil {
		return nil, err
	}
	return res, s.judge(dir, res)
}

// keep takes from the old profile the tables that were not made anew. A
// profile is as old as its oldest table.
func (s *Reprofile) keep(made []vidur.Operator, dir string, m *profile.Manifest, res *ReprofileResult) error {
	var kept []string
	for _, op := range []vidur.Operator{vidur.OpMLP, vidur.OpAttention} {
		if slices.Contains(made, op) {
			continue
		}
		if s.Profiles.Path == "" {
			return fmt.Errorf("%s is not profiled anew, and there is no profile to take it from: give profiles, or name it in operators", op)
		}
		old, err := openProfile(s.Profiles.Path, s.Deployment)
		if err != nil {
			return fmt.Errorf("the profiles: %w", err)
		}
		sheets, err := old.Sheets()
		if err != nil {
			return fmt.Errorf("the profiles: %w", err)
		}
		from := map[vidur.Operator]string{vidur.OpMLP: sheets.MLP, vidur.OpAttention: sheets.Attention}[op]
		data, err := os.ReadFile(from)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, string(op)+".csv"), data, 0o644)
		}
		if err != nil {
			return err
		}
		m.MeasuredAt = old.Identity.MeasuredAt
		kept = append(kept, string(op))
	}
	if len(kept) > 0 {
		res.Doubts = append(res.Doubts, strings.Join(kept, ", ")+" is as it was, and so is the profile's age")
		m.Source += "; " + strings.Join(kept, ", ") + " of the profile before"
	}
	return nil
}

// judge reads what was made as those will who simulate with it.
func (s *Reprofile) judge(dir string, res *ReprofileResult) error {
	prof, err := openProfile(dir, s.Deployment)
	if err != nil {
		return fmt.Errorf("what Vidur's profiler wrote cannot be read: %w", err)
	}
	if _, err := prof.Model(profile.Scale{}); err != nil {
		return fmt.Errorf("nothing can be simulated with what Vidur's profiler wrote: %w", err)
	}
	for _, f := range slices.Concat(prof.Present(), profile.Identify(s.Deployment.identity(), prof.Identity), prof.Values()) {
		if !f.OK {
			res.Doubts = append(res.Doubts, fmt.Sprintf("%s is %s, wanted %s; %s", f.Check, f.Seen, f.Allowed, f.Advice))
		}
	}
	res.Profiles = pipeline.Artefact{Of: "profiles", Path: dir}
	return nil
}
