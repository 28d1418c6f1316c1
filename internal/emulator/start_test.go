package emulator

import (
	"context"
	"net/http"
	"strings"
	"testing"
)

// On a real port, without looking at the clock: one request, a port that is
// taken, and all orders of closing.
func TestStart(t *testing.T) {
	cfg := testConfig()
	cfg.FrontEnd, cfg.Step.Base, cfg.Step.PerSequence = 0, 1e-4, 0
	e, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	url, err := e.Start(ctx, "")
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.Post(url+"/v1/completions", "application/json", strings.NewReader(`{"prompt":[1],"max_tokens":3}`))
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%v, %v", res, err)
	}
	res.Body.Close()
	if rows := e.Truth(); len(rows) != 1 || !rows[0].OK() || rows[0].Tokens != 3 || rows[0].First > rows[0].Last {
		t.Errorf("the truth is %+v", rows)
	}

	if _, err := e.Start(ctx, ""); err == nil {
		t.Error("it was started twice")
	}
	other, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Start(ctx, strings.TrimPrefix(url, "http://")); err == nil || !strings.Contains(err.Error(), "port 0") {
		t.Errorf("a port that is taken: %v", err)
	}
	for range 2 {
		if err := other.Close(); err != nil {
			t.Error(err)
		}
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	}
	cancel() // after Close: nothing is left to end
	if _, err := http.Get(url + "/health"); err == nil {
		t.Error("it answers after it was closed")
	}
}
