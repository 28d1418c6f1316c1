package steps

import (
	"archive/tar"
	"bytes"
	"context"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"calrun/internal/engine"
	"calrun/internal/profile"
	"calrun/internal/simulator"
	"calrun/internal/trace"
	"calrun/pipeline"
)

// An engine with known step times, asked by the probes alone, is recovered:
// its prices, its front-end, and so any step that it may take.
func TestReprofileProbeRecovers(t *testing.T) {
	truth := profile.StepTime{Base: 8e-3, PerPrefillToken: 15e-6, PerSequence: 1e-4, PerContextToken: 4e-8}
	const front = 2 * time.Millisecond
	cfg := simulator.Defaults()
	cfg.MaxTokens, cfg.MaxNumSeqs, cfg.FrontEnd = 512, 32, front
	sent := 0
	send := func(ctx context.Context, _ string, alone bool, reqs []trace.Request) ([]trace.Row, error) {
		sent++
		run := simulator.Run
		if alone {
			run = simulator.RunAlone
		}
		rows, _, err := run(ctx, reqs, cfg, truth)
		return rows, err
	}
	facts := engine.Facts{Model: "emulated", MaxTokens: new(512), MaxNumSeqs: new(32), MaxModelLen: new(2048)}
	s := &Reprofile{Method: methodProbe, Output: 32, Repeats: 2, Prompts: []int{16, 256, 512, 1500}}
	rt := pipeline.NewScratch(t.TempDir(), zerolog.Nop())
	res, err := s.explore(context.Background(), rt, facts, "emulated", send)
	if err != nil {
		t.Fatal(err)
	}
	if *res.Worst > 0.02 {
		t.Errorf("worst residual %.3f of a linear engine: %+v", *res.Worst, res.Residuals)
	}
	if math.Abs(*res.FrontEnd-front.Seconds()) > 3e-4 {
		t.Errorf("front-end %v s, want %v", *res.FrontEnd, front)
	}
	p, err := profile.Open(res.Profiles.Path)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v %+v %+v", *p.Step, p.Identity, p.Covers)
	m, err := p.Model(profile.Scale{})
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range []profile.Batch{
		{Prefills: []profile.Chunk{{Tokens: 512}}},
		{Decodes: 1, DecodeContext: 100, MaxDecodeContext: 100},
		{Decodes: 16, DecodeContext: 16 * 500, MaxDecodeContext: 500},
		{Prefills: []profile.Chunk{{Tokens: 200}}, Decodes: 12, DecodeContext: 12 * 300, MaxDecodeContext: 300},
	} {
		got, _ := m.Step(&b)
		want, _ := truth.Step(&b)
		if math.Abs(float64(got)/float64(want)-1) > 0.03 {
			t.Errorf("step %+v takes %v, want %v", b, got, want)
		}
	}
	before := sent
	if _, err := s.explore(context.Background(), rt, facts, "emulated", send); err != nil {
		t.Fatal(err)
	}
	if sent != before {
		t.Errorf("%d experiments were run again although their parts are kept", sent-before)
	}
}

// A machine that is slow for a third of the time is slow in one repeat of three
// of each experiment, which no median is moved by.
func TestReprofileProbeOutlivesASlowWhile(t *testing.T) {
	truth := profile.StepTime{Base: 8e-3, PerPrefillToken: 15e-6, PerSequence: 1e-4}
	slow := profile.StepTime{Base: 12e-3, PerPrefillToken: 22e-6, PerSequence: 1.5e-4}
	s := &Reprofile{Method: methodProbe, Operators: []string{operatorMLP}, Output: 8, Repeats: 3, Prompts: []int{16, 256, 1024}, Concurrency: []int{1, 4, 16}}
	cfg := simulator.Defaults()
	cfg.FrontEnd = 2 * time.Millisecond
	sent := 0
	send := func(ctx context.Context, _ string, alone bool, reqs []trace.Request) ([]trace.Row, error) {
		sent++
		run, model := simulator.Run, truth
		if alone {
			run = simulator.RunAlone
		}
		if sent <= 2*9 { // the first repeat of nine experiments, with its warm-up
			model = slow
		}
		rows, _, err := run(ctx, reqs, cfg, model)
		return rows, err
	}
	res, err := s.explore(context.Background(), pipeline.NewScratch(t.TempDir(), zerolog.Nop()), engine.Facts{Model: "emulated", MaxTokens: new(2048)}, "emulated", send)
	if err != nil {
		t.Fatal(err)
	}
	p, err := profile.Open(res.Profiles.Path)
	if err != nil {
		t.Fatal(err)
	}
	if sent != 9*4 || *res.Worst > 0.01 || math.Abs(float64(p.Step.Base)/8e-3-1) > 0.01 {
		t.Errorf("%d runs, base %v, worst residual %.3f: a slow while has become a price", sent, p.Step.Base, *res.Worst)
	}
}

// What a profiler's command may do, and what is said of it.
func TestReprofileExec(t *testing.T) {
	const manifest = "format: steps\nmodel: emulated\nstep: {base: 8ms}\n"
	archive := filepath.Join(t.TempDir(), "a.tar")
	evil := filepath.Join(t.TempDir(), "b.tar")
	for path, name := range map[string]string{archive: "./profile.yaml", evil: "../profile.yaml"} {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(manifest)), Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(manifest)); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct{ why, script, model, want string }{
		{"files in the working folder", "printf '" + strings.ReplaceAll(manifest, "\n", `\n`) + "' > profile.yaml", "emulated", ""},
		{"an archive on stdout, as over ssh", "cat " + archive, "emulated", ""},
		{"an archive that leaves its folder", "cat " + evil, "emulated", "outside"},
		{"messages on stdout", "echo profiling...", "emulated", "no tar archive"},
		{"nothing at all", "true", "emulated", "no mlp.csv"},
		{"a command that fails", "echo no GPU >&2; exit 3", "emulated", "no GPU"},
		{"a profile of another model", "cat " + archive, "meta-llama/Llama-2-7b-hf", "identity.model"},
	} {
		s := &Reprofile{Method: methodExec, Prefix: []string{"sh", "-c"}, Command: []string{c.script}, Deployment: Deployment{Model: c.model}}
		res, err := s.Run(context.Background(), pipeline.NewScratch(t.TempDir(), zerolog.Nop()))
		if c.want == "" {
			if err != nil {
				t.Errorf("%s: %v", c.why, err)
			} else if r := res.(*ReprofileResult); r.Format != "steps" {
				t.Errorf("%s: format %q", c.why, r.Format)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one that says %q", c.why, err, c.want)
		}
	}
}
