// Package openai is the wire of an OpenAI-compatible engine: the bodies of
// completion requests, the events of their streams, and what may be concluded
// from them.
//
// A [Call] becomes the bytes of a request with [Call.Body]. The answer is cut
// into [Event] values by a [Decoder], which yields the same events however the
// bytes were cut on their way. A [Receipt] takes the events with their times
// and knows the first token, the last token and the counts by calrun's rule:
// the server's own count where it offers one, never events taken for tokens.
package openai

import (
	"fmt"
	"strconv"
)

// API is one of the two streaming endpoints.
type API string

// The endpoints.
const (
	Completions API = "completions" // /v1/completions, prompts as token ids or text
	Chat        API = "chat"        // /v1/chat/completions, one user message
)

// Path is the endpoint's path below the engine's base URL.
func (a API) Path() string {
	if a == Chat {
		return "/v1/chat/completions"
	}
	return "/v1/completions"
}

// Call is one streaming request.
type Call struct {
	API    API
	Model  string
	Tokens []int  // the prompt as token ids; nil means Text
	Text   string // the prompt as text, or the user message of a chat
	Output int    // tokens to generate
	Salt   string // keeps the prefix cache from being shared with other requests; "" leaves it out
	Plain  bool   // only fields of OpenAI's own API: the output length cannot be forced then
}

// Body is the request as JSON. Unless Plain, it forces the output length
// (ignore_eos, min_tokens = max_tokens) and asks for a count on every event;
// an engine that knows these fields by other names ignores them in silence,
// so whoever sends this compares the tokens that came with the tokens asked.
func (c Call) Body() []byte {
	b := make([]byte, 0, 320+6*len(c.Tokens)+len(c.Text))
	b = append(b, `{"model":`...)
	b = appendString(b, c.Model)
	switch {
	case c.API == Chat:
		b = append(b, `,"messages":[{"role":"user","content":`...)
		b = appendString(b, c.Text)
		b = append(b, `}]`...)
	case c.Tokens != nil:
		b = append(b, `,"prompt":[`...)
		for i, id := range c.Tokens {
			if i > 0 {
				b = append(b, ',')
			}
			b = strconv.AppendInt(b, int64(id), 10)
		}
		b = append(b, ']')
	default:
		b = append(b, `,"prompt":`...)
		b = appendString(b, c.Text)
	}
	b = append(b, `,"max_tokens":`...)
	b = strconv.AppendInt(b, int64(c.Output), 10)
	b = append(b, `,"temperature":0,"stream":true,"stream_options":{"include_usage":true`...)
	if c.Plain {
		return append(b, `}}`...)
	}
	b = append(b, `,"continuous_usage_stats":true},"ignore_eos":true,"min_tokens":`...)
	b = strconv.AppendInt(b, int64(c.Output), 10)
	if c.Salt != "" {
		b = append(b, `,"cache_salt":`...)
		b = appendString(b, c.Salt)
	}
	return append(b, '}')
}

// appendString quotes for JSON; everything outside printable ASCII is escaped.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r >= ' ' && r < 0x7f:
			b = append(b, byte(r))
		case r > 0xffff:
			r -= 0x10000
			b = fmt.Appendf(b, `\u%04x\u%04x`, 0xd800+(r>>10), 0xdc00+(r&0x3ff))
		default:
			b = fmt.Appendf(b, `\u%04x`, r)
		}
	}
	return append(b, '"')
}
