package simulator

import (
	"context"
	"testing"
	"time"

	"calrun/internal/profile"
	"calrun/internal/trace"
)

// What look-ahead costs, by hand: every step takes 10 ms.
func TestLookAhead(t *testing.T) {
	const ms = time.Millisecond
	for _, c := range []struct {
		why           string
		seqs          int
		reqs          []trace.Request // the last one is asked about
		synced, ahead time.Duration   // its first token
	}{
		{"on an idle engine nothing", 8, []trace.Request{{Due: 25 * ms, Prompt: 10, Output: 5}}, 35 * ms, 35 * ms},
		{
			"who comes during step 3 joins step 5 instead of 4", 8,
			[]trace.Request{{Prompt: 10, Output: 50}, {Due: 25 * ms, Prompt: 10, Output: 5}},
			40 * ms, 50 * ms,
		},
		{
			"a place that is free after step 2 is taken in step 4 instead of 3", 2,
			[]trace.Request{{Prompt: 10, Output: 50}, {Prompt: 10, Output: 2}, {Prompt: 10, Output: 5}},
			30 * ms, 40 * ms,
		},
		{
			"where nobody else runs the engine has nothing to look ahead to", 1,
			[]trace.Request{{Prompt: 10, Output: 2}, {Prompt: 10, Output: 5}},
			30 * ms, 30 * ms,
		},
	} {
		for i, want := range []time.Duration{c.synced, c.ahead} {
			cfg := Defaults()
			cfg.MaxNumSeqs, cfg.LookAhead = c.seqs, i == 1
			rows, _, err := Run(context.Background(), c.reqs, cfg, profile.StepTime{Base: 0.01})
			if err != nil {
				t.Fatal(err)
			}
			if got := rows[len(rows)-1].First; got != want {
				t.Errorf("%s: with look-ahead %v the first token comes at %v, want %v", c.why, cfg.LookAhead, got, want)
			}
		}
	}
}
