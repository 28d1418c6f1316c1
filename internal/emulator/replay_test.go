package emulator

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"calrun/internal/trace"
)

// A replay is the engine without its clients: with every random term on, the
// same tokens at the same nanosecond.
func TestReplayIsTheEngine(t *testing.T) {
	cfg := testConfig()
	cfg.KVBlocks, cfg.MaxNumSeqs, cfg.MaxTokens, cfg.MaxModelLen = 60, 6, 128, 512
	cfg.Jitter, cfg.WarmUp = Jitter{Step: 0.1, FrontEnd: time.Millisecond}, WarmUp{Steps: 20, Factor: 1.5}
	cfg.FrontEndBusy = 3 * time.Millisecond
	reqs := someRequests()
	var want []trace.Row
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, cfg)
		replay(b, reqs)
		want = b.engine.Truth()
	})
	r, err := NewReplay(cfg)
	if err != nil {
		t.Fatal(err)
	}
	got, err := r.Serve(reqs)
	if err != nil {
		t.Fatal(err)
	}
	for i, w := range want {
		if g := got[i]; g.Sent != w.Sent || g.First != w.First || g.Last != w.Last || g.Tokens != w.Tokens || !g.OK() {
			t.Fatalf("request %d: replayed %+v, served %+v", i, g, w)
		}
	}
}

func TestReplayAlone(t *testing.T) {
	r, err := NewReplay(testConfig())
	if err != nil {
		t.Fatal(err)
	}
	reqs := []trace.Request{{Due: time.Second, Prompt: 100, Output: 3}, {Due: time.Second, Prompt: 100, Output: 3}}
	rows, err := r.Alone(reqs)
	if err != nil {
		t.Fatal(err)
	}
	for i, row := range rows {
		// 2 ms in front, a step of 8 ms with 100 prompt tokens and a sequence.
		if got, want := row.TTFTSent(), 11600*time.Microsecond; got != want {
			t.Errorf("request %d: first token after %v, want %v", i, got, want)
		}
		if d, _ := row.TPOT(); d != 8100*time.Microsecond {
			t.Errorf("request %d: %v a token, want 8.1 ms", i, d)
		}
	}
	if _, err := r.Serve([]trace.Request{{Prompt: 5000, Output: 1}}); err == nil || !strings.Contains(err.Error(), "4096") {
		t.Errorf("a request that is too long: %v", err)
	}
}

// Two requests at once queue before a front end that is busy with one, and a
// simulator's front end would not have them queue.
func TestFrontEndIsBusy(t *testing.T) {
	cfg := testConfig()
	cfg.FrontEndBusy, cfg.MaxNumSeqs = 20*time.Millisecond, 1
	r, err := NewReplay(cfg)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := r.Serve([]trace.Request{{Prompt: 1, Output: 1}, {Prompt: 1, Output: 1}})
	if err != nil {
		t.Fatal(err)
	}
	if d := rows[1].First - rows[0].First; d != 20*time.Millisecond {
		t.Errorf("the second first token came %v after the first, want the 20 ms of the front end", d)
	}
}
