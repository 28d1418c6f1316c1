package steps

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"calrun/internal/emulator"
	"calrun/internal/engine"
	"calrun/internal/loadgen"
	"calrun/internal/openai"
	"calrun/internal/process"
	"calrun/pipeline"
)

// Engine says which engine is measured: one that runs behind a URL, one that
// calrun starts there, or an emulated one.
type Engine struct {
	URL      string           `yaml:"url" json:"url,omitempty" key:"-" doc:"base URL of the engine, as http://127.0.0.1:8000; while it is loaded no other step on this host loads it"`
	Start    *Start           `yaml:"start" json:"start,omitempty" doc:"start the engine behind url, and stop it afterwards"`
	Stop     []string         `yaml:"stop" json:"stop,omitempty" key:"-" doc:"command that stops the engine behind url, for a step that needs its cards; it is run again where it was stopped already"`
	Restart  []string         `yaml:"restart" json:"restart,omitempty" key:"-" doc:"command that starts it again; the engine must outlive it, as with systemctl start or docker start"`
	Emulator *emulator.Config `yaml:"emulator" json:"emulator,omitempty" doc:"emulate an engine instead"`
	Model    string           `yaml:"model" json:"model,omitempty" doc:"name of the served model, where the engine serves several or does not say"`
	API      string           `yaml:"api" json:"api,omitempty" enum:"completions,chat" default:"completions" doc:"which endpoint is measured"`
	Prompt   string           `yaml:"prompt" json:"prompt,omitempty" enum:"tokens,text" default:"tokens" doc:"what prompts are made of, for completions: token ids, exact in length, or text"`
	Fields   string           `yaml:"fields" json:"fields,omitempty" enum:"vllm,openai" default:"vllm" doc:"vllm: force output lengths (ignore_eos, min_tokens), count on every event, salt the prefix cache; openai: none of these"`
	Vocab    int              `yaml:"vocab" json:"vocab,omitempty" min:"2" default:"4000" doc:"token ids of prompts are drawn below it"`
	Key      pipeline.Secret  `yaml:"key" json:"key,omitzero" key:"-" doc:"the engine's API key, sent as a bearer token"`
	KeyEnv   pipeline.Secret  `yaml:"key_env" json:"key_env,omitzero" key:"-" secret:"env" doc:"environment variable that holds the engine's API key: short for key: {env: NAME}"`
}

// Start is how an engine is started.
type Start struct {
	Command   []string                   `yaml:"command" json:"command" required:"true" doc:"the command and its arguments"`
	Env       map[string]string          `yaml:"env" json:"env,omitempty" doc:"added to calrun's own environment"`
	SecretEnv map[string]pipeline.Secret `yaml:"secret_env" json:"secret_env,omitempty" doc:"secrets added to it, as VLLM_API_KEY"`
	Ready     time.Duration              `yaml:"ready" json:"ready,omitempty" default:"10m" doc:"how long it may take until it is ready"`
	Grace     time.Duration              `yaml:"grace" json:"grace,omitempty" default:"20s" doc:"between asking it to stop and killing it"`
}

// problem is what is wrong with the choice of engine in the field `engine` of a
// step, or nil.
func (e *Engine) problem() *pipeline.FieldProblem {
	wrong := func(field, message, suggest string) *pipeline.FieldProblem {
		return &pipeline.FieldProblem{Field: field, Message: message, Suggest: suggest}
	}
	switch {
	case e.Emulator != nil && (e.URL != "" || e.Start != nil):
		return wrong("engine.emulator", "an emulated engine beside a url or a start: which one is meant?", "keep one of them")
	case (len(e.Stop) > 0) != (len(e.Restart) > 0):
		return wrong("engine.stop", "stop and restart belong together: who stops an engine must start it again", "give both commands, or neither")
	case len(e.Stop) > 0 && (e.Emulator != nil || e.Start != nil):
		return wrong("engine.stop", "calrun starts and stops this engine itself", "leave stop and restart out")
	case e.Emulator != nil:
		if err := e.Emulator.Check(); err != nil {
			return wrong("engine.emulator", err.Error(), "")
		}
	case e.URL == "":
		return wrong("engine", "no engine is named", "give its url, or emulator: {…}")
	case !e.Key.IsZero() && !e.KeyEnv.IsZero():
		return wrong("engine.key_env", "key is given too", "keep one of them")
	case e.Start != nil && len(e.Start.Command) == 0:
		return wrong("engine.start.command", "an empty command starts nothing", "")
	}
	return nil
}

// check is the problem as a plan's, unless only a run can tell.
func (e *Engine) check(in pipeline.Static) []pipeline.FieldProblem {
	p := e.problem()
	if p == nil || in.Dynamic("engine.url") || in.Dynamic(p.Field) {
		return nil
	}
	return []pipeline.FieldProblem{*p}
}

// Identity names what decides an engine's behaviour without starting it: the
// emulator's configuration, the start command, or the fingerprint of what
// runs behind the URL.
func (e *Engine) Identity(ctx context.Context) (map[string]string, error) {
	if p := e.problem(); p != nil {
		return nil, p
	}
	switch {
	case e.Emulator != nil:
		return map[string]string{"engine": emulator.Version + " " + digestOf(e.Emulator.Filled())}, nil
	case e.Start != nil:
		return map[string]string{"engine": "started by " + digestOf(e.Start)}, nil
	}
	eng, err := e.client(e.URL)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	f, err := eng.Ask(ctx, e.Model)
	if err != nil {
		return nil, err
	}
	return map[string]string{"engine": fmt.Sprintf("%s %s %s %s", f.Name, f.Version, f.Model, f.Fingerprint())}, nil
}

// locks names the engine as what one step at a time may load: two of them
// would measure each other.
func (e *Engine) locks() []string {
	if at := engine.Address(e.URL); at != "" {
		return []string{"engine " + at}
	}
	return nil // emulated, a new one for each step, or none
}

// asked is how the engine is asked: what decides the cost of a request beside
// the engine itself.
func (e *Engine) asked() string {
	return fmt.Sprintf("model %q, %s %s %s, vocab %d", e.Model, e.API, e.Prompt, e.Fields, e.Vocab)
}

func digestOf(v any) string {
	data, err := json.Marshal(v) // maps are sorted by key
	if err != nil {
		panic("steps: plain data: " + err.Error())
	}
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}

func (e *Engine) client(url string) (*engine.Engine, error) {
	eng, err := engine.New(url)
	if err != nil {
		return nil, err
	}
	eng.Key = cmp.Or(e.Key.Reveal(), e.KeyEnv.Reveal())
	return eng, nil
}

// Session is an engine that answers, for as long as it is held.
type Session struct {
	*engine.Engine
	Facts    engine.Facts
	Can      engine.Capabilities
	Target   loadgen.Target
	Identity string // everything that decides how the engine behaves

	emulated *emulator.Engine
	started  *process.Process
	log      *os.File
}

// Open starts the engine if it is to be started, waits until it is ready,
// asks what it is and tries it with one short request. The log of a started
// engine is engine.log in dir.
func (e *Engine) Open(ctx context.Context, rt *pipeline.Runtime, dir string) (*Session, error) {
	if p := e.problem(); p != nil {
		return nil, p
	}
	s := &Session{}
	if err := s.open(ctx, e, rt, dir); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Session) open(ctx context.Context, e *Engine, rt *pipeline.Runtime, dir string) (err error) {
	url := e.URL
	if e.Emulator != nil {
		if s.emulated, err = emulator.New(*e.Emulator); err != nil {
			return err
		}
		if url, err = s.emulated.Start(ctx, "127.0.0.1:0"); err != nil {
			return err
		}
	}
	if s.Engine, err = e.client(url); err != nil {
		return err
	}
	if e.Start != nil {
		err = s.start(ctx, e.Start, rt, dir)
	} else {
		err = s.Ready(ctx, 10*time.Second, nil)
	}
	if err != nil {
		return err
	}
	if s.Facts, err = s.Ask(ctx, e.Model); err != nil {
		return err
	}
	s.Target = loadgen.Target{
		URL: s.URL, Model: s.Facts.Model, API: openai.API(e.API), Text: e.Prompt == "text",
		Plain: e.Fields == "openai", Salt: true, Key: s.Key, Vocab: e.Vocab,
	}
	first := engine.First(s.Target.API, s.Facts.Model, s.Target.Text, s.Target.Plain)
	if s.Can, err = s.Try(ctx, first); err != nil {
		return err
	}
	s.doubt(rt)
	return s.identify(ctx, e)
}

// doubt says what the engine does not do.
func (s *Session) doubt(rt *pipeline.Runtime) {
	switch {
	case s.Target.Plain:
		rt.Log().Warn().Msg("output lengths are the engine's own: engine.fields is openai")
	case !s.Can.Forced:
		rt.Log().Warn().Msg("the engine did not produce the output length asked for: it does not know ignore_eos or min_tokens")
	}
	if !s.Can.Counted {
		rt.Log().Warn().Msg("the engine does not count tokens: events are counted instead, and marked as estimated")
	}
}

func (s *Session) identify(ctx context.Context, e *Engine) error {
	s.Identity = s.Facts.Fingerprint()
	if e.Emulator == nil && e.Start == nil {
		return nil
	}
	id, err := e.Identity(ctx)
	if err != nil {
		return err
	}
	s.Identity += " " + id["engine"]
	return nil
}

func (s *Session) start(ctx context.Context, c *Start, rt *pipeline.Runtime, dir string) error {
	err := s.vacant(ctx)
	if err != nil {
		return err
	}
	if s.log, err = os.Create(filepath.Join(dir, "engine.log")); err != nil {
		return fmt.Errorf("write the engine's log: %w", err)
	}
	env := os.Environ()
	for k, v := range c.Env {
		env = append(env, k+"="+v)
	}
	for k, v := range revealed(c.SecretEnv) {
		env = append(env, k+"="+v)
	}
	began := time.Now()
	ctx = process.WithLease(ctx, rt.Lease())
	if s.started, err = process.Start(ctx, process.Cmd{Args: c.Command, Env: env, Stdout: s.log, Stderr: s.log, Grace: c.Grace}); err != nil {
		return err
	}
	ready := c.Ready
	if ready <= 0 {
		ready = 10 * time.Minute
	}
	rt.Log().Info().Msgf("started %s, waiting for %s", filepath.Base(c.Command[0]), s.URL)
	if err := s.Ready(ctx, ready, s.started.Done()); err != nil {
		select {
		case <-s.started.Done():
			if end := s.started.Wait(); end != nil {
				err = fmt.Errorf("%w: %w", err, end)
			}
		default:
		}
		return fmt.Errorf("%w; its log is %s", err, s.log.Name())
	}
	rt.Log().Info().Msgf("ready after %v", time.Since(began).Round(100*time.Millisecond))
	return nil
}

// vacant is an error if something stands already where the engine is to be
// started: it, not the engine, would be waited for and measured.
func (s *Session) vacant(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if !s.Taken(ctx) {
		return nil
	}
	if _, err := s.Ask(ctx, ""); err != nil {
		return fmt.Errorf("something else listens at %s already (%w); stop it, or start the engine on another port", s.URL, err)
	}
	return fmt.Errorf("an engine answers at %s already; stop it, or leave start out to measure it", s.URL)
}

// Died is closed when the engine's process has ended; nil where calrun did
// not start one.
func (s *Session) Died() <-chan struct{} {
	if s.started == nil {
		return nil
	}
	return s.started.Done()
}

// Close stops what Open has started.
func (s *Session) Close() error {
	var errs []error
	if s.emulated != nil {
		errs = append(errs, s.emulated.Close())
	}
	if s.started != nil {
		s.started.Stop()
	}
	if s.log != nil {
		errs = append(errs, s.log.Close())
	}
	return errors.Join(errs...)
}
