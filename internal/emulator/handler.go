package emulator

import (
	"context"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"time"
)

// Handler serves the API: completions and chat, the model list, version,
// health, metrics and server_info.
func (e *Engine) Handler() http.Handler {
	mux := http.NewServeMux()
	get := func(path string, f http.HandlerFunc) {
		mux.HandleFunc(path, only(http.MethodGet, f))
	}
	mux.HandleFunc("/v1/completions", only(http.MethodPost, func(w http.ResponseWriter, r *http.Request) { e.complete(w, r, false) }))
	mux.HandleFunc("/v1/chat/completions", only(http.MethodPost, func(w http.ResponseWriter, r *http.Request) { e.complete(w, r, true) }))
	get("/v1/models", e.models)
	get("/version", e.version)
	get("/health", func(http.ResponseWriter, *http.Request) {})
	get("/ping", func(http.ResponseWriter, *http.Request) {})
	get("/load", e.load)
	get("/server_info", e.serverInfo)
	get("/metrics", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		_, _ = w.Write(e.metrics())
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { detail(w, http.StatusNotFound) })
	return mux
}

// only lets one method through, and answers others as vLLM's framework does.
func only(method string, f http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Method != method {
			detail(w, http.StatusMethodNotAllowed)
			return
		}
		f(w, r)
	}
}

func detail(w http.ResponseWriter, status int) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, `{"detail":%q}`, http.StatusText(status))
}

// complete answers a completion or a chat.
func (e *Engine) complete(w http.ResponseWriter, r *http.Request, chat bool) {
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != "application/json" {
		(&refusal{http.StatusBadRequest, "Bad Request", "1 validation error:\n  Unsupported Media Type: Only 'application/json' is allowed", ""}).write(w)
		return
	}
	data, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client has gone
	}
	recv := e.clock.Now()
	b, refused := decodeBody(data)
	if refused != nil {
		refused.write(w)
		return
	}
	prompt, output, refused := e.cfg.lengths(b, chat)
	if refused != nil {
		refused.write(w)
		return
	}
	nth := e.receive()
	if f := e.cfg.Faults; f.Every > 0 && nth%f.Every == 0 {
		(&refusal{f.Status, http.StatusText(f.Status), fmt.Sprintf("request %d fails on purpose: faults.every is %d", nth, f.Every), ""}).write(w)
		return
	}
	name := r.Header.Get("X-Request-Id")
	if name == "" {
		name = strconv.FormatUint(uint64(e.cfg.Seed)<<32+uint64(nth), 16)
	}
	q := &request{name: name, prompt: prompt, output: output, keys: e.cfg.keys(b, chat), recv: recv, more: make(chan struct{}, 1)}
	e.accept(q)
	prefix := "cmpl-"
	if chat {
		prefix = "chatcmpl-"
	}
	a := &answer{
		Engine: e, req: q, w: w, rc: http.NewResponseController(w),
		frame: newFrame(b, chat, prefix+name, e.cfg.Model, time.Now().Unix(), prompt, output),
		end:   output,
	}
	if t := e.cfg.Faults.Truncate; t > 0 && nth%t == 0 {
		a.end, a.cut = output/2, true
	}
	if b.Stream {
		a.stream(r.Context())
	} else {
		a.plain(r.Context())
	}
}

// receive counts a request and returns its number, from 1.
func (e *Engine) receive() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.received++
	return e.received
}

// answer is one response being written.
type answer struct {
	*Engine
	req   *request
	w     http.ResponseWriter
	rc    *http.ResponseController
	frame *frame
	end   int  // tokens to write
	cut   bool // end the connection after them
	out   outcome
}

// stream writes an event a token, each as soon as it is there.
func (a *answer) stream(ctx context.Context) {
	h := a.w.Header()
	h.Set("Content-Type", "text/event-stream; charset=utf-8")
	a.w.WriteHeader(http.StatusOK)
	a.out.status = http.StatusOK
	if a.rc.Flush() != nil {
		a.abandon("the client has gone")
		return
	}
	for a.out.written < a.end {
		ready, ok := a.wait(ctx)
		if !ok {
			a.abandon("the client has gone")
			return
		}
		a.frame.cached = a.req.cached
		for a.out.written < min(ready, a.end) {
			if !a.token(a.out.written + 1) {
				a.abandon("the client has gone")
				return
			}
		}
	}
	if a.cut {
		a.abandon("cut on purpose: faults.truncate_every")
		panic(http.ErrAbortHandler)
	}
	a.settle()
	_, _ = a.w.Write(a.frame.tail())
}

// token writes the event of token n and hands it to the kernel.
func (a *answer) token(n int) bool {
	if n == 1 && a.frame.chat {
		if _, err := a.w.Write(a.frame.role()); err != nil {
			return false
		}
	}
	if _, err := a.w.Write(a.frame.token(n)); err != nil {
		return false
	}
	if a.rc.Flush() != nil {
		return false
	}
	a.out.last = a.clock.Now()
	if n == 1 {
		a.out.first = a.out.last
	}
	a.out.written = n
	return true
}

// wait blocks until there are more tokens than were written.
func (a *answer) wait(ctx context.Context) (ready int, ok bool) {
	for {
		if ready = int(a.req.produced.Load()); ready > a.out.written {
			return ready, true
		}
		select {
		case <-a.req.more:
		case <-ctx.Done():
			return 0, false
		case <-a.done:
			return 0, false
		}
	}
}

// abandon ends a request before its last token.
func (a *answer) abandon(why string) {
	a.leave(a.req)
	a.out.failure = why
	a.settle()
}

// settle records how the request ended, under the lock that Truth reads with.
func (a *answer) settle() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.req.out = a.out
}

// plain waits for the whole answer and writes it at once.
func (a *answer) plain(ctx context.Context) {
	for ready := 0; ready < a.req.output; {
		select {
		case <-a.req.more:
			ready = int(a.req.produced.Load())
		case <-ctx.Done():
			a.abandon("the client has gone")
			return
		case <-a.done:
			a.abandon("the engine was closed")
			return
		}
	}
	a.out.status, a.out.written, a.frame.cached = http.StatusOK, a.req.output, a.req.cached
	a.out.first = a.clock.Now()
	a.out.last = a.out.first
	a.settle()
	a.w.Header().Set("Content-Type", "application/json")
	_, _ = a.w.Write(a.frame.whole())
}
