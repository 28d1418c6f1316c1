package profile

import "time"

// Chunk is a piece of a prompt that one step prefills.
type Chunk struct {
	Tokens  int // prompt tokens computed in this step
	Context int // tokens of the same sequence that were in the KV cache before it
}

// Batch is what one engine step computes: chunks of prompts, and sequences
// that decode one token each. The decoding sequences are kept as sums, so that
// a step costs the same to describe however many of them there are.
//
// A sequence that is prefilled again after a preemption is a prefill.
type Batch struct {
	Prefills         []Chunk
	Decodes          int // sequences that decode one token
	DecodeContext    int // sum over them of the tokens in the KV cache before the step
	MaxDecodeContext int // largest of them
	Padding          int // tokens that the projections compute beside these, to fill a CUDA graph
}

// Sequences is how many sequences take part in the step.
func (b *Batch) Sequences() int { return len(b.Prefills) + b.Decodes }

// PrefillTokens is the sum of the chunks.
func (b *Batch) PrefillTokens() int {
	n := 0
	for _, c := range b.Prefills {
		n += c.Tokens
	}
	return n
}

// PrefillContext is the sum of the contexts of the chunks.
func (b *Batch) PrefillContext() int {
	n := 0
	for _, c := range b.Prefills {
		n += c.Context
	}
	return n
}

// Tokens is how many tokens the step feeds through the model: what the
// engine's token budget bounds.
func (b *Batch) Tokens() int { return b.PrefillTokens() + b.Decodes }

// Empty says whether there is nothing to compute.
func (b *Batch) Empty() bool { return len(b.Prefills) == 0 && b.Decodes == 0 }

// Model says how long a step takes. It is a pure function of the batch and
// does not keep it; outside says that the batch lies beyond what the model was
// measured on, so that the time is extrapolated.
type Model interface {
	Step(b *Batch) (d time.Duration, outside bool)
}
