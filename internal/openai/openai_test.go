package openai

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"calrun/internal/shared"
)

// follow feeds a stream in pieces of the given size and stamps every event
// with its number, from 1.
func follow(t testing.TB, stream []byte, piece int, clean bool) (*Receipt, bool, error) {
	t.Helper()
	var d Decoder
	var r Receipt
	n := 0
	emit := func(ev *Event) { n++; r.Take(ev, time.Duration(n)) }
	for len(stream) > 0 {
		k := min(piece, len(stream))
		if err := d.Feed(stream[:k], emit); err != nil {
			return &r, false, err
		}
		stream = stream[k:]
	}
	if err := d.Close(emit); err != nil {
		return &r, false, err
	}
	estimated, err := r.End(clean)
	return &r, estimated, err
}

func TestCapturedStreams(t *testing.T) {
	for _, c := range []struct {
		file                         string
		first, last                  time.Duration // number of the event
		tokens, firstTokens, prompts int
		estimated                    bool
		why                          string
	}{
		{"chat_stream_full", 2, 6, 5, 1, 17, false, "the role-only event has a count of 0 and is no token"},
		{"chat_stream_noopts", 2, 5, 4, 1, 0, true, "no usage anywhere: events are counted, and it is said"},
		{"completion_stream_1tok", 1, 1, 1, 1, 8, false, "first and last are one event"},
		{"completion_stream_full", 1, 6, 6, 1, 8, false, "usage on every event; the usage-only event is no token"},
		{"completion_stream_interval", 1, 20, 20, 1, 8, false, "plain growth by one"},
		{"completion_stream_multi_token", 1, 20, 40, 12, 200, false, "the first event carries 12 tokens"},
		{"completion_stream_no_tokenizer", 1, 3, 3, 1, 4, false, "every text is empty: only the count shows progress"},
		{"completion_stream_nodetok", 1, 3, 3, 1, 8, false, "text beside a count"},
		{"completion_stream_noopts", 1, 4, 4, 1, 0, true, "no usage"},
		{"completion_stream_text", 1, 3, 3, 1, 4, false, "a text prompt, usage at the end"},
		{"completion_stream_usage", 1, 4, 4, 1, 8, false, "usage once, at the end"},
	} {
		t.Run(c.file, func(t *testing.T) {
			data, err := os.ReadFile(shared.Path(t, "captures/vllm/sse/"+c.file+".sse"))
			if err != nil {
				t.Fatal(err)
			}
			for _, piece := range []int{1, 7, 4096, 1 << 20} {
				r, estimated, err := follow(t, data, piece, true)
				if err != nil {
					t.Fatal(err)
				}
				if r.First != c.first || r.Last != c.last || r.Tokens != c.tokens || r.FirstTokens != c.firstTokens || r.Prompted != c.prompts || estimated != c.estimated {
					t.Errorf("pieces of %d: first %d last %d tokens %d first tokens %d prompt %d estimated %v; want %+v", piece,
						r.First, r.Last, r.Tokens, r.FirstTokens, r.Prompted, estimated, c)
				}
				if r.Finish != "length" || !r.Done {
					t.Errorf("finish %q done %v", r.Finish, r.Done)
				}
			}
		})
	}
}

func TestTransformersDialect(t *testing.T) {
	data, err := os.ReadFile(shared.Path(t, "captures/vllm/transformers-serve.txt"))
	if err != nil {
		t.Fatal(err)
	}
	var streams []string
	for part := range strings.SplitSeq(string(data), "\n== ") {
		if at := strings.Index(part, "\ndata: "); at >= 0 {
			streams = append(streams, part[at+1:strings.LastIndex(part, "\n\n")+2])
		}
	}
	want := []Receipt{{First: 1, Last: 4, Tokens: 4, Prompted: 3}, {First: 1, Last: 4, Tokens: 4, Prompted: 2}, {First: 2, Last: 4, Tokens: 3, Prompted: 15}}
	if len(streams) != len(want) {
		t.Fatalf("%d streams in the transcript", len(streams))
	}
	for i, s := range streams {
		r, estimated, err := follow(t, []byte(s), 100, true)
		if err != nil || estimated || r.Done {
			t.Errorf("stream %d: %v, estimated %v, done %v: it ends without [DONE] and with usage", i, err, estimated, r.Done)
		}
		got := Receipt{First: r.First, Last: r.Last, Tokens: r.Tokens, Prompted: r.Prompted}
		if got != want[i] {
			t.Errorf("stream %d: %+v, want %+v: the last event is a summary, no token", i, got, want[i])
		}
	}
}

func TestBrokenStreams(t *testing.T) {
	const token = `data: {"choices":[{"index":0,"text":"a","finish_reason":null}]}` + "\n\n"
	const end = `data: {"choices":[{"index":0,"text":"b","finish_reason":"length"}]}` + "\n\n"
	for _, c := range []struct {
		name, stream string
		clean        bool
		want         string // part of the error; empty if the stream is whole
	}{
		{"whole", token + end + "data: [DONE]\n\n", true, ""},
		{"no [DONE] but a finish_reason and a clean end", token + end, true, ""},
		{"no empty line at the end", token + end + "data: [DONE]", true, ""},
		{"[DONE] and then the connection drops: nothing is missing", token + end + "data: [DONE]\n\n", false, ""},
		{"cut between events", token + token, false, "cut after 2 tokens"},
		{"clean end, but the engine never said it was finished", token, true, "neither a finish_reason nor [DONE]"},
		{"cut after the finish_reason, before usage", token + end, false, "connection was cut after 2 tokens"},
		{"cut inside an event", token + `data: {"choices":[{"te`, false, "not the JSON"},
		{"an error in the stream", token + `data: {"error":{"message":"KV cache is full","code":500}}` + "\n\n", true, "after 1 tokens: KV cache is full"},
		{"no token at all", "data: [DONE]\n\n", true, "without a token"},
		{"comments and other fields", ": ping\n\nevent: x\nid: 1\nretry: 2\n" + token + end, true, ""},
		{"carriage returns", strings.ReplaceAll(token+end, "\n", "\r\n"), true, ""},
		{"byte order mark", "\xef\xbb\xbf" + token + end, true, ""},
		{"data without a space, in two lines", "data:{\"choices\":\ndata:[{\"text\":\"a\",\"finish_reason\":\"stop\"}]}\n\n", true, ""},
	} {
		_, _, err := follow(t, []byte(c.stream), 5, c.clean)
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", c.name, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: error %v, want %q", c.name, err, c.want)
		}
	}
}

func TestFirstTokenRule(t *testing.T) {
	for _, c := range []struct {
		name   string
		events []string
		first  time.Duration
	}{
		{"role only", []string{`{"choices":[{"delta":{"role":"assistant"}}]}`, `{"choices":[{"delta":{"content":"x"}}]}`}, 2},
		{"empty content", []string{`{"choices":[{"delta":{"role":"assistant","content":""}}]}`, `{"choices":[{"delta":{"content":"x"}}]}`}, 2},
		{"reasoning", []string{`{"choices":[{"delta":{"reasoning_content":"hm"}}]}`, `{"choices":[{"delta":{"content":"x"}}]}`}, 1},
		{"tool call", []string{`{"choices":[{"delta":{"tool_calls":[]}}]}`, `{"choices":[{"delta":{"tool_calls":[{"index":0}]}}]}`}, 2},
		{"usage only", []string{`{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":3}}`, `{"choices":[{"text":"x"}]}`}, 2},
		{"token ids without usage", []string{`{"choices":[{"text":"","token_ids":[]}]}`, `{"choices":[{"text":"","token_ids":[5,6]}]}`}, 2},
		{"count without growth", []string{`{"choices":[{"text":""}],"usage":{"prompt_tokens":1,"completion_tokens":0}}`, `{"choices":[{"text":""}],"usage":{"prompt_tokens":1,"completion_tokens":1}}`}, 2},
	} {
		var r Receipt
		for i, e := range c.events {
			ev, err := parseEvent([]byte(e))
			if err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
			r.Take(&ev, time.Duration(i+1))
		}
		if r.First != c.first {
			t.Errorf("%s: first token at event %d, want %d", c.name, r.First, c.first)
		}
	}
}

func TestCapturedErrors(t *testing.T) {
	dir := shared.Path(t, "captures/vllm/errors")
	want := map[string]string{
		"err_404.txt":                           "Not Found",
		"err_bad_model.txt":                     "The model `nope` does not exist. Valid aliases: tiny.",
		"err_empty_prompt.txt":                  "You must pass at least one prompt",
		"err_get.txt":                           "Method Not Allowed",
		"err_malformed_json.txt":                "1 validation error: {'type': 'json_invalid'",
		"err_min_gt_max.txt":                    "min_tokens must be less than or equal to max_tokens=2, got 5.",
		"err_no_content_type.txt":               "Unsupported Media Type",
		"err_stream_options_without_stream.txt": "Stream options can only be defined",
		"err_token_out_of_vocab.txt":            "Token id 99999 is out of vocabulary",
		"err_too_long.txt":                      "maximum context length is 4096 tokens",
		"err_too_long_stream.txt":               "maximum context length is 4096 tokens",
		"err_wrong_type.txt":                    "unable to parse string as an integer",
	}
	files, _ := filepath.Glob(filepath.Join(dir, "err_*.txt"))
	if len(files) != len(want) {
		t.Errorf("%d captured errors, the table has %d", len(files), len(want))
	}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		_, body, _ := strings.Cut(string(data), "\n\n")
		if got := ErrorMessage([]byte(body)); !strings.Contains(got, want[filepath.Base(f)]) || strings.Contains(got, "\n") {
			t.Errorf("%s: %q", filepath.Base(f), got)
		}
	}
	for body, want := range map[string]string{
		`{"error":{"message":"","type":"InternalServerError","code":500}}`: "InternalServerError",
		`{"error":"busy"}`:                    "busy",
		`{"message":"no"}`:                    "no",
		`{"detail":[{"loc":["body"]}]}`:       `[{"loc":["body"]}]`,
		`Internal Server Error`:               "Internal Server Error",
		``:                                    "(empty body)",
		`{"object":"error","message":"late"}`: "late",
	} {
		if got := ErrorMessage([]byte(body)); got != want {
			t.Errorf("%s: %q, want %q", body, got, want)
		}
	}
}

func TestBody(t *testing.T) {
	for _, c := range []struct {
		call Call
		want string
	}{
		{
			Call{API: Completions, Model: "m", Tokens: []int{1, 23}, Output: 4, Salt: "s"},
			`{"model":"m","prompt":[1,23],"max_tokens":4,"temperature":0,"stream":true,"stream_options":{"include_usage":true,"continuous_usage_stats":true},"ignore_eos":true,"min_tokens":4,"cache_salt":"s"}`,
		},
		{
			Call{API: Chat, Model: "a\"b", Text: "ä\n𝄞", Output: 1, Plain: true},
			`{"model":"a\"b","messages":[{"role":"user","content":"\u00e4\u000a\ud834\udd1e"}],"max_tokens":1,"temperature":0,"stream":true,"stream_options":{"include_usage":true}}`,
		},
		{Call{API: Completions, Model: "m", Text: "x", Output: 1, Plain: true}, `{"model":"m","prompt":"x","max_tokens":1,"temperature":0,"stream":true,"stream_options":{"include_usage":true}}`},
	} {
		got := c.call.Body()
		if string(got) != c.want {
			t.Errorf("%s\nwant %s", got, c.want)
		}
		if !json.Valid(got) {
			t.Errorf("%s is not JSON", got)
		}
	}
}

// FuzzCuts holds the decoder to its law: events depend on the bytes, never on
// where they were cut.
func FuzzCuts(f *testing.F) {
	f.Add([]byte("data: {\"choices\":[{\"text\":\"a\"}]}\r\n\r\ndata: [DONE]\n\n"), uint8(3))
	f.Add([]byte(": c\rdata:\ndata: {}\n\n"), uint8(1))
	for _, data := range captured(f) {
		f.Add(data, uint8(11))
	}
	all := func(stream []byte, piece int) (events []Event, failed bool) {
		var d Decoder
		emit := func(ev *Event) {
			e := *ev
			events = append(events, e)
		}
		for len(stream) > 0 {
			k := min(piece, len(stream))
			if d.Feed(stream[:k], emit) != nil {
				return events, true
			}
			stream = stream[k:]
		}
		return events, d.Close(emit) != nil
	}
	f.Fuzz(func(t *testing.T, stream []byte, piece uint8) {
		whole, bad := all(stream, len(stream)+1)
		cut, bad2 := all(stream, int(piece)+1)
		if bad != bad2 || !reflect.DeepEqual(whole, cut) {
			t.Fatalf("cut into %d: %+v (%v), whole: %+v (%v)", int(piece)+1, cut, bad2, whole, bad)
		}
	})
}

// FuzzScan holds the fast scan to encoding/json: what it accepts, both read
// alike.
func FuzzScan(f *testing.F) {
	for _, s := range []string{
		`{"choices":[{"text":"a","text":""}]}`, `{"Choices":[{}]}`, `{"usage":{"prompt_tokens":1.5}}`, `{"usage":{"prompt_tokens":01}}`,
		`{"choices":[{"delta":{"content":"a","content":""}}],"x":[1,{"y":-0.5e+3}]}`, `{"error":{"message":"x"}}`, `{"choices":null,"usage":null} `,
	} {
		f.Add([]byte(s))
	}
	for _, data := range captured(f) {
		for line := range strings.SplitSeq(string(data), "\n\n") {
			f.Add([]byte(strings.TrimPrefix(line, "data: ")))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		fast, ok := scanEvent(data)
		if !ok {
			return
		}
		slow, err := decodeEvent(data)
		if err != nil || !reflect.DeepEqual(fast, slow) {
			t.Fatalf("%s\nscan %+v\njson %+v %v", data, fast, slow, err)
		}
	})
}

// TestScanTakesTheCaptures keeps the fast way from rotting: every captured
// event must go through it.
func TestScanTakesTheCaptures(t *testing.T) {
	for _, data := range captured(t) {
		for line := range strings.SplitSeq(strings.TrimSpace(string(data)), "\n\n") {
			js := strings.TrimPrefix(line, "data: ")
			if !strings.HasPrefix(js, "{") {
				continue
			}
			if _, ok := scanEvent([]byte(js)); !ok {
				t.Errorf("not taken: %s", js)
			}
		}
	}
}

func captured(t testing.TB) [][]byte {
	files, _ := filepath.Glob(filepath.Join("..", "..", "..", "shared", "data", "captures", "vllm", "sse", "*.sse"))
	var all [][]byte
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, data)
	}
	return all
}

func BenchmarkEvent(b *testing.B) {
	data := []byte(`{"id":"cmpl-1","object":"text_completion","created":1795556294,"model":"tiny","choices":[{"index":0,"text":" kobahero","logprobs":null,"finish_reason":null,"stop_reason":null,"prompt_token_ids":null,"token_ids":[7060]}],"usage":{"prompt_tokens":8,"total_tokens":14,"completion_tokens":6}}`)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := parseEvent(data); err != nil {
			b.Fatal(err)
		}
	}
}
