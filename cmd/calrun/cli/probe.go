package cli

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"time"

	"calrun/internal/engine"
	"calrun/internal/openai"

	"github.com/spf13/cobra"
)

// probed is what probe finds out about an engine.
type probed struct {
	URL         string              `json:"url"`
	Facts       engine.Facts        `json:"facts"`
	Fingerprint string              `json:"fingerprint"`
	Takes       engine.Capabilities `json:"takes"`
	RoundTrip   float64             `json:"round_trip_s"` // least of five requests for its health
	Host        engine.Host         `json:"host"`         // where calrun runs
}

// probeVerb says what an engine is and accepts, with one short request.
func (a *app) probeVerb() *cobra.Command {
	var ask question
	c := &cobra.Command{
		Use:   "probe URL",
		Short: "Say what an engine is and accepts; nothing is loaded",
		Long: `Ask the engine behind a base URL what it is, and send it one request of four
prompt and two output tokens. What it does not state is named: a plan's parity
check cannot compare it, and the simulator takes a default for it.`,
		Example: "  calrun probe http://127.0.0.1:8000",
		Args:    args(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, given []string) error {
			p, err := a.probe(c.Context(), given[0], ask)
			if err != nil {
				return err
			}
			if a.json {
				return a.print(struct {
					Calrun string `json:"calrun"`
					probed
				}{"v1", p})
			}
			return a.showProbed(p)
		},
	}
	ask.flags(c)
	return c
}

// question is how an engine is asked.
type question struct{ model, api, prompt, fields, keyEnv string }

func (q *question) flags(c *cobra.Command) {
	c.Flags().StringVar(&q.model, "model", "", "name of the served model, where the engine serves several or does not say")
	c.Flags().StringVar(&q.api, "api", "completions", "endpoint: completions or chat")
	c.Flags().StringVar(&q.prompt, "prompt", "tokens", "what prompts are made of: tokens or text")
	c.Flags().StringVar(&q.fields, "fields", "vllm", "fields of requests: vllm (output lengths can be forced) or openai")
	c.Flags().StringVar(&q.keyEnv, "key-env", "", "environment variable that holds the engine's API key")
}

// check holds the flags to what a plan's engine allows.
func (q *question) check() error {
	for _, f := range []struct{ flag, value, one, other string }{
		{"api", q.api, string(openai.Completions), string(openai.Chat)},
		{"prompt", q.prompt, "tokens", "text"},
		{"fields", q.fields, "vllm", "openai"},
	} {
		if f.value != f.one && f.value != f.other {
			return usageError{fmt.Errorf("--%s is %q; it may be %s or %s", f.flag, f.value, f.one, f.other)}
		}
	}
	return nil
}

func (a *app) probe(ctx context.Context, url string, q question) (probed, error) {
	if err := q.check(); err != nil {
		return probed{}, err
	}
	e, err := engine.New(url)
	if err != nil {
		return probed{}, usageError{err}
	}
	if q.keyEnv != "" {
		if e.Key = a.Getenv(q.keyEnv); e.Key == "" {
			return probed{}, usageError{fmt.Errorf("--key-env: the environment variable %s is empty", q.keyEnv)}
		}
	}
	if err := e.Alive(ctx); err != nil {
		return probed{}, err
	}
	p := probed{URL: e.URL, Host: engine.ThisHost(ctx)}
	if p.Facts, err = e.Ask(ctx, q.model); err != nil {
		return p, err
	}
	p.Fingerprint = p.Facts.Fingerprint()
	if p.Takes, err = e.Try(ctx, engine.First(openai.API(q.api), p.Facts.Model, q.prompt == "text", q.fields == "openai")); err != nil {
		return p, err
	}
	p.RoundTrip, err = roundTrip(ctx, e)
	return p, err
}

// roundTrip is the least time of five requests that cost the engine nothing,
// in seconds.
func roundTrip(ctx context.Context, e *engine.Engine) (float64, error) {
	best := time.Hour
	for range 5 {
		began := time.Now()
		if err := e.Alive(ctx); err != nil {
			return 0, err
		}
		best = min(best, time.Since(began))
	}
	return best.Seconds(), nil
}

func (a *app) showProbed(p probed) error {
	known, missing := factRows(p.Facts)
	fmt.Fprintf(a.Out, "%s answers in %.2g ms\n", p.URL, p.RoundTrip*1e3)
	if err := columns(a.Out, known); err != nil {
		return err
	}
	if len(missing) > 0 {
		fmt.Fprintf(a.Out, "not stated: %s\n", strings.Join(missing, ", "))
		if p.Facts.Name == engine.VLLM && p.Facts.MaxNumSeqs == nil {
			fmt.Fprintln(a.Out, "  vLLM states its scheduler's limits when it is started with VLLM_SERVER_DEV_MODE=1")
		}
	}
	say := func(yes bool, good, bad string) {
		if !yes {
			good = bad
		}
		fmt.Fprintln(a.Out, good)
	}
	say(p.Takes.Forced, "output lengths: forced", "output lengths: the engine's own; a simulator is given what came")
	say(p.Takes.Counted, "tokens: counted by the engine", "tokens: not counted by the engine; events are counted, and marked as estimated")
	return nil
}

// factRows are the facts that an engine states, and the names of the others.
func factRows(f engine.Facts) (known [][]string, missing []string) {
	v := reflect.ValueOf(f)
	for i := range v.NumField() {
		name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
		value := reflect.Indirect(v.Field(i))
		if !value.IsValid() || value.Kind() == reflect.String && value.Len() == 0 {
			missing = append(missing, name)
			continue
		}
		known = append(known, []string{"  " + name, fmt.Sprint(value.Interface())})
	}
	return known, missing
}
