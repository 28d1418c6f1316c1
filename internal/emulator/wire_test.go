package emulator

import (
	"encoding/json"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"

	"calrun/internal/shared"
)

// bodyOf is the body of a captured error: what stands after status and header.
func bodyOf(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(shared.Path(t, "captures/vllm/errors/"+name))
	if err != nil {
		t.Fatal(err)
	}
	_, body, _ := strings.Cut(string(data), "\n\n")
	return strings.TrimSpace(body)
}

func TestErrorsReadAsVLLM(t *testing.T) {
	for _, c := range []struct {
		capture, body string
		status        int
		loose         bool // the message may differ, the rest not
	}{
		{"err_bad_model.txt", `{"model":"nope","prompt":[1],"max_tokens":2}`, 404, false},
		{"err_empty_prompt.txt", `{"prompt":[],"max_tokens":2}`, 400, false},
		{"err_min_gt_max.txt", `{"prompt":[1],"max_tokens":2,"min_tokens":5}`, 400, false},
		{"err_stream_options_without_stream.txt", `{"prompt":[1],"max_tokens":2,"stream_options":{"include_usage":true}}`, 400, false},
		{"err_token_out_of_vocab.txt", `{"prompt":[1,99999],"max_tokens":2}`, 400, false},
		{"err_too_long.txt", `{"prompt":` + prompt(5000) + `,"max_tokens":2}`, 400, false},
		{"err_too_long_stream.txt", `{"prompt":` + prompt(5000) + `,"max_tokens":2,"stream":true}`, 400, false},
		{"err_malformed_json.txt", `{"prompt":[1],"max_tokens":}`, 400, true},
		{"err_wrong_type.txt", `{"prompt":[1],"max_tokens":"many"}`, 400, true},
	} {
		var want, got map[string]map[string]any
		if err := json.Unmarshal([]byte(bodyOf(t, c.capture)), &want); err != nil {
			t.Fatal(err)
		}
		synctest.Test(t, func(t *testing.T) {
			status, answer := newBubble(t, testConfig()).ask("/v1/completions", c.body)
			if err := json.Unmarshal([]byte(answer), &got); err != nil || status != c.status {
				t.Fatalf("%s: %d %s (%v)", c.capture, status, answer, err)
			}
		})
		if c.loose {
			for _, m := range []map[string]any{want["error"], got["error"]} {
				delete(m, "message")
				if p, _ := m["param"].(string); strings.HasPrefix(p, "body.") && p != "body.max_tokens" {
					delete(m, "param") // the offset of the error in the body
				}
			}
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v, vLLM says %v", c.capture, got, want)
		}
	}
}

func TestOtherPaths(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, testConfig())
		for path, want := range map[string]string{
			"/nowhere":        `{"detail":"Not Found"}`,
			"/v1/completions": `{"detail":"Method Not Allowed"}`,
			"/health":         "",
			"/load":           `{"server_load":0}`,
			"/version":        `{"version":"` + Version + `"}`,
		} {
			if got := strings.TrimSpace(b.get(path)); got != want {
				t.Errorf("GET %s is %q, want %q", path, got, want)
			}
		}
	})
}

// variable is what differs between two answers to the same question.
var variable = regexp.MustCompile(`"(id|created|text|content|system_fingerprint|model)":("[^"]*"|\d+)|"(prompt_)?token_ids":(?:\[[^\]]*\]|null)|"prompt_text":null,?|"completion_tokens_details":null|,$`)

// shape is a stream with everything that may differ taken out.
func shape(stream string) string {
	s := variable.ReplaceAllString(stream, "$1$3")
	return strings.ReplaceAll(s, ",}", "}")
}

func TestStreamsReadAsVLLM(t *testing.T) {
	const opts = `"stream":true,"stream_options":{"include_usage":true`
	for _, c := range []struct{ capture, path, body string }{
		{"completion_stream_noopts.sse", "/v1/completions", `{"prompt":[1,2,3,4,5,6,7,8],"max_tokens":4,"stream":true}`},
		{"completion_stream_usage.sse", "/v1/completions", `{"prompt":[1,2,3,4,5,6,7,8],"max_tokens":4,` + opts + `}}`},
		{"completion_stream_full.sse", "/v1/completions", `{"prompt":[1,2,3,4,5,6,7,8],"max_tokens":6,"return_token_ids":true,` + opts + `,"continuous_usage_stats":true}}`},
		{"completion_stream_1tok.sse", "/v1/completions", `{"prompt":[1,2,3,4,5,6,7,8],"max_tokens":1,` + opts + `,"continuous_usage_stats":true}}`},
		{"chat_stream_noopts.sse", "/v1/chat/completions", `{"messages":[{"role":"user","content":"` + strings.Repeat("word", 13) + `"}],"max_tokens":4,"stream":true}`},
		{"chat_stream_full.sse", "/v1/chat/completions", `{"messages":[{"role":"user","content":"` + strings.Repeat("word", 13) + `"}],"max_tokens":5,"return_token_ids":true,` + opts + `,"continuous_usage_stats":true}}`},
	} {
		want, err := os.ReadFile(shared.Path(t, "captures/vllm/sse/"+c.capture))
		if err != nil {
			t.Fatal(err)
		}
		synctest.Test(t, func(t *testing.T) {
			status, got := newBubble(t, testConfig()).ask(c.path, c.body)
			if status != 200 || shape(got) != shape(string(want)) {
				t.Errorf("%s: %d\n%s\nvLLM:\n%s", c.capture, status, shape(got), shape(string(want)))
			}
		})
	}
}

func TestPlainAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, testConfig())
		for _, c := range []struct {
			why, path, body string
			prompt, output  int
		}{
			{"token ids", "/v1/completions", `{"prompt":[1,2,3],"max_tokens":4}`, 3, 4},
			{"text: four bytes a token", "/v1/completions", `{"prompt":"a few words of text","max_tokens":4}`, 5, 4},
			{"one prompt in a list", "/v1/completions", `{"prompt":[[1,2,3]],"max_tokens":1}`, 3, 1},
			{"vLLM's default length", "/v1/completions", `{"prompt":[1]}`, 1, 16},
			{"cut at the context's end, no error", "/v1/completions", `{"prompt":` + prompt(4090) + `,"max_tokens":40}`, 4090, 6},
			{"an unknown field is ignored", "/v1/completions", `{"prompt":[1],"max_tokens":2,"ignore_oes":true}`, 1, 2},
			{"chat", "/v1/chat/completions", `{"messages":[{"role":"user","content":"0123"}],"max_completion_tokens":3}`, 5, 3},
		} {
			status, answer := b.ask(c.path, c.body)
			var got struct {
				Usage struct {
					Prompt     int `json:"prompt_tokens"`
					Completion int `json:"completion_tokens"`
				}
			}
			if err := json.Unmarshal([]byte(answer), &got); err != nil || status != 200 || got.Usage.Prompt != c.prompt || got.Usage.Completion != c.output {
				t.Errorf("%s: %d %s (%v)", c.why, status, answer, err)
			}
		}
	})
}

func TestServerInfo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := testConfig()
		cfg.KVBlocks, cfg.MaxNumSeqs = 777, 99
		var got struct {
			Config struct {
				Cache struct {
					BlockSize int `json:"block_size"`
					Blocks    int `json:"num_gpu_blocks"`
				} `json:"cache_config"`
				Scheduler struct {
					Seqs    int  `json:"max_num_seqs"`
					Tokens  int  `json:"max_num_batched_tokens"`
					Chunked bool `json:"enable_chunked_prefill"`
				} `json:"scheduler_config"`
			} `json:"vllm_config"`
		}
		b := newBubble(t, cfg)
		if err := json.Unmarshal([]byte(b.get("/server_info?config_format=json")), &got); err != nil {
			t.Fatal(err)
		}
		c := got.Config
		if c.Cache.BlockSize != 16 || c.Cache.Blocks != 777 || c.Scheduler.Seqs != 99 || c.Scheduler.Tokens != 2048 || !c.Scheduler.Chunked {
			t.Errorf("server_info says %+v", c)
		}
		if page := b.get("/metrics"); !strings.Contains(page, `num_gpu_blocks="777"`) || !strings.Contains(page, `model_name="tiny"`) {
			t.Errorf("metrics do not say the blocks:\n%s", page)
		}
	})
}

func TestConfigCheck(t *testing.T) {
	for _, c := range []struct {
		why  string
		edit func(*Config)
	}{
		{"time would stand still", func(c *Config) { c.Step.Base, c.Step.PerPrefillToken, c.Step.PerSequence = 0, 0, 0 }},
		{"a request could never run", func(c *Config) { c.KVBlocks = 100 }},
		{"more sequences than the budget has tokens", func(c *Config) { c.MaxTokens = 10 }},
		{"seen before it came", func(c *Config) { c.FrontEnd = -1 }},
	} {
		bad := testConfig()
		if c.edit(&bad); bad.Check() == nil {
			t.Errorf("%s: %+v passed", c.why, bad)
		}
		if _, err := New(bad); err == nil {
			t.Errorf("%s: an engine was made", c.why)
		}
	}
}
