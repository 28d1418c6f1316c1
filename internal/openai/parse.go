package openai

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

// parseEvent reads the JSON of one event. A scan by hand picks the few fields
// that matter; whatever it does not expect (an escaped key, a fraction where
// a count belongs) is left to encoding/json.
func parseEvent(data []byte) (Event, error) {
	if ev, ok := scanEvent(data); ok {
		return ev, nil
	}
	return decodeEvent(data)
}

// chunk is an event for encoding/json. Where the two readers differ in what
// they make of an input, decodeEvent is right and scanEvent must not have
// accepted it.
type chunk struct {
	Choices []struct {
		Text         *string         `json:"text"`
		Delta        json.RawMessage `json:"delta"`
		FinishReason *string         `json:"finish_reason"`
		TokenIDs     []int           `json:"token_ids"`
	} `json:"choices"`
	Usage *struct {
		Prompt     int `json:"prompt_tokens"`
		Completion int `json:"completion_tokens"`
		Details    *struct {
			Cached int `json:"cached_tokens"`
		} `json:"prompt_tokens_details"`
	} `json:"usage"`
	Error  json.RawMessage `json:"error"`
	Detail json.RawMessage `json:"detail"`
}

func decodeEvent(data []byte) (Event, error) {
	var c chunk
	if err := json.Unmarshal(data, &c); err != nil {
		return Event{}, fmt.Errorf("the event %s is not the JSON of a completion: %w", excerpt(data), err)
	}
	ev := Event{Choice: len(c.Choices) > 0}
	for _, ch := range c.Choices {
		ev.Text = ev.Text || (ch.Text != nil && *ch.Text != "") || deltaHasText(ch.Delta)
		ev.TokenIDs += len(ch.TokenIDs)
		if ch.FinishReason != nil {
			ev.Finish = *ch.FinishReason
		}
	}
	if c.Usage != nil {
		ev.Usage = &Usage{Prompt: c.Usage.Prompt, Completion: c.Usage.Completion}
		if c.Usage.Details != nil {
			ev.Usage.Cached = c.Usage.Details.Cached
		}
	}
	if present(c.Error) || present(c.Detail) {
		ev.Error = ErrorMessage(data)
	}
	return ev, nil
}

func present(raw json.RawMessage) bool { return len(raw) > 0 && string(raw) != "null" }

// deltaHasText says whether a chat delta carries anything that a model wrote.
func deltaHasText(raw json.RawMessage) bool {
	var d map[string]json.RawMessage
	if json.Unmarshal(raw, &d) != nil {
		return false
	}
	for key, v := range d {
		if !textKey(key) {
			continue
		}
		switch s := string(v); s {
		case "null", `""`, "[]", "{}":
		default:
			return true
		}
	}
	return false
}

// textKey says whether a key of a delta holds something a model wrote: all
// but its role.
func textKey(key string) bool {
	switch key {
	case "content", "reasoning", "reasoning_content", "refusal", "tool_calls", "function_call":
		return true
	}
	return false
}

// ErrorMessage is the message in an error body: `error.message`, `error` as
// text, `message`, `detail` as text or as FastAPI's list; for anything else
// the beginning of the body.
func ErrorMessage(body []byte) string {
	var e struct {
		Error   json.RawMessage `json:"error"`
		Detail  json.RawMessage `json:"detail"`
		Message string          `json:"message"`
	}
	if json.Unmarshal(body, &e) == nil {
		for _, raw := range []json.RawMessage{e.Error, e.Detail} {
			if msg := message(raw); msg != "" {
				return msg
			}
		}
		if e.Message != "" {
			return oneLine(e.Message)
		}
	}
	return excerpt(body)
}

// Hide is what a server sent without the key that it was sent: one that repeats
// the key must not make it part of a message, and half a key, in a message that
// was shortened, nobody finds any more.
func Hide(body []byte, key string) []byte {
	if key == "" {
		return body
	}
	return bytes.ReplaceAll(body, []byte(key), []byte("***"))
}

func message(raw json.RawMessage) string {
	if !present(raw) {
		return ""
	}
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return oneLine(text)
	}
	var obj struct {
		Message string `json:"message"`
		Type    string `json:"type"`
	}
	if json.Unmarshal(raw, &obj) == nil && obj.Message+obj.Type != "" {
		if obj.Message == "" {
			return obj.Type // vLLM without a tokenizer answers chat with an empty message
		}
		return oneLine(obj.Message)
	}
	return excerpt(raw)
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// excerpt quotes the beginning of what a server sent.
func excerpt(b []byte) string {
	const most = 200
	b = bytes.TrimSpace(b)
	if len(b) == 0 {
		return "(empty body)"
	}
	if len(b) > most {
		return oneLine(string(b[:most])) + "…"
	}
	return oneLine(string(b))
}
