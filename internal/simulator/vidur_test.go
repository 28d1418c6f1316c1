package simulator_test

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"calrun/internal/profile"
	"calrun/internal/simulator"
	"calrun/internal/trace"
)

// Blocks run out. The recordings are of Vidur 0.0.26 with the one counter set
// back on a restart that it forgets and dies of; the requests are those below.
func TestVidurRestarts(t *testing.T) {
	for _, c := range []struct {
		policy   simulator.Policy
		tokens   int
		restarts int
	}{{simulator.Sarathi, 256, 4}, {simulator.VLLM, 800, 5}} {
		t.Run(c.policy.String(), func(t *testing.T) {
			var reqs []trace.Request
			for i := range 30 {
				reqs = append(reqs, trace.Request{ID: i, Due: time.Duration(i) * 40 * time.Millisecond, Prompt: 40 + i*137%600, Output: 5 + i*53%90})
			}
			m := &replayer{t: t}
			dir := filepath.Join("testdata", "vidur-restarts")
			readNumbers(t, filepath.Join(dir, c.policy.String()+"-batches.csv"), m.add)
			cfg := simulator.Config{Policy: c.policy, MaxNumSeqs: 8, MaxTokens: c.tokens, BlockSize: 16, Blocks: 120, Watermark: 0.01}
			rows, stats, err := simulator.Run(context.Background(), reqs, cfg, m)
			if err != nil {
				t.Fatal(err)
			}
			if stats.Preemptions != c.restarts || m.n != len(m.batches) {
				t.Errorf("%d restarts in %d steps, Vidur had %d in %d", stats.Preemptions, m.n, c.restarts, len(m.batches))
			}
			i := 0
			readNumbers(t, filepath.Join(dir, c.policy.String()+"-requests.csv"), func(col func(string) float64) {
				first, last := trace.FromSeconds(col("prefill_e2e_time")), trace.FromSeconds(col("request_e2e_time"))
				if d := max((rows[i].TTFT() - first).Abs(), (rows[i].E2E() - last).Abs()); d > time.Microsecond {
					t.Errorf("request %d: %v to the first token and %v to the last, Vidur %v and %v", i, rows[i].TTFT(), rows[i].E2E(), first, last)
				}
				i++
			})
		})
	}
}

// What Vidur's schedulers would wait for for ever is refused at once.
func TestVidurRefuses(t *testing.T) {
	steps := profile.StepTime{Base: 0.01}
	for _, c := range []struct {
		why            string
		policy         simulator.Policy
		prompt, output int
		fits           bool
	}{
		{"a prompt longer than the chunk is cut", simulator.Sarathi, 100, 1, true},
		{"a whole prompt must fit into a batch", simulator.VLLM, 100, 1, false},
		{"and after a restart so must what was produced", simulator.VLLM, 60, 10, false},
		{"9 of 10 blocks, one is the watermark's", simulator.Sarathi, 140, 5, true},
		{"10 of 10 blocks", simulator.Sarathi, 140, 6, false},
	} {
		cfg := simulator.Config{Policy: c.policy, MaxNumSeqs: 4, MaxTokens: 64, BlockSize: 16, Blocks: 10, Watermark: 0.1}
		rows, _, err := simulator.Run(context.Background(), []trace.Request{{Prompt: c.prompt, Output: c.output}}, cfg, steps)
		if err != nil || rows[0].OK() != c.fits {
			t.Errorf("%s: %v %d + %d: %v %q", c.why, c.policy, c.prompt, c.output, err, rows[0].Error)
		}
	}
}
