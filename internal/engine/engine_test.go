package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"calrun/internal/openai"
	"calrun/internal/shared"
)

func capture(t testing.TB, path string) string {
	t.Helper()
	data, err := os.ReadFile(shared.Path(t, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// serve answers GETs from a table; a path that is not in it is FastAPI's 404.
func serve(t testing.TB, pages map[string]string) *Engine {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		page, ok := pages[r.URL.Path]
		if !ok {
			w.WriteHeader(http.StatusNotFound)
			io.WriteString(w, `{"detail":"Not Found"}`)
			return
		}
		io.WriteString(w, page)
	}))
	t.Cleanup(srv.Close)
	e, err := New(srv.URL + "/")
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestFactsOfARealVLLM(t *testing.T) {
	pages := map[string]string{
		"/health": "", "/version": capture(t, "captures/vllm/json/version.json"), "/v1/models": capture(t, "captures/vllm/json/models.json"),
		"/metrics": capture(t, "captures/vllm/metrics_idle.txt"), "/server_info": capture(t, "captures/vllm/json/server_info_json.json"),
	}
	want := Facts{
		Name: VLLM, Version: "0.32.0", Model: "tiny", MaxModelLen: new(4096), BlockSize: new(128), KVBlocks: new(4096), MaxNumSeqs: new(128),
		MaxTokens: new(2048), Chunked: new(true), PrefixCache: new(true), Async: new(false), Policy: "fcfs", MemoryShare: new(0.92),
		Dtype: "bfloat16", TP: new(1), PP: new(1), GPU: "cpu", EnforceEager: new(false),
	}
	got, err := serve(t, pages).Ask(context.Background(), "")
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v\n got %+v\nwant %+v", err, got, want)
	}

	delete(pages, "/server_info") // without development mode
	got, err = serve(t, pages).Ask(context.Background(), "tiny")
	if err != nil || got.MaxNumSeqs != nil || *got.KVBlocks != 4096 || *got.BlockSize != 128 || !*got.PrefixCache {
		t.Errorf("without /server_info the blocks are still known and the limits are not: %v %+v", err, got)
	}
}

func TestFactsOfAPlainServer(t *testing.T) {
	e := serve(t, map[string]string{"/health": `{"status":"ok"}`}) // transformers serve, offline
	if _, err := e.Ask(context.Background(), ""); err == nil || !strings.Contains(err.Error(), "engine.model") {
		t.Errorf("%v", err)
	}
	got, err := e.Ask(context.Background(), "m")
	if err != nil || !reflect.DeepEqual(got, Facts{Name: OpenAI, Model: "m"}) {
		t.Errorf("%v %+v: what is not stated must stay unknown", err, got)
	}
	c, err := e.Counters(context.Background())
	if err != nil || c != (Counters{}) {
		t.Errorf("%v %+v", err, c)
	}
	if ok, err := e.Idle(context.Background(), time.Second); !ok || err != nil {
		t.Errorf("%v %v", ok, err)
	}
}

func TestWrongModel(t *testing.T) {
	e := serve(t, map[string]string{"/v1/models": `{"data":[{"id":"a"},{"id":"b"}]}`})
	for model, want := range map[string]string{"c": `does not serve "c"; it serves a, b`, "": "serves 2 models (a, b)"} {
		if _, err := e.Ask(context.Background(), model); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", model, err, want)
		}
	}
	if f, err := e.Ask(context.Background(), "b"); err != nil || f.Model != "b" {
		t.Errorf("%+v %v", f, err)
	}
}

// What is no engine, or none yet, is told from one that has to be configured.
func TestModelsThatAreNone(t *testing.T) {
	for _, c := range []struct {
		status     int
		page, want string
	}{
		{200, "<html>hello</html>", "/v1/models answered what is no JSON of an engine (invalid character '<' looking for beginning of value): <html>hello</html>; correct the URL"},
		{200, `{"data":[]}`, "serves no model; load one into it"},
		{404, "no", "HTTP 404: no); name one: engine.model"},
		{503, "loading", "HTTP 503: loading); it is not well, or not ready yet"},
		{401, "who?", "HTTP 401: who?); give its key: engine.key"},
	} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(c.status)
			io.WriteString(w, c.page)
		}))
		e, err := New(srv.URL)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := e.Ask(context.Background(), ""); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%d %s: %v, want %q", c.status, c.page, err, c.want)
		}
		srv.Close()
	}
}

// The end of a wait cuts the last look short. What was seen before it is what
// the user is told, not that.
func TestReadySaysWhatWasSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		refused := true
		e := &Engine{URL: "http://engine", HTTP: &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			if refused {
				refused = false
				return nil, errors.New("connection refused")
			}
			<-r.Context().Done()
			return nil, r.Context().Err()
		})}}
		err := e.Ready(context.Background(), 5*time.Second, nil)
		if err == nil || !strings.Contains(err.Error(), "nothing listens there") {
			t.Errorf("%v", err)
		}
	})
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestCountersOfARealVLLM(t *testing.T) {
	m, err := parseMetrics([]byte(capture(t, "captures/vllm/metrics_after_load.txt")))
	if err != nil {
		t.Fatal(err)
	}
	c := m.counters()
	if *c.Prompt != 324333 || *c.Generated != 55262 || *c.Hits != 0 || *c.Running != 0 || *c.Preemptions != 0 {
		t.Errorf("%+v", c)
	}
	// The engine's own law: what its steps carried is what went in and what came out.
	steps := m["vllm:iteration_tokens_total"].Metric[0].Histogram.GetSampleSum()
	if steps != *c.Prompt+*c.Generated {
		t.Errorf("iteration tokens %v, prompt + generated %v", steps, *c.Prompt+*c.Generated)
	}
	line := m.line(time.Unix(1, 5e8))
	var back map[string]float64
	if err := json.Unmarshal(line, &back); err != nil || back["t"] != 1.5 || back["vllm:prompt_tokens_total"] != 324333 {
		t.Errorf("%v: %s", err, line)
	}
}

func TestNothingThere(t *testing.T) {
	srv := httptest.NewServer(nil)
	srv.Close()
	e, err := New(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	_, err = e.Ask(context.Background(), "")
	if err == nil || !strings.Contains(err.Error(), "no engine at "+srv.URL) || !strings.Contains(err.Error(), "start the engine, or correct the port") {
		t.Errorf("%v", err)
	}
	died := make(chan struct{})
	close(died)
	if err := e.Ready(context.Background(), time.Minute, died); err == nil || !strings.Contains(err.Error(), "ended before it was ready") {
		t.Errorf("%v", err)
	}
	if err := e.Ready(context.Background(), time.Millisecond, nil); err == nil || !strings.Contains(err.Error(), "was not ready after 1ms") {
		t.Errorf("%v", err)
	}
	if _, err := New("127.0.0.1:8000"); err == nil {
		t.Error("a URL without a scheme was taken")
	}
	if _, err := New("http://engine:8000/v1/"); err == nil || !strings.Contains(err.Error(), "leave /v1 out: http://engine:8000") {
		t.Errorf("the base URL of an API was taken for that of an engine: %v", err)
	}
}

func TestTry(t *testing.T) {
	stream := capture(t, "captures/vllm/sse/completion_stream_full.sse")
	for _, c := range []struct {
		name   string
		status int
		body   string
		call   openai.Call
		can    Capabilities
		want   string
	}{
		{"vLLM", 200, stream, openai.Call{Tokens: []int{1}, Output: 6}, Capabilities{Counted: true, Forced: true}, ""},
		{"output length not obeyed", 200, stream, openai.Call{Tokens: []int{1}, Output: 9}, Capabilities{Counted: true}, ""},
		{"no token ids", 400, `{"detail":"prompt must be a string."}`, openai.Call{Tokens: []int{1}, Output: 6}, Capabilities{}, "prompt must be a string.; if it takes no token ids, set engine.prompt: text"},
		{"strict", 422, `{"detail":"Unexpected fields in the request: {'ignore_eos'}"}`, openai.Call{Text: "a", Output: 6}, Capabilities{}, "set engine.fields: openai"},
		{"key wanted", 401, `{"error":"no"}`, openai.Call{Text: "a", Output: 6}, Capabilities{}, "engine.key_env"},
		{"no stream", 200, `{"choices":[]}`, openai.Call{Text: "a", Output: 6}, Capabilities{}, `it answered no stream of events but {"choices":[]}`},
		{"stream cut", 200, "data: {\"choices\":[{\"text\":\"a\"}]}\n\n", openai.Call{Text: "a", Output: 6}, Capabilities{}, "neither a finish_reason nor [DONE]"},
		{"others use it", 429, `{"error":"slow down"}`, openai.Call{Text: "a", Output: 6}, Capabilities{}, "slow down; it limits what it takes"},
		{"not ready", 503, `{"error":"loading"}`, openai.Call{Text: "a", Output: 6}, Capabilities{}, "loading; it is not well, or not ready yet"},
	} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(c.status)
			io.WriteString(w, c.body)
		}))
		e, err := New(srv.URL)
		if err != nil {
			t.Fatal(err)
		}
		can, err := e.Try(context.Background(), c.call)
		if can != c.can || (c.want == "") != (err == nil) || (err != nil && !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %+v %v, want %+v %q", c.name, can, err, c.can, c.want)
		}
		srv.Close()
	}
}

func TestWatch(t *testing.T) {
	e := serve(t, map[string]string{"/metrics": "# TYPE vllm:x counter\nvllm:x 3\nother 4\n"})
	var b bytes.Buffer
	stop := e.Watch(context.Background(), &b, time.Millisecond)
	for range 100 {
		if _, err := e.scrape(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	if lines := strings.Count(b.String(), `"vllm:x":3`); lines == 0 || strings.Contains(b.String(), "other") {
		t.Errorf("%d lines: %s", lines, b.String())
	}
}

func TestFingerprintIsIdentity(t *testing.T) {
	a := Facts{Name: VLLM, Version: "1", KVBlocks: new(7)}
	b := Facts{Name: VLLM, Version: "1", KVBlocks: new(7)}
	if a.Fingerprint() != b.Fingerprint() {
		t.Error("equal facts, two fingerprints")
	}
	b.KVBlocks = new(8)
	if a.Fingerprint() == b.Fingerprint() {
		t.Error("other blocks, same fingerprint")
	}
	dir := t.TempDir()
	if err := WriteFacts(dir, a); err != nil {
		t.Fatal(err)
	}
	back, err := ReadFacts(dir)
	if err != nil || back.Fingerprint() != a.Fingerprint() {
		t.Errorf("%v %+v", err, back)
	}
}
