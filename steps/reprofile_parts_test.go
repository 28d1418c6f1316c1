package steps

import (
	"context"
	"testing"

	"github.com/rs/zerolog"

	"calrun/internal/engine"
	"calrun/internal/profile"
	"calrun/internal/simulator"
	"calrun/internal/trace"
	"calrun/pipeline"
)

// Every ingredient of a probe's part that changes makes the probe run again,
// and nothing else does.
func TestEveryIngredientOfAProbePartCounts(t *testing.T) {
	const experiments, warm = 4, 4 // two prompts at two concurrencies, each warmed up once
	step := func() *Reprofile {
		return &Reprofile{
			Method: methodProbe, Operators: []string{operatorMLP}, Output: 8, Repeats: 1, Prompts: []int{16, 512}, Concurrency: []int{1, 8},
			Engine: Engine{URL: "http://one", API: "completions", Prompt: "tokens", Fields: "vllm", Vocab: 4000},
		}
	}
	for _, c := range []struct {
		why     string
		change  func(s *Reprofile, engineIs *string)
		made    int // experiments that are run again
		warmUps int
	}{
		{"nothing", func(*Reprofile, *string) {}, 0, 0},
		{"where the engine is", func(s *Reprofile, _ *string) { s.Engine.URL = "http://two" }, 0, 0},
		{"what the profile is called", func(s *Reprofile, _ *string) { s.Deployment.Model = "other" }, 0, 0},
		{"what is fitted to the probes", func(s *Reprofile, _ *string) { s.Operators = nil }, 0, 0},
		{"one more repeat", func(s *Reprofile, _ *string) { s.Repeats = 2 }, experiments, warm},
		{"one more prompt", func(s *Reprofile, _ *string) { s.Prompts = []int{16, 256, 512} }, 2, 2},
		{"another concurrency", func(s *Reprofile, _ *string) { s.Concurrency = []int{1, 4} }, 2, 2},
		{"the output", func(s *Reprofile, _ *string) { s.Output = 9 }, experiments, warm},
		{"the engine", func(_ *Reprofile, engineIs *string) { *engineIs = "emulated 2" }, experiments, warm},
		{"the served model", func(s *Reprofile, _ *string) { s.Engine.Model = "other" }, experiments, warm},
		{"the endpoint", func(s *Reprofile, _ *string) { s.Engine.API = "chat" }, experiments, warm},
		{"what prompts are made of", func(s *Reprofile, _ *string) { s.Engine.Prompt = "text" }, experiments, warm},
		{"what the engine is asked with", func(s *Reprofile, _ *string) { s.Engine.Fields = "openai" }, experiments, warm},
		{"the token ids", func(s *Reprofile, _ *string) { s.Engine.Vocab = 5000 }, experiments, warm},
	} {
		sent := 0
		send := func(ctx context.Context, _ string, alone bool, reqs []trace.Request) ([]trace.Row, error) {
			sent++
			run := simulator.Run
			if alone {
				run = simulator.RunAlone
			}
			rows, _, err := run(ctx, reqs, simulator.Defaults(), profile.StepTime{Base: 8e-3, PerPrefillToken: 15e-6, PerSequence: 1e-4})
			return rows, err
		}
		rt, s, engineIs := pipeline.NewScratch(t.TempDir(), zerolog.Nop()), step(), "emulated 1"
		explore := func() {
			_, err := s.explore(t.Context(), rt, engine.Facts{MaxTokens: new(2048)}, engineIs+", "+s.Engine.asked(), send)
			if err != nil {
				t.Fatalf("%s: %v", c.why, err)
			}
		}
		explore()
		if sent != experiments+warm {
			t.Fatalf("%s: %d runs at first, want %d", c.why, sent, experiments+warm)
		}
		sent = 0
		c.change(s, &engineIs)
		if explore(); sent != c.made+c.warmUps {
			t.Errorf("%s: %d runs again, want %d and %d warm-ups", c.why, sent, c.made, c.warmUps)
		}
	}
}
