package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"

	"calrun/internal/openai"
)

// Engine is a running engine behind a base URL.
type Engine struct {
	URL  string // without a trailing slash
	Key  string // bearer token, may be empty
	HTTP *http.Client
}

// New is the engine behind a base URL such as "http://127.0.0.1:8000".
// Nothing is sent yet.
func New(base string) (*Engine, error) {
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return nil, fmt.Errorf("%q is not the base URL of an engine, as http://127.0.0.1:8000", base)
	}
	base = strings.TrimRight(base, "/")
	if root, is := strings.CutSuffix(base, "/v1"); is { // what clients of the API call a base URL
		return nil, fmt.Errorf("%q is the base URL of an engine's API; calrun asks beside it too (/metrics, /version), so leave /v1 out: %s", base, root)
	}
	return &Engine{URL: base, HTTP: &http.Client{Timeout: 20 * time.Second}}, nil
}

// Address is where a base URL leads, as host:port, however it is written: this
// machine is localhost, and a port that is left out is the scheme's own. It is
// empty for what is no URL.
func Address(base string) string {
	u, err := url.Parse(base)
	if err != nil || u.Hostname() == "" {
		return ""
	}
	host, port := strings.TrimSuffix(strings.ToLower(u.Hostname()), "."), u.Port()
	if here(host) {
		host = "localhost"
	}
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return net.JoinHostPort(host, port)
}

// refusal is an answer other than 200.
type refusal struct {
	path    string
	status  int
	message string
}

func (r *refusal) Error() string {
	return fmt.Sprintf("%s answered HTTP %d: %s", r.path, r.status, r.message)
}

// absent says that the engine has no such path, or keeps it to itself.
func absent(err error) bool {
	var r *refusal
	return errors.As(err, &r)
}

// get reads a path, at most 16 MiB of it.
func (e *Engine) get(ctx context.Context, path string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, e.URL+path, nil)
	if err != nil {
		return nil, err
	}
	return e.do(req, path)
}

func (e *Engine) do(req *http.Request, path string) ([]byte, error) {
	if e.Key != "" {
		req.Header.Set("Authorization", "Bearer "+e.Key)
	}
	resp, err := e.HTTP.Do(req)
	if err != nil {
		return nil, unreachable(e.URL, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 16<<20))
	if err != nil {
		return nil, fmt.Errorf("read %s%s: %w", e.URL, path, err)
	}
	body = openai.Hide(body, e.Key)
	if resp.StatusCode != http.StatusOK {
		return nil, &refusal{path, resp.StatusCode, openai.ErrorMessage(body)}
	}
	return body, nil
}

// unreachable says what was seen instead of an engine, and what to do.
func unreachable(base string, err error) error {
	var dns *net.DNSError
	var uerr *url.Error
	if errors.As(err, &uerr) {
		err = uerr.Err
	}
	todo := "start the engine, or correct the URL"
	switch {
	case errors.As(err, &dns):
		todo = "correct the host in the URL"
	case strings.Contains(err.Error(), "connection refused"):
		todo = "nothing listens there: start the engine, or correct the port"
	case errors.Is(err, context.DeadlineExceeded):
		todo = "something listens there but does not answer: is it an engine, and is it stuck?"
	}
	return fmt.Errorf("no engine at %s: %w; %s", base, err, todo)
}

// Taken says whether anything at all accepts connections at the URL: before
// an engine is started there nothing should.
func (e *Engine) Taken(ctx context.Context) bool {
	u, err := url.Parse(e.URL)
	if err != nil {
		return false
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", net.JoinHostPort(u.Hostname(), port))
	if err != nil {
		return false
	}
	_ = conn.Close() // nothing was said on it
	return true
}

// Ready waits until /health answers 200, for at most the given time; an
// engine without /health is ready when it answers anything. died, which may
// be nil, ends the wait at once: the process behind the URL is gone.
func (e *Engine) Ready(ctx context.Context, limit time.Duration, died <-chan struct{}) error {
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	var last error
	for {
		once, end := context.WithTimeout(ctx, 5*time.Second)
		_, err := e.get(once, "/health")
		end()
		if last == nil || ctx.Err() == nil {
			last = err // what the end of the wait cuts short says nothing of the engine
		}
		var r *refusal
		if err == nil || errors.As(err, &r) && (r.status == http.StatusNotFound || r.status == http.StatusMethodNotAllowed) {
			return nil
		}
		select {
		case <-died:
			return errors.New("the engine ended before it was ready")
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return fmt.Errorf("the engine at %s was not ready after %v; last seen: %w", e.URL, min(limit, time.Since(began).Round(time.Millisecond)), last)
			}
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
}

// Alive says whether the engine still answers; the error says what was seen.
// One that is slow is waited for, a port that nobody holds is not.
func (e *Engine) Alive(ctx context.Context) error {
	const patience = 5 * time.Second
	once, end := context.WithTimeout(ctx, patience)
	defer end()
	if _, err := e.get(once, "/health"); errors.Is(err, syscall.ECONNREFUSED) {
		return err
	}
	return e.Ready(ctx, patience, nil)
}

func decode(body []byte, path string, into any) error {
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("%s answered what is no JSON of an engine (%w): %s", path, err, openai.ErrorMessage(body))
	}
	return nil
}
