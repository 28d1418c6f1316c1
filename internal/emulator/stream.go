package emulator

import (
	"encoding/json"
	"strconv"
)

// frame writes the bytes of one answer as vLLM 0.32 does. Its parts that stay
// the same are made once.
type frame struct {
	chat           bool
	head           string // up to the text of the choice
	usage          bool   // at the end
	running        bool   // usage in every event
	ids            bool   // return_token_ids
	promptIDs      json.RawMessage
	prompt, output int
	cached         int // of prompt; vLLM tells it with --enable-prompt-tokens-details alone
	buf            []byte
}

func newFrame(b *body, chat bool, id, model string, created int64, prompt, output int) *frame {
	object := "text_completion"
	if chat {
		object = "chat.completion.chunk"
	}
	if chat && !b.Stream {
		object = "chat.completion"
	}
	name, err := json.Marshal(model)
	if err != nil {
		panic("emulator: a string without JSON: " + err.Error())
	}
	ident, err := json.Marshal(id)
	if err != nil {
		panic("emulator: a string without JSON: " + err.Error())
	}
	f := &frame{
		chat: chat, ids: b.ReturnTokenIDs, prompt: prompt, output: output, buf: make([]byte, 0, 512),
		head: `{"id":` + string(ident) + `,"object":"` + object + `","created":` + strconv.FormatInt(created, 10) + `,"model":` + string(name) + `,"choices":[`,
	}
	if b.StreamOptions != nil {
		f.usage = b.StreamOptions.IncludeUsage
		f.running = f.usage && b.StreamOptions.Continuous
	}
	if f.ids && !chat && len(b.Prompt) > 0 && b.Prompt[0] == '[' {
		f.promptIDs = b.Prompt
	}
	return f
}

// fingerprint ends an answer, as vLLM's system_fingerprint.
const fingerprint = `,"system_fingerprint":"calrun-emulator"`

// role is the first event of a chat, which carries no token.
func (f *frame) role() []byte {
	f.begin()
	f.add(`{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}]`)
	if f.running {
		f.addUsage(0)
	}
	f.add(`,"prompt_token_ids":null,"prompt_text":null`)
	return f.end()
}

// token is the event of token n, from 1.
func (f *frame) token(n int) []byte {
	f.begin()
	if f.chat {
		f.add(`{"index":0,"delta":{"content":"`)
		f.add(word(n))
		f.add(`"},"logprobs":null,"finish_reason":`)
	} else {
		f.add(`{"index":0,"text":"`)
		f.add(word(n))
		f.add(`","logprobs":null,"finish_reason":`)
	}
	last := n == f.output
	if last {
		f.add(`"length","stop_reason":null`)
	} else {
		f.add(`null`)
		if !f.chat {
			f.add(`,"stop_reason":null`)
		}
	}
	if !f.chat {
		f.add(`,"prompt_token_ids":`)
		if n == 1 && f.promptIDs != nil {
			f.buf = append(f.buf, f.promptIDs...)
		} else {
			f.add(`null`)
		}
	}
	f.add(`,"token_ids":`)
	if f.ids {
		f.add(`[`)
		f.buf = strconv.AppendInt(f.buf, int64(tokenID(n)), 10)
		f.add(`]`)
	} else {
		f.add(`null`)
	}
	f.add(`}]`)
	if f.running {
		f.addUsage(n)
	}
	if last && !f.usage {
		f.add(fingerprint)
	}
	return f.end()
}

// tail is what follows the last token: the usage where it is asked for, and
// the end.
func (f *frame) tail() []byte {
	f.buf = f.buf[:0]
	if f.usage {
		f.begin()
		f.add(`]`)
		f.addUsage(f.output)
		f.add(fingerprint)
		f.end()
	}
	f.add("data: [DONE]\n\n")
	return f.buf
}

// whole is the answer without a stream.
func (f *frame) whole() []byte {
	f.buf = append(f.buf[:0], f.head...)
	words := make([]byte, 0, 6*f.output)
	for n := 1; n <= f.output; n++ {
		words = append(words, word(n)...)
	}
	if f.chat {
		f.add(`{"index":0,"message":{"role":"assistant","content":"`)
		f.buf = append(f.buf, words...)
		f.add(`","refusal":null},"logprobs":null,"finish_reason":"length","stop_reason":null,"token_ids":null}]`)
	} else {
		f.add(`{"index":0,"text":"`)
		f.buf = append(f.buf, words...)
		f.add(`","logprobs":null,"finish_reason":"length","stop_reason":null,"token_ids":null,"prompt_logprobs":null,"prompt_token_ids":null}]`)
	}
	f.add(fingerprint)
	f.addUsage(f.output)
	f.add(`}`)
	return f.buf
}

func (f *frame) begin() {
	f.buf = append(f.buf[:0], "data: "...)
	f.add(f.head)
}

func (f *frame) end() []byte {
	f.add("}\n\n")
	return f.buf
}

func (f *frame) add(s string) { f.buf = append(f.buf, s...) }

func (f *frame) addUsage(n int) {
	f.add(`,"usage":{"prompt_tokens":`)
	f.buf = strconv.AppendInt(f.buf, int64(f.prompt), 10)
	f.add(`,"total_tokens":`)
	f.buf = strconv.AppendInt(f.buf, int64(f.prompt+n), 10)
	f.add(`,"completion_tokens":`)
	f.buf = strconv.AppendInt(f.buf, int64(n), 10)
	if f.cached > 0 {
		f.add(`,"prompt_tokens_details":{"cached_tokens":`)
		f.buf = strconv.AppendInt(f.buf, int64(f.cached), 10)
		f.add(`}`)
	}
	f.add(`}`)
}

// word is the text of token n: never empty, so that a client without usage
// can count events.
func word(n int) string {
	words := [...]string{" miro", " vome", " covo", " bo", " ligaka", " ramo", " hero"}
	return words[n%len(words)]
}

// tokenID goes with [word].
func tokenID(n int) int { return 100 + n%7 }
