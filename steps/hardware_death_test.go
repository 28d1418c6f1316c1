package steps

import (
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"calrun/internal/emulator"
	"calrun/internal/loadgen"
	"calrun/internal/openai"
	"calrun/internal/trace"
	"calrun/pipeline"
)

// mortal serves an emulated engine until it has seen so many completions;
// then it is gone, with all its connections. 0 lives on.
func mortal(t *testing.T, lives int64) (url string) {
	t.Helper()
	e, err := emulator.New(*fast())
	if err != nil {
		t.Fatal(err)
	}
	var seen atomic.Int64
	var srv *httptest.Server
	srv = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost && lives > 0 && seen.Add(1) >= lives {
			_ = srv.Listener.Close()
			srv.CloseClientConnections()
			return
		}
		e.Handler().ServeHTTP(w, r)
	}))
	t.Cleanup(func() {
		srv.Close()
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return srv.URL
}

// An engine that dies costs the run that it died in and none before it, and
// an engine with the same fingerprint on another port goes on.
func TestEngineDiesInTheMiddle(t *testing.T) {
	rt := pipeline.NewScratch(t.TempDir(), zerolog.Nop())
	w := small()
	w.Probes, w.Sweep.Seeds = nil, 1
	// One request to try the engine, one to warm up before each of the two
	// rates of 40: the 60th falls into the second rate.
	_, err := hardware(Engine{URL: mortal(t, 60)}, w).Run(t.Context(), rt)
	if err == nil || !strings.Contains(err.Error(), "rps-400 seed 1") || !strings.Contains(err.Error(), "the engine was gone") || !strings.Contains(err.Error(), "1 of 2 runs are done and kept") {
		t.Fatalf("%v", err)
	}
	began := time.Now().UTC().Format(time.RFC3339Nano)
	got, err := hardware(Engine{URL: mortal(t, 0)}, w).Run(t.Context(), rt)
	if err != nil {
		t.Fatal(err)
	}
	res := got.(*MeasuredResult)
	if res.Completed != 80 || res.Failed != 0 || res.Ended < began {
		t.Errorf("%+v", res)
	}
	points, err := trace.ReadPoints(res.Measurement.Path)
	if err != nil || len(points) != 2 {
		t.Fatalf("%v, %d points", err, len(points))
	}
	again, err := hardware(Engine{URL: mortal(t, 0)}, w).Run(t.Context(), rt)
	if err != nil {
		t.Fatal(err)
	}
	if same := again.(*MeasuredResult); same.Ended != res.Ended || !reflect.DeepEqual(same.Points, res.Points) {
		t.Errorf("finished parts were measured again: %+v", same)
	}
}

// No token is seen before it exists, whatever the machine does meanwhile.
func TestNoTokenBeforeItsTime(t *testing.T) {
	e, err := emulator.New(*fast())
	if err != nil {
		t.Fatal(err)
	}
	url, err := e.Start(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	reqs := make([]trace.Request, 60)
	for i := range reqs {
		reqs[i] = trace.Request{ID: i, Due: time.Duration(i) * 3 * time.Millisecond, Prompt: 16 + i, Output: 1 + i%8} // told apart by their prompts
	}
	rows, _, err := loadgen.Run(t.Context(), loadgen.Target{URL: url, Model: "emulated", API: openai.Completions}, reqs, loadgen.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	truth := map[int]trace.Row{}
	for _, r := range e.Truth() {
		truth[r.Prompt] = r
	}
	early := 0
	for _, r := range rows {
		real, ok := truth[r.Prompt]
		if !ok || real.Tokens != r.Tokens {
			t.Fatalf("%+v, in truth %+v", r, real)
		}
		// The engine starts its clock at the handler, a moment after sent.
		if r.First-r.Sent < real.First-real.Sent-time.Millisecond {
			early++
		}
	}
	if early > len(rows)/20 {
		t.Errorf("%d of %d first tokens were seen before they existed", early, len(rows))
	}
}
