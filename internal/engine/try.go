package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"calrun/internal/openai"
)

// Capabilities are what a first harmless request showed.
type Capabilities struct {
	Counted bool `json:"counted"` // a token count came: tokens need not be told from events
	Forced  bool `json:"forced"`  // the output length was the one asked for
}

// First is the request that an engine is tried with: four tokens of prompt,
// two of output.
func First(api openai.API, model string, text, plain bool) openai.Call {
	c := openai.Call{API: api, Model: model, Output: 2, Plain: plain}
	if text || api == openai.Chat {
		c.Text = "a b c d"
	} else {
		c.Tokens = []int{1, 1, 1, 1}
	}
	return c
}

// Try sends one short request and sees whether the engine takes it as calrun
// sends it, before anything is measured. The error says what was refused and
// what the plan can do about it.
func (e *Engine) Try(ctx context.Context, call openai.Call) (Capabilities, error) {
	var can Capabilities
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, e.URL+call.API.Path(), bytes.NewReader(call.Body()))
	if err != nil {
		return can, err
	}
	req.Header.Set("Content-Type", "application/json")
	body, err := e.do(req, call.API.Path())
	if err != nil {
		return can, refused(err, call)
	}
	var d openai.Decoder
	var r openai.Receipt
	take := func(ev *openai.Event) { r.Take(ev, time.Duration(1)) }
	if err := errors.Join(d.Feed(body, take), d.Close(take)); err != nil {
		return can, fmt.Errorf("try the engine at %s: %w", e.URL, err)
	}
	estimated, err := r.End(true)
	if err != nil && !bytes.Contains(body, []byte("data:")) {
		return can, fmt.Errorf("try the engine at %s: it answered no stream of events but %s; is it behind something that does not pass streams on?", e.URL, openai.ErrorMessage(body))
	}
	if err != nil {
		return can, fmt.Errorf("try the engine at %s: %w", e.URL, err)
	}
	return Capabilities{Counted: !estimated, Forced: !call.Plain && r.Tokens == call.Output}, nil
}

// refused adds to an engine's refusal what a plan can do about it.
func refused(err error, call openai.Call) error {
	var r *refusal
	if !errors.As(err, &r) {
		return err
	}
	switch {
	case r.status == http.StatusUnprocessableEntity || r.status == http.StatusBadRequest && !call.Plain && call.Tokens == nil:
		return fmt.Errorf("%w; if it refuses fields that are not OpenAI's (ignore_eos, min_tokens), set engine.fields: openai: output lengths cannot be forced then", err)
	case r.status == http.StatusBadRequest && call.Tokens != nil:
		return fmt.Errorf("%w; if it takes no token ids, set engine.prompt: text", err)
	case r.status == http.StatusNotFound:
		return fmt.Errorf("%w; is it served under another name (engine.model) or on another path (engine.api)?", err)
	}
	if todo := remedy(err, ""); todo != "" {
		return fmt.Errorf("%w; %s", err, todo)
	}
	return err
}

// remedy is what can be done about a refusal whatever was asked for, or else.
func remedy(err error, otherwise string) string {
	var r *refusal
	if !errors.As(err, &r) {
		return otherwise
	}
	switch {
	case r.status == http.StatusUnauthorized || r.status == http.StatusForbidden:
		return "give its key: engine.key, from an input of type secret, or engine.key_env, the environment variable that holds it"
	case r.status == http.StatusTooManyRequests:
		return "it limits what it takes: lift the limit, or wait until nobody else uses it"
	case r.status >= http.StatusInternalServerError:
		return "it is not well, or not ready yet: look into its log, and run or resume once it answers"
	}
	return otherwise
}
