package steps

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"calrun/internal/emulator"
	"calrun/internal/workload"
	"calrun/pipeline"
)

// TestServeForOthers is no test: it is the engine that the others start, this
// very binary run again. It serves until its standard input ends, which is
// never while its parent holds it, or until it is told to die.
func TestServeForOthers(t *testing.T) {
	addr := os.Getenv("CALRUN_TEST_SERVE")
	if addr == "" {
		t.Skip("started by other tests only")
	}
	e, err := emulator.New(*fast())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Start(context.Background(), addr); err != nil {
		t.Fatal(err)
	}
	if file := os.Getenv("CALRUN_TEST_DIE"); file != "" {
		for {
			if _, err := os.Stat(file); err == nil {
				_, _ = io.WriteString(os.Stderr, "CUDA error: out of memory\n")
				os.Exit(7)
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
	select {}
}

// Whoever is given an engine has it for itself, however its URL is written.
func TestTheEngineIsLocked(t *testing.T) {
	for _, s := range []pipeline.Locker{
		&HardwareRun{Engine: Engine{URL: "http://127.0.0.1:8000"}},
		&Reprofile{Method: methodProbe, Engine: Engine{URL: "http://localhost:8000/"}},
		&Reprofile{Method: methodVidur, Engine: Engine{URL: "http://[::1]:8000", Start: &Start{Command: []string{"vllm"}}}},
	} {
		if got := s.Locks(); !slices.Equal(got, []string{"engine localhost:8000"}) {
			t.Errorf("%T: %q", s, got)
		}
	}
	if got := (&HardwareRun{Engine: Engine{Emulator: fast()}}).Locks(); got != nil {
		t.Errorf("an emulated engine is nobody else's: %q", got)
	}
}

// started is this test binary as an engine on a free port.
func started(t *testing.T, env map[string]string) Engine {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	all := map[string]string{"CALRUN_TEST_SERVE": addr}
	maps.Copy(all, env)
	return Engine{URL: "http://" + addr, Start: &Start{
		Command: []string{os.Args[0], "-test.run=^TestServeForOthers$"}, Env: all, Ready: 30 * time.Second, Grace: time.Second,
	}}
}

func TestStartedEngine(t *testing.T) {
	dir := t.TempDir()
	e := started(t, nil)
	rt := pipeline.NewScratch(dir, zerolog.Nop())
	w := small()
	w.Sweep, w.Probes.Requests = nil, 2
	got, err := hardware(e, w).Run(t.Context(), rt)
	if err != nil {
		t.Fatal(err)
	}
	if res := got.(*MeasuredResult); res.Completed != 4 {
		t.Errorf("%+v", res)
	}
	if _, err := os.Stat(filepath.Join(dir, "measurement", "engine.log")); err != nil {
		t.Error(err)
	}
	if conn, err := net.Dial("tcp", strings.TrimPrefix(e.URL, "http://")); err == nil {
		_ = conn.Close()
		t.Error("the engine that was started was not stopped")
	}
}

func TestPortIsTaken(t *testing.T) {
	e := started(t, nil)
	page := httptest.NewServer(http.NotFoundHandler()) // to one who only asks for /health, an engine
	defer page.Close()
	for url, want := range map[string]string{
		mortal(t, 0): "an engine answers at %s already",
		page.URL:     "something else listens at %s already (",
	} {
		e.URL = url
		_, err := hardware(e, small()).Run(t.Context(), pipeline.NewScratch(t.TempDir(), zerolog.Nop()))
		if err == nil || !strings.Contains(err.Error(), fmt.Sprintf(want, url)) {
			t.Errorf("%v", err)
		}
	}
}

func TestStartedEngineDies(t *testing.T) {
	dir := t.TempDir()
	die := filepath.Join(dir, "die")
	e := started(t, map[string]string{"CALRUN_TEST_DIE": die})
	w := Workload{Seed: 1, Sweep: &Sweep{
		Arrivals: "constant", RPS: []float64{5}, Requests: 300, Seeds: 1, // a minute, if nothing happened
		Distribution: &workload.Distribution{Prompt: workload.Range{Min: 1, Max: 9}, Output: workload.Range{Min: 1, Max: 2}},
	}}
	began := time.Now()
	h := hardware(e, w)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { // as soon as it has been asked anything at all
		for ctx.Err() == nil {
			if parts, _ := filepath.Glob(filepath.Join(dir, "run", ".parts", "*")); len(parts) > 0 {
				_ = os.WriteFile(die, nil, 0o644)
				return
			}
			time.Sleep(5 * time.Millisecond)
		}
	}()
	_, err := h.Run(ctx, pipeline.NewScratch(filepath.Join(dir, "run"), zerolog.Nop()))
	if err == nil || !strings.Contains(err.Error(), "rps-5 seed 1") {
		t.Errorf("%v", err)
	}
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("noticed after %v", took)
	}
}
