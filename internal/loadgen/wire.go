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
// so that no two share a prefix and the prefix cache never answers. Where the
// trace says what a prompt begins with, each of those blocks is a stream of its
// own, the same for all requests of the run that have it, so that the cache
// answers as the trace says, and nothing from another run.
func (t Target) call(opt Options, q trace.Request) openai.Call {
	own := stream(opt, "%d", q.ID)
	c := openai.Call{API: t.API, Model: t.Model, Output: q.Output, Plain: t.Plain}
	if t.Salt && !t.Plain {
		c.Salt = fmt.Sprintf("%x-%d", own, q.ID)
		if q.Content != nil {
			c.Salt = fmt.Sprintf("%x", stream(opt, "shared"))
		}
	}
	if t.Text || t.API == openai.Chat {
		c.Text = words(opt.draw(q, 26))
		return c
	}
	vocab := t.Vocab
	if vocab == 0 {
		vocab = DefaultVocab
	}
	first := min(firstID, vocab/2)
	c.Tokens = opt.draw(q, vocab-first)
	for i := range c.Tokens {
		c.Tokens[i] += first
	}
	return c
}

// draw draws a prompt's tokens from [0, n).
func (opt Options) draw(q trace.Request, n int) []int {
	ids := make([]int, 0, q.Prompt)
	for i := 0; len(ids) < q.Content.Covered(q.Prompt); i++ {
		block := rand.New(rand.NewPCG(opt.Seed, stream(opt, "block/%d/%d", q.Content.Tokens, q.Content.IDs[i])))
		for range min(q.Content.Tokens, q.Prompt-len(ids)) {
			ids = append(ids, block.IntN(n))
		}
	}
	own := rand.New(rand.NewPCG(opt.Seed, stream(opt, "%d", q.ID)))
	for len(ids) < q.Prompt {
		ids = append(ids, own.IntN(n))
	}
	return ids
}

// stream is the random stream of a part of a run's content.
func stream(opt Options, part string, args ...any) uint64 {
	h := fnv.New64a()
	fmt.Fprintf(h, "%s/"+part, append([]any{opt.Name}, args...)...)
	return h.Sum64()
}

// words is text of about as many tokens as letters: a letter and its space are
// one token in nearly every vocabulary. The server's count is what is recorded.
func words(letters []int) string {
	b := make([]byte, 0, 2*len(letters))
	for i, l := range letters {
		if i > 0 {
			b = append(b, ' ')
		}
		b = append(b, byte('a'+l))
	}
	return string(b)
}
