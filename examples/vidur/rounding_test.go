//go:build real

package vidur

import (
	"context"
	"testing"
	"time"

	"calrun/internal/vidur"
)

// Tables that reach further predict the same: with the limits rounded up, as
// every step does so that the values of a knob share them, Vidur says to the
// nanosecond what it says with the least that hold the batches.
func TestRealVidurFurtherTablesPredictTheSame(t *testing.T) {
	b := openBench(t)
	reqs := conversations(t, 150)
	for i := range reqs {
		reqs[i].Prompt, reqs[i].Output = min(reqs[i].Prompt, 900), min(reqs[i].Output, 90)
		reqs[i].Due /= 4 // so that batches grow
	}
	set := setup(vidur.Sarathi)
	set.MaxSeqs, set.MaxTokens, set.Longest = 40, 192, 1024
	tight, wide := set, set
	tight.Limits = vidur.Limits{Tokens: 1024, Chunk: 192, Seqs: 40, Granularity: 64}
	wide.Reach(1024)
	if wide.Limits.Chunk != 512 || wide.Limits.Seqs != 128 {
		t.Fatalf("limits rounded to %+v; nothing here is told of them", wide.Limits)
	}
	var got [2]*vidur.Result
	for i, s := range []vidur.Setup{tight, wide} {
		began := time.Now()
		sim := b.predict(t, b.cache, s)
		ready := time.Since(began)
		res, err := sim.Run(context.Background(), t.TempDir(), reqs, false)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%+v: tables in %v, a run in %v: %+v", s.Limits, ready.Round(time.Second), (time.Since(began) - ready).Round(time.Second), res.Stats)
		got[i] = res
	}
	if got[0].Stats != got[1].Stats {
		t.Errorf("with tables that reach further: %+v, and without: %+v", got[1].Stats, got[0].Stats)
	}
	if got[0].Stats.PeakSeqs < 20 {
		t.Errorf("at most %d sequences in a batch: too few to tell", got[0].Stats.PeakSeqs)
	}
	for i, r := range got[0].Rows {
		if w := got[1].Rows[i]; r.First != w.First || r.Last != w.Last {
			t.Errorf("request %d: first token at %v and last at %v; with tables that reach further %v and %v", i, r.First, r.Last, w.First, w.Last)
		}
	}
}
