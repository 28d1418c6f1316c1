package loadgen

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"net/url"
	"strings"

	"calrun/internal/openai"
	"calrun/internal/trace"
)

// firstID is where the ids of prompts start: below it stand special tokens
// and, in byte-level vocabularies, single bytes.
const firstID = 300

// wire is the whole HTTP/1.1 request.
func (t Target) wire(base *url.URL, opt Options, q trace.Request) []byte {
	body := t.call(opt, q).Body()
	path := strings.TrimSuffix(base.Path, "/") + t.API.Path()
	head := fmt.Sprintf("POST %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: calrun\r\nAccept: text/event-stream\r\nContent-Type: application/json\r\n", path, base.Host)
	if t.Key != "" {
		head += "Authorization: Bearer " + t.Key + "\r\n"
	}
	head += fmt.Sprintf("X-Request-Id: calrun-%d\r\nContent-Length: %d\r\n\r\n", q.ID, len(body))
	return append([]byte(head), body...)
}

// call gives a request its content: random, its own stream for each request,
// so that no two share a prefix and the prefix cache never answers.
func (t Target) call(opt Options, q trace.Request) openai.Call {
	h := fnv.New64a()
	fmt.Fprintf(h, "%s/%d", opt.Name, q.ID)
	rng := rand.New(rand.NewPCG(opt.Seed, h.Sum64()))
	c := openai.Call{API: t.API, Model: t.Model, Output: q.Output, Plain: t.Plain}
	if t.Salt && !t.Plain {
		c.Salt = fmt.Sprintf("%x-%d", h.Sum64(), q.ID)
	}
	if t.Text || t.API == openai.Chat {
		c.Text = words(q.Prompt, rng)
		return c
	}
	vocab := t.Vocab
	if vocab == 0 {
		vocab = DefaultVocab
	}
	first := min(firstID, vocab/2)
	c.Tokens = make([]int, q.Prompt)
	for i := range c.Tokens {
		c.Tokens[i] = first + rng.IntN(vocab-first)
	}
	return c
}

// words is text of about n tokens: a letter and its space are one token in
// nearly every vocabulary. The server's count is what is recorded.
func words(n int, rng *rand.Rand) string {
	b := make([]byte, 0, 2*n)
	for i := range n {
		if i > 0 {
			b = append(b, ' ')
		}
		b = append(b, byte('a'+rng.IntN(26)))
	}
	return string(b)
}
