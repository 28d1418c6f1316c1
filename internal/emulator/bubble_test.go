package emulator

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"calrun/internal/profile"
)

// testConfig is an engine whose times are easy to add up.
func testConfig() Config {
	return Config{
		Model: "tiny", FrontEnd: 2 * time.Millisecond, Vocab: 8192, MaxModelLen: 4096,
		Step: profile.StepTime{Base: 0.008, PerPrefillToken: 15e-6, PerSequence: 1e-4},
	}
}

// bubble is an engine behind in-memory connections, to be used inside a
// synctest bubble: time is the bubble's, bytes are net/http's own.
type bubble struct {
	t      *testing.T
	engine *Engine
	client *http.Client
	server *http.Server
}

func newBubble(t *testing.T, cfg Config) *bubble {
	t.Helper()
	e, err := newEngine(cfg, plainClock{time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	pipes := &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
	b := &bubble{t: t, engine: e, server: &http.Server{Handler: e.Handler()}}
	b.client = &http.Client{Transport: &http.Transport{DialContext: pipes.dial}}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = b.server.Serve(pipes)
	}()
	t.Cleanup(func() {
		b.client.CloseIdleConnections()
		_ = b.server.Close()
		<-served
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

// pipes is a listener without a network.
type pipes struct {
	conns  chan net.Conn
	once   sync.Once
	closed chan struct{}
}

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	here, there := net.Pipe()
	select {
	case p.conns <- there:
		return here, nil
	case <-p.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }

// post sends a body and returns the response, or what went wrong.
func (b *bubble) post(ctx context.Context, path, body string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://emulator"+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	return b.client.Do(req)
}

// ask sends a body and returns status and answer.
func (b *bubble) ask(path, body string) (int, string) {
	b.t.Helper()
	res, err := b.post(b.t.Context(), path, body)
	if err != nil {
		b.t.Fatal(err)
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return res.StatusCode, string(data)
}

// get fetches a page.
func (b *bubble) get(path string) string {
	b.t.Helper()
	res, err := b.client.Get("http://emulator" + path)
	if err != nil {
		b.t.Fatal(err)
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return string(data)
}

// event is what the tests read of an SSE event.
type event struct {
	Choices []struct {
		Text         string
		Delta        struct{ Content string }
		FinishReason string `json:"finish_reason"`
		TokenIDs     []int  `json:"token_ids"`
	}
	Usage *struct {
		Prompt     int `json:"prompt_tokens"`
		Total      int `json:"total_tokens"`
		Completion int `json:"completion_tokens"`
	}
	at  time.Duration // since the start of the engine
	raw string
}

// stream reads a whole stream; done says that it ended with [DONE].
func (b *bubble) stream(ctx context.Context, path, body string) (events []event, done bool, err error) {
	res, err := b.post(ctx, path, body)
	if err != nil {
		return nil, false, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		data, _ := io.ReadAll(res.Body)
		return nil, false, fmt.Errorf("%d: %s", res.StatusCode, data)
	}
	lines := bufio.NewScanner(res.Body)
	for lines.Scan() {
		line := bytes.TrimPrefix(lines.Bytes(), []byte("data: "))
		switch {
		case len(line) == 0:
			continue
		case string(line) == "[DONE]":
			done = true
			continue
		}
		e := event{at: b.engine.clock.Now(), raw: string(line)}
		if err := json.Unmarshal(line, &e); err != nil {
			return events, done, fmt.Errorf("%w in %s", err, line)
		}
		events = append(events, e)
	}
	return events, done, lines.Err()
}

// prompt is a list of token ids as JSON.
func prompt(n int) string {
	return "[" + strings.TrimSuffix(strings.Repeat("7,", n), ",") + "]"
}
