package steps

import (
	"context"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"calrun/internal/engine"
	"calrun/internal/shared"
	"calrun/pipeline"
)

// cards is an engine that holds them, and the profiler's stand-in beside it.
type cards struct {
	url           string
	stop, restart []string
	events        string
}

// newCards starts an engine that a command stops and another starts again,
// both through files, since a test has no service manager.
func newCards(t *testing.T) cards {
	t.Helper()
	dir := t.TempDir()
	c := cards{events: filepath.Join(dir, "events")}
	t.Setenv("EVENTS", c.events)
	t.Setenv("TABLES", shared.Path(t, "profiles/vidur/a800/meta-llama/Llama-2-7b-hf"))
	stopped := filepath.Join(dir, "stopped")
	say := func(text, then string) []string {
		return []string{"sh", "-c", "echo " + text + " >>" + c.events + "; " + then}
	}
	c.stop, c.restart = say("stop", "touch "+stopped), say("restart", "rm -f "+stopped)

	ctx, cancel := context.WithCancel(context.Background())
	var wait sync.WaitGroup
	t.Cleanup(func() { cancel(); wait.Wait() })
	up := make(chan string, 1)
	wait.Go(func() {
		addr := "127.0.0.1:0"
		for ctx.Err() == nil {
			l, err := net.Listen("tcp", addr)
			if err != nil {
				time.Sleep(10 * time.Millisecond)
				continue
			}
			srv := &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})}
			go srv.Serve(l)
			if addr == "127.0.0.1:0" {
				addr = l.Addr().String()
				up <- "http://" + addr
			}
			until(ctx, func() bool { return exists(stopped) })
			srv.Close()
			until(ctx, func() bool { return !exists(stopped) })
		}
	})
	c.url = <-up
	return c
}

func exists(path string) bool { _, err := os.Stat(path); return err == nil }

func until(ctx context.Context, ok func() bool) {
	for ctx.Err() == nil && !ok() {
		time.Sleep(5 * time.Millisecond)
	}
}

// happened are the first words of what happened, in order.
func (c cards) happened(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile(c.events)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	var words []string
	for line := range strings.SplitSeq(strings.TrimSpace(string(data)), "\n") {
		word, _, _ := strings.Cut(line, " ")
		words = append(words, word)
	}
	return strings.Join(words, " ")
}

func (c cards) reprofile(t *testing.T) *Reprofile {
	t.Helper()
	exe, err := filepath.Abs("../internal/vidur/testdata/profiler")
	if err != nil {
		t.Fatal(err)
	}
	return &Reprofile{
		Method: methodVidur, Python: exe, Engine: Engine{URL: c.url, Stop: c.stop, Restart: c.restart},
		Deployment: Deployment{Model: "meta-llama/Llama-2-7b-hf", GPU: "A800-80GB", GPUs: 1, TP: 1, BlockSize: 16, Attention: "flashinfer", Dtype: "float16"},
	}
}

func TestReprofileVidur(t *testing.T) {
	c := newCards(t)
	s := c.reprofile(t)
	out, err := s.Run(context.Background(), scratch(t))
	if err != nil {
		t.Fatal(err)
	}
	r := out.(*ReprofileResult)
	if got := c.happened(t); got != "stop mlp attention restart" {
		t.Errorf("it happened: %s", got)
	}
	if len(r.Doubts) != 1 || !strings.Contains(r.Doubts[0], "did not state all limits") || r.Format != "vidur" { // it answers, and says nothing
		t.Errorf("%+v", r)
	}
	prof, err := openProfile(r.Profiles.Path, s.Deployment)
	if err != nil {
		t.Fatal(err)
	}
	if age := time.Since(prof.Identity.MeasuredAt); age < 0 || age > time.Hour || prof.Dims.Layers != 32 {
		t.Errorf("the profile is %v old, of %d layers", age, prof.Dims.Layers)
	}
	if _, err := prof.Sheets(); err != nil {
		t.Errorf("Vidur cannot read it: %v", err)
	}

	// Attention alone; the rest is as it was, and as old.
	s.Operators, s.Profiles = []string{"attention"}, pipeline.Artefact{Path: shared.Path(t, "profiles/vidur")}
	out, err = s.Run(context.Background(), scratch(t))
	if err != nil {
		t.Fatal(err)
	}
	if r := out.(*ReprofileResult); len(r.Doubts) != 2 || !strings.Contains(r.Doubts[0], "mlp is as it was") {
		t.Errorf("doubts %q", r.Doubts)
	}
	if got := c.happened(t); got != "stop mlp attention restart stop attention restart" {
		t.Errorf("it happened: %s", got)
	}
}

// The engine comes back whatever happens.
func TestReprofileVidurFails(t *testing.T) {
	for _, c := range []struct {
		why      string
		change   func(*testing.T, *Reprofile, context.CancelFunc)
		says     string
		happened string
	}{
		{
			"the profiler fails", func(t *testing.T, _ *Reprofile, _ context.CancelFunc) { t.Setenv("FAIL", "attention") },
			"CUDA out of memory", "stop mlp attention restart",
		},
		{
			"it is called off", func(t *testing.T, s *Reprofile, cancel context.CancelFunc) {
				t.Setenv("HANG", "mlp")
				go func() {
					until(t.Context(), func() bool {
						data, _ := os.ReadFile(os.Getenv("EVENTS"))
						return strings.Contains(string(data), "mlp")
					})
					cancel()
				}()
			},
			"context canceled", "stop mlp mlp restart",
		},
		{
			"the words before it swallow standard input", func(_ *testing.T, s *Reprofile, _ context.CancelFunc) { s.Prefix = []string{"true"} },
			"must pass standard input on", "stop restart",
		},
		{
			"it cannot be stopped", func(_ *testing.T, s *Reprofile, _ context.CancelFunc) { s.Engine.Stop = []string{"false"} },
			"engine.stop", "restart",
		},
		{
			"nobody said how to stop it", func(_ *testing.T, s *Reprofile, _ context.CancelFunc) { s.Engine.Stop, s.Engine.Restart = nil, nil },
			"stop the engine, then `calrun resume`", "",
		},
		{
			"calrun would start it, and something is there", func(_ *testing.T, s *Reprofile, _ context.CancelFunc) {
				s.Engine.Stop, s.Engine.Restart, s.Engine.Start = nil, nil, &Start{Command: []string{"vllm"}}
			},
			"calrun did not start", "",
		},
		{
			"a table is left out and cannot be taken from anywhere", func(_ *testing.T, s *Reprofile, _ context.CancelFunc) { s.Operators = []string{"mlp"} },
			"give profiles", "stop mlp restart",
		},
		{
			"the tables are of another model", func(_ *testing.T, s *Reprofile, _ context.CancelFunc) {
				s.Deployment.Model = "meta-llama/Meta-Llama-3-8B"
			},
			"cannot be read", "stop mlp attention restart",
		},
	} {
		t.Run(c.why, func(t *testing.T) {
			cs := newCards(t)
			s := cs.reprofile(t)
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			c.change(t, s, cancel)
			_, err := s.Run(ctx, scratch(t))
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("error %v, want one that says %q", err, c.says)
			}
			if got := cs.happened(t); got != c.happened {
				t.Errorf("it happened: %q, want %q", got, c.happened)
			}
		})
	}
}

// An engine that does not come back is a doubt: the profile took hours.
func TestReprofileVidurWithoutItsEngine(t *testing.T) {
	c := newCards(t)
	s := c.reprofile(t)
	s.Engine.Restart = []string{"sh", "-c", "echo no such unit >&2; exit 5"}
	out, err := s.Run(context.Background(), scratch(t))
	if err != nil {
		t.Fatal(err)
	}
	if r := out.(*ReprofileResult); len(r.Doubts) != 2 || !strings.Contains(r.Doubts[1], "no such unit") || r.Profiles.Path == "" {
		t.Errorf("%+v", r)
	}

	// Stopped by hand, as the error without commands asks for.
	s.Engine.Stop, s.Engine.Restart = nil, nil
	s.Deployment.MaxNumSeqs = new(64)
	if out, err = s.Run(context.Background(), scratch(t)); err != nil {
		t.Fatalf("a free card: %v", err)
	}
	const limits = "block_size 16, max_num_seqs 64, max_num_batched_tokens 4096, max_model_len 4096"
	if r := out.(*ReprofileResult); len(r.Doubts) != 1 || !strings.HasSuffix(r.Doubts[0], limits) {
		t.Errorf("doubts %q, want the limits that nobody at the engine stated: %s", r.Doubts, limits)
	}
	stated := engine.Facts{BlockSize: new(16), MaxNumSeqs: new(256), MaxTokens: new(8192), MaxModelLen: new(4096)}
	if doubt := s.unstated(stated, s.profiling(stated)); doubt != "" {
		t.Errorf("the engine states all, and yet: %s", doubt)
	}
}

func TestReprofileVidurCheck(t *testing.T) {
	full := Deployment{Model: "meta-llama/Meta-Llama-3-70B", GPU: "A100-80GB", TP: 4}
	for _, c := range []struct {
		why     string
		step    Reprofile
		field   string
		warning bool
	}{
		{"a bare URL is warned of", Reprofile{Deployment: full, Engine: Engine{URL: "http://x"}}, "engine", true},
		{"stop and restart are enough", Reprofile{Deployment: full, Engine: Engine{URL: "http://x", Stop: []string{"a"}, Restart: []string{"b"}}}, "", false},
		{"so is a start", Reprofile{Deployment: full, Engine: Engine{URL: "http://x", Start: &Start{Command: []string{"vllm"}}}}, "", false},
		{"stop without restart", Reprofile{Deployment: full, Engine: Engine{URL: "http://x", Stop: []string{"a"}}}, "engine.stop", false},
		{"no model", Reprofile{}, "deployment.model", false},
		{"a model that the profiler does not know", Reprofile{Deployment: Deployment{Model: "gpt-2"}}, "deployment.model", false},
		{"no such operator", Reprofile{Deployment: full, Operators: []string{"mlp", "attention", "gemm"}}, "operators[2]", false},
		{"half a profile", Reprofile{Deployment: full, Operators: []string{"mlp"}}, "operators", false},
		{"half of an old one", Reprofile{Deployment: full, Operators: []string{"mlp"}, Profiles: pipeline.Artefact{Path: "p"}}, "", false},
	} {
		c.step.Method = methodVidur
		ps := c.step.Check(pipeline.Static{})
		switch {
		case c.field == "" && len(ps) > 0, c.field != "" && (len(ps) != 1 || ps[0].Field != c.field || ps[0].Warning != c.warning):
			t.Errorf("%s: %+v", c.why, ps)
		}
	}
	s := Reprofile{Deployment: full}
	if ops := operatorNames(s.operators()); strings.Join(ops, " ") != "mlp attention all_reduce" {
		t.Errorf("four cards are profiled for %v", ops)
	}
}
