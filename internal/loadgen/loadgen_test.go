package loadgen

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"calrun/internal/trace"
)

// fake is an engine that answers as its handler says and remembers what it
// was asked.
type fake struct {
	*httptest.Server
	mu      sync.Mutex
	prompts [][]int
	salts   []string
	conns   atomic.Int64
	now     atomic.Int64 // requests being answered
	most    atomic.Int64
}

type asked struct {
	Prompt []int  `json:"prompt"`
	Max    int    `json:"max_tokens"`
	Min    int    `json:"min_tokens"`
	Ignore bool   `json:"ignore_eos"`
	Salt   string `json:"cache_salt"`
}

func newFake(t testing.TB, answer func(w http.ResponseWriter, q asked)) *fake {
	t.Helper()
	f := &fake{}
	f.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		var q asked
		if err == nil {
			err = json.Unmarshal(body, &q)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		f.mu.Lock()
		f.prompts, f.salts = append(f.prompts, q.Prompt), append(f.salts, q.Salt)
		f.mu.Unlock()
		n := f.now.Add(1)
		for m := f.most.Load(); n > m && !f.most.CompareAndSwap(m, n); m = f.most.Load() {
		}
		defer f.now.Add(-1)
		answer(w, q)
	}))
	f.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			f.conns.Add(1)
		}
	}
	f.Start()
	t.Cleanup(f.Close)
	return f
}

func event(w http.ResponseWriter, tokens, prompt int, finish string) {
	fmt.Fprintf(w, `data: {"choices":[{"index":0,"text":"x","finish_reason":%s}],"usage":{"prompt_tokens":%d,"completion_tokens":%d}}`+"\n\n", finish, prompt, tokens)
	w.(http.Flusher).Flush()
}

// tokens answers with n tokens, one event each.
func tokens(w http.ResponseWriter, n, prompt int) {
	w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
	for i := 1; i <= n; i++ {
		finish := "null"
		if i == n {
			finish = `"length"`
		}
		event(w, i, prompt, finish)
	}
	fmt.Fprint(w, "data: [DONE]\n\n")
}

func good(w http.ResponseWriter, q asked) { tokens(w, q.Max, len(q.Prompt)) }

func requests(n int, gap time.Duration) []trace.Request {
	reqs := make([]trace.Request, n)
	for i := range reqs {
		reqs[i] = trace.Request{ID: i, Due: time.Duration(i) * gap, Prompt: 5 + i, Output: 1 + i%4}
	}
	return reqs
}

func TestLawsOfARun(t *testing.T) {
	f := newFake(t, good)
	reqs := requests(60, time.Millisecond)
	rows, rep, err := Run(context.Background(), Target{URL: f.URL, Model: "m", Salt: true}, reqs, Options{Name: "a"})
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range rows {
		if r.Request != reqs[i] || !r.OK() || r.Status != 200 {
			t.Fatalf("row %d: %+v", i, r)
		}
		if r.Due > r.Sent || r.Sent > r.First || r.First > r.Last || r.Last > rep.Window {
			t.Errorf("row %d: due %v ≤ sent %v ≤ first %v ≤ last %v ≤ end %v does not hold", i, r.Due, r.Sent, r.First, r.Last, rep.Window)
		}
		if r.Tokens != r.Output || r.Prompted != r.Prompt || r.FirstTokens != 1 || r.Estimated {
			t.Errorf("row %d: %+v: the counts are the server's", i, r)
		}
	}
	if rep.Completed != 60 || rep.Failed != 0 || rep.Mismatch != 0 {
		t.Errorf("%+v", rep)
	}
	if runtime.GOOS == "linux" && rep.Stamps != "kernel" {
		t.Errorf("stamps are %q on linux, want kernel", rep.Stamps)
	}
}

func TestPromptsShareNothing(t *testing.T) {
	f := newFake(t, good)
	for _, name := range []string{"a", "b"} {
		if _, _, err := Run(context.Background(), Target{URL: f.URL, Model: "m", Salt: true}, requests(8, 0), Options{Name: name}); err != nil {
			t.Fatal(err)
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	seen, salts := map[string]bool{}, map[string]bool{}
	for i, p := range f.prompts {
		seen[fmt.Sprint(p[:3])], salts[f.salts[i]] = true, true
		for _, id := range p {
			if id < firstID || id >= DefaultVocab {
				t.Fatalf("token id %d outside [%d, %d)", id, firstID, DefaultVocab)
			}
		}
	}
	if len(seen) != 16 || len(salts) != 16 {
		t.Errorf("16 prompts begin in %d ways, with %d salts", len(seen), len(salts))
	}
}

func TestAloneNeverOverlaps(t *testing.T) {
	f := newFake(t, good)
	rows, _, err := Run(context.Background(), Target{URL: f.URL, Model: "m"}, requests(30, 0), Options{Alone: true})
	if err != nil {
		t.Fatal(err)
	}
	if f.most.Load() != 1 {
		t.Errorf("%d requests at a time", f.most.Load())
	}
	if got := f.conns.Load(); got > 1+spareConnections+2 {
		t.Errorf("%d connections for 30 requests one after another: they are not used again", got)
	}
	for i, r := range rows {
		if !r.OK() || (i > 0 && r.Due < rows[i-1].Last) {
			t.Errorf("row %d: %+v", i, r)
		}
	}
}

// Every way a request can fail is a row with a sentence, and the others go on.
func TestFailuresAreRows(t *testing.T) {
	for _, c := range []struct {
		name   string
		answer func(w http.ResponseWriter, q asked)
		status int
		want   string
	}{
		{"refused", func(w http.ResponseWriter, _ asked) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusBadRequest)
			io.WriteString(w, `{"error":{"message":"Token id 99999 is out of vocabulary","code":400}}`)
		}, 400, "HTTP 400: Token id 99999 is out of vocabulary"},
		{"too many", func(w http.ResponseWriter, _ asked) { http.Error(w, "slow down", http.StatusTooManyRequests) }, 429, "HTTP 429: slow down"},
		{"unavailable", func(w http.ResponseWriter, _ asked) { w.WriteHeader(http.StatusServiceUnavailable) }, 503, "HTTP 503: (empty body)"},
		{"cut in the stream", func(w http.ResponseWriter, q asked) {
			w.Header().Set("Content-Type", "text/event-stream")
			event(w, 1, len(q.Prompt), "null")
			panic(http.ErrAbortHandler)
		}, 200, "cut after 1 tokens"},
		{"ended too early", func(w http.ResponseWriter, q asked) {
			w.Header().Set("Content-Type", "text/event-stream")
			event(w, 1, len(q.Prompt), "null")
		}, 200, "neither a finish_reason nor [DONE]"},
		{"no stream", func(w http.ResponseWriter, _ asked) {
			w.Header().Set("Content-Type", "application/json")
			io.WriteString(w, `{"choices":[{"text":"x"}]}`)
		}, 200, "not with an event stream"},
		{"gone without an answer", func(http.ResponseWriter, asked) { panic(http.ErrAbortHandler) }, 0, "closed the connection before it answered"},
		{"broken JSON", func(w http.ResponseWriter, _ asked) {
			w.Header().Set("Content-Type", "text/event-stream")
			io.WriteString(w, "data: {oops\n\n")
		}, 200, "not the JSON"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFake(t, func(w http.ResponseWriter, q asked) {
				if q.Max == 1 { // every fourth request
					c.answer(w, q)
					return
				}
				good(w, q)
			})
			f.Config.ErrorLog = nil
			rows, rep, err := Run(context.Background(), Target{URL: f.URL, Model: "m"}, requests(8, 0), Options{})
			if err != nil {
				t.Fatal(err)
			}
			if rep.Failed != 2 || rep.Completed != 6 {
				t.Errorf("%d failed, %d completed; want 2 and 6", rep.Failed, rep.Completed)
			}
			if r := rows[4]; r.Status != c.status || !strings.Contains(r.Error, c.want) {
				t.Errorf("status %d, error %q; want %d, %q", r.Status, r.Error, c.status, c.want)
			}
		})
	}
}

func TestFewerTokensThanAskedAreSeen(t *testing.T) {
	f := newFake(t, func(w http.ResponseWriter, q asked) { tokens(w, 1, len(q.Prompt)) })
	rows, rep, err := Run(context.Background(), Target{URL: f.URL, Model: "m"}, requests(4, 0), Options{})
	if err != nil || rep.Mismatch != 3 || rows[3].Tokens != 1 || !rows[3].OK() {
		t.Errorf("%+v %v: an engine that ignores ignore_eos must show", rep, err)
	}
}

func TestInFlightBound(t *testing.T) {
	release := make(chan struct{})
	f := newFake(t, func(w http.ResponseWriter, q asked) {
		<-release
		good(w, q)
	})
	var once sync.Once
	rows, rep, err := Run(context.Background(), Target{URL: f.URL, Model: "m"}, requests(6, 0), Options{
		InFlight: 2,
		Progress: func(done, _ int) {
			if done == 4 { // the four that were not sent are counted at once
				once.Do(func() { close(release) })
			}
		},
	})
	if err != nil || rep.Completed != 2 || rep.Failed != 4 || rep.Peak != 2 {
		t.Fatalf("%+v %v", rep, err)
	}
	if r := rows[5]; !strings.Contains(r.Error, "not sent: 2 requests were in flight, the bound is 2") || r.Sent != 0 {
		t.Errorf("%+v", r)
	}
}

func TestTimeoutOfOneRequest(t *testing.T) {
	stuck := make(chan struct{})
	f := newFake(t, func(w http.ResponseWriter, q asked) {
		if q.Max == 2 {
			<-stuck
		}
		good(w, q)
	})
	t.Cleanup(func() { close(stuck) })
	rows, _, err := Run(context.Background(), Target{URL: f.URL, Model: "m"}, requests(2, 0), Options{Timeout: 50 * time.Millisecond})
	if err != nil || !rows[0].OK() || !strings.Contains(rows[1].Error, "no end after 50ms") {
		t.Errorf("%v %+v", err, rows)
	}
}

func TestContextEndsARun(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	f := newFake(t, func(w http.ResponseWriter, q asked) {
		cancel()
		good(w, q)
	})
	_, _, err := Run(ctx, Target{URL: f.URL, Model: "m"}, []trace.Request{{Prompt: 4, Output: 2}, {ID: 1, Due: time.Hour, Prompt: 4, Output: 2}}, Options{})
	if err == nil {
		t.Error("an hour's wait went on after its context ended")
	}
}

func TestNothingListens(t *testing.T) {
	f := newFake(t, good)
	f.Close()
	_, _, err := Run(context.Background(), Target{URL: f.URL, Model: "m"}, requests(1, 0), Options{})
	if err == nil || !strings.Contains(err.Error(), "is the engine still running?") {
		t.Errorf("%v", err)
	}
	if _, _, err := Run(context.Background(), Target{URL: "localhost:8000"}, nil, Options{}); err == nil || !strings.Contains(err.Error(), "base URL") {
		t.Errorf("%v", err)
	}
}

func TestTrouble(t *testing.T) {
	for _, c := range []struct {
		name string
		rep  Report
		want string
	}{
		{"fine", Report{Late: Spread{P99: time.Millisecond}, Share: 0.5}, ""},
		{"late", Report{Late: Spread{P99: 30 * time.Millisecond}}, "sent − due is 30ms at P99, the limit is 20ms"},
		{"saturated", Report{Share: 0.99}, "saturated"},
		{"clock set", Report{Stamps: "kernel", ClockStep: time.Second}, "wall clock was set by 1s"},
		{"clock set, but it was not used", Report{Stamps: "read", ClockStep: time.Second}, ""},
	} {
		if got := c.rep.Trouble(20 * time.Millisecond); (c.want == "") != (got == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestReportComesBack(t *testing.T) {
	want := Report{"kernel", time.Second, Spread{1, 2, 3}, Spread{4, 5, 6}, 7, 0.5, -8, 9, 10, 11, 12}
	data, err := json.Marshal(want)
	var got Report
	if err == nil {
		err = json.Unmarshal(data, &got)
	}
	if err != nil || got != want {
		t.Errorf("%v\n%+v\n%+v\n%s", err, got, want, data)
	}
}
