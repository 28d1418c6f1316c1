package simulator

import (
	"fmt"
	"time"
)

// Config is the engine that is simulated.
type Config struct {
	MaxNumSeqs  int           // most sequences in one step
	MaxTokens   int           // token budget of one step; with Chunked the size of a chunk
	BlockSize   int           // tokens in one KV block
	Blocks      int           // KV blocks as the engine states them, its null block included; 0 = unbounded
	Chunked     bool          // a prompt may be prefilled over several steps
	WholePrompt bool          // a request is admitted only when its whole prompt would fit now, not just its first chunk (vLLM scheduler_reserve_full_isl)
	PrefixCache bool          // a preempted sequence finds those of its blocks again that nobody took; requests share no prefix
	FrontEnd    time.Duration // between a request's arrival and the moment the scheduler sees it
}

// Defaults are what vLLM takes where nothing is said: 256 sequences, 2048
// tokens, blocks of 16, chunked prefill, admission by the whole prompt. The
// cache is unbounded, because its size is a fact of the card and has no
// default.
func Defaults() Config {
	return Config{MaxNumSeqs: 256, MaxTokens: 2048, BlockSize: 16, Chunked: true, WholePrompt: true}
}

// nullBlocks is how many of the stated blocks vLLM keeps for itself.
const nullBlocks = 1

// Check says what no engine could be run with.
func (c Config) Check() error {
	switch {
	case c.MaxNumSeqs < 1:
		return fmt.Errorf("max_num_seqs is %d; at least one sequence must fit into a step", c.MaxNumSeqs)
	case c.MaxTokens < c.MaxNumSeqs:
		return fmt.Errorf("the token budget of a step is %d and its most sequences are %d; the budget must hold one token for each sequence: raise chunk_size or lower batch_size_cap", c.MaxTokens, c.MaxNumSeqs)
	case c.BlockSize < 1:
		return fmt.Errorf("block_size is %d; a KV block holds at least one token", c.BlockSize)
	case c.Blocks < 0 || c.Blocks > 0 && c.Blocks <= nullBlocks:
		return fmt.Errorf("kv_blocks is %d; a cache has at least 2 blocks (one stays unused), or 0 for one without bounds", c.Blocks)
	case c.FrontEnd < 0:
		return fmt.Errorf("front-end delay is %v; a request cannot be seen before it arrives", c.FrontEnd)
	}
	return nil
}

// Fits says why a request can never run, nil if it can.
func (c Config) Fits(prompt, output int) error {
	switch {
	case prompt < 1:
		return fmt.Errorf("its prompt has %d tokens; at least 1 is needed", prompt)
	case output < 1:
		return fmt.Errorf("it asks for %d output tokens; at least 1 is needed", output)
	case !c.Chunked && (prompt > c.MaxTokens || c.Blocks > 0 && prompt+output-1 > c.MaxTokens):
		// Where blocks can run out it is not only the prompt: after a
		// preemption all but the last token is prefilled at once.
		return fmt.Errorf("its %d + %d tokens exceed the step's budget of %d and prefill is not chunked", prompt, output, c.MaxTokens)
	case c.Blocks > 0:
		// The last token is never fed back, so it needs no room.
		if need := blocks(prompt+output-1, c.BlockSize); need > c.Blocks-nullBlocks {
			return fmt.Errorf("its %d + %d tokens need %d KV blocks of %d tokens and the cache has %d", prompt, output, need, c.BlockSize, c.Blocks-nullBlocks)
		}
	}
	return nil
}

// blocks is how many blocks hold the tokens.
func blocks(tokens, size int) int { return (tokens + size - 1) / size }
