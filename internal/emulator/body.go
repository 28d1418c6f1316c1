package emulator

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// body is what the emulator reads of a request; unknown fields are ignored, as
// vLLM does.
type body struct {
	Model               string          `json:"model"`
	Prompt              json.RawMessage `json:"prompt"`   // completions
	Messages            []message       `json:"messages"` // chat
	MaxTokens           *int            `json:"max_tokens"`
	MaxCompletionTokens *int            `json:"max_completion_tokens"`
	MinTokens           int             `json:"min_tokens"`
	Stream              bool            `json:"stream"`
	StreamOptions       *struct {
		IncludeUsage bool `json:"include_usage"`
		Continuous   bool `json:"continuous_usage_stats"`
	} `json:"stream_options"`
	ReturnTokenIDs bool   `json:"return_token_ids"`
	Salt           string `json:"cache_salt"`
}

type message struct {
	Content json.RawMessage `json:"content"`
}

// refusal is an error that the client gets, in vLLM's words.
type refusal struct {
	status  int
	kind    string
	message string
	param   string // "" is null
}

func (r *refusal) Error() string { return r.message }

func badRequest(param, format string, args ...any) *refusal {
	return &refusal{http.StatusBadRequest, "BadRequestError", fmt.Sprintf(format, args...), param}
}

// write answers with the refusal's body.
func (r *refusal) write(w http.ResponseWriter) {
	var param any
	if r.param != "" {
		param = r.param
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(r.status)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(map[string]any{"error": map[string]any{"message": r.message, "type": r.kind, "param": param, "code": r.status}})
}

// decodeBody reads a request's body, with vLLM's complaints about JSON.
func decodeBody(data []byte) (*body, *refusal) {
	b := &body{}
	err := json.Unmarshal(data, b)
	var syntax *json.SyntaxError
	var wrong *json.UnmarshalTypeError
	switch {
	case err == nil:
		return b, nil
	case errors.As(err, &syntax):
		at := "body." + strconv.FormatInt(syntax.Offset, 10)
		return nil, &refusal{
			http.StatusBadRequest, "Bad Request",
			"1 validation error:\n  {'type': 'json_invalid', 'loc': '" + at + "', 'msg': 'JSON decode error', 'input': '<dict of 0 items>', 'ctx': {'error': 'Expecting value'}}", at,
		}
	case errors.As(err, &wrong):
		at := "body." + wrong.Field
		return nil, &refusal{
			http.StatusBadRequest, "Bad Request",
			"1 validation error:\n  {'type': '" + wrong.Type.String() + "_parsing', 'loc': '" + at + "', 'msg': 'Input should be a valid " + wrong.Type.String() + "', 'input': '" + wrong.Value + "'}", at,
		}
	}
	return nil, &refusal{http.StatusBadRequest, "Bad Request", err.Error(), ""}
}

// lengths decides how long a request is: prompt tokens as the engine counts
// them, output tokens as it will produce them.
func (c *Config) lengths(b *body, chat bool) (prompt, output int, _ *refusal) {
	if b.Model != "" && b.Model != c.Model {
		return 0, 0, &refusal{http.StatusNotFound, "NotFoundError", fmt.Sprintf("The model `%s` does not exist. Valid aliases: %s.", b.Model, c.Model), "model"}
	}
	if b.StreamOptions != nil && !b.Stream {
		return 0, 0, badRequest("stream_options", "Stream options can only be defined when `stream=True`. (parameter=stream_options)")
	}
	var refused *refusal
	if chat {
		prompt, refused = chatTokens(b.Messages)
	} else {
		prompt, refused = c.promptTokens(b.Prompt)
	}
	if refused != nil {
		return 0, 0, refused
	}
	if prompt >= c.MaxModelLen {
		return 0, 0, badRequest("input_tokens", "This model's maximum context length is %d tokens. However, your prompt contains %d input tokens, which exceeds this limit even without any output tokens. Please reduce the length of the input prompt. (parameter=input_tokens, value=%d)", c.MaxModelLen, prompt, prompt)
	}
	asked := b.MaxTokens
	if b.MaxCompletionTokens != nil {
		asked = b.MaxCompletionTokens
	}
	output = 16
	if chat {
		output = c.MaxModelLen
	}
	if asked != nil {
		output = *asked
	}
	if output < 1 {
		return 0, 0, badRequest("max_tokens", "max_tokens must be at least 1, got %d. (parameter=max_tokens, value=%d)", output, output)
	}
	if b.MinTokens > output {
		return 0, 0, badRequest("", "min_tokens must be less than or equal to max_tokens=%d, got %d.", output, b.MinTokens)
	}
	// More than fits is no error: vLLM stops at the context's end.
	return prompt, min(output, c.MaxModelLen-prompt), nil
}

// promptTokens counts a completion's prompt: token ids exactly, text by its
// length.
func (c *Config) promptTokens(raw json.RawMessage) (int, *refusal) {
	raw = bytes.TrimSpace(raw)
	empty := badRequest("", "You must pass at least one prompt")
	if len(raw) == 0 || string(raw) == "null" {
		return 0, empty
	}
	if raw[0] == '"' {
		var s string
		if json.Unmarshal(raw, &s) != nil || s == "" {
			return 0, empty
		}
		return textTokens(s), nil
	}
	if raw[0] != '[' {
		return 0, notTokens()
	}
	if inner := bytes.TrimSpace(bytes.TrimPrefix(raw, []byte("["))); len(inner) > 0 && (inner[0] == '"' || inner[0] == '[') {
		var prompts []json.RawMessage
		if err := json.Unmarshal(raw, &prompts); err != nil || len(prompts) != 1 {
			return 0, badRequest("prompt", "the emulator takes one prompt a request, got %d", len(prompts))
		}
		return c.promptTokens(prompts[0])
	}
	return c.countIDs(raw, empty)
}

// countIDs counts the numbers of a JSON list without making them a slice.
func (c *Config) countIDs(raw []byte, empty *refusal) (int, *refusal) {
	n, v, digits := 0, 0, false
	for _, ch := range raw[1:] {
		switch {
		case ch >= '0' && ch <= '9':
			v, digits = min(v*10+int(ch-'0'), 1<<40), true
		case ch == ',' || ch == ']':
			if !digits {
				return 0, empty
			}
			if v >= c.Vocab {
				return 0, badRequest("", "Token id %d is out of vocabulary", v)
			}
			n, v, digits = n+1, 0, false
		case strings.IndexByte(" \t\r\n", ch) < 0:
			return 0, notTokens()
		}
	}
	return n, nil
}

func notTokens() *refusal {
	return &refusal{http.StatusBadRequest, "Bad Request", "1 validation error:\n  {'type': 'int_type', 'loc': 'body.prompt', 'msg': 'Input should be a valid integer'}", "body.prompt"}
}

// textTokens stands in for a tokenizer: four bytes a token.
func textTokens(s string) int { return max(1, (len(s)+3)/4) }

// chatTokens counts a chat: the text of its messages and a few tokens of
// template for each.
func chatTokens(ms []message) (int, *refusal) {
	const template = 4
	if len(ms) == 0 {
		return 0, badRequest("messages", "You must pass at least one message")
	}
	n := 0
	for _, m := range ms {
		var s string
		if json.Unmarshal(m.Content, &s) != nil {
			s = string(m.Content) // a list of parts: its JSON stands in for its text
		}
		n += template + textTokens(s)
	}
	return n, nil
}
