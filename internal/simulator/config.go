package simulator

import (
	"fmt"
	"math"
	"time"
)

// Config is the engine that is simulated.
type Config struct {
	Policy      Policy        // how it decides what a step computes
	MaxNumSeqs  int           // most sequences in one step
	MaxTokens   int           // token budget of one step; with Chunked the size of a chunk
	BlockSize   int           // tokens in one KV block
	Blocks      int           // KV blocks as the engine states them, its null block included; 0 = unbounded
	Chunked     bool          // a prompt may be prefilled over several steps
	WholePrompt bool          // a request is admitted only when its whole prompt would fit now, not just its first chunk (vLLM scheduler_reserve_full_isl)
	PrefixCache bool          // a request finds the full blocks of its prompt that those before it had too and that nobody has taken since, and after a preemption its own
	LookAhead   bool          // the next step is decided before this one has ended (vLLM async_scheduling); [V1] alone
	Watermark   float64       // share of the blocks that admission leaves free, in [0,1); [Sarathi] and [VLLM] alone
	Graphs      int           // most tokens of a step that a CUDA graph was captured for (vLLM max_cudagraph_capture_size); 0 = none; [V1] alone
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
	case c.Policy > VLLM:
		return fmt.Errorf("the scheduler is %d; %s are known", c.Policy, policyNames())
	case c.LookAhead && c.Policy != V1:
		return fmt.Errorf("the scheduler %v decides one step at a time; only %v looks ahead", c.Policy, V1)
	case c.Watermark < 0 || c.Watermark >= 1 || math.IsNaN(c.Watermark):
		return fmt.Errorf("the watermark is %v; it is a share of the KV blocks from 0 to below 1", c.Watermark)
	case c.Graphs < 0 || c.Graphs > 0 && c.Policy != V1:
		return fmt.Errorf("CUDA graphs up to %d tokens with the scheduler %v; %v alone has graphs, and 0 is none", c.Graphs, c.Policy, V1)
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
	case !c.chunks() && (prompt > c.MaxTokens || c.Blocks > 0 && prompt+output-1 > c.MaxTokens):
		// Where blocks can run out it is not only the prompt: after a
		// preemption all but the last token is prefilled at once.
		return fmt.Errorf("its %d + %d tokens exceed the step's budget of %d and prefill is not chunked", prompt, output, c.MaxTokens)
	case c.Blocks > 0:
		// The last token is never fed back, so it needs no room.
		if need := blocks(prompt+output-1, c.BlockSize); need > c.Blocks-c.kept() {
			return fmt.Errorf("its %d + %d tokens need %d KV blocks of %d tokens and the cache has %d", prompt, output, need, c.BlockSize, c.Blocks-c.kept())
		}
	}
	return nil
}

// chunks says whether a prompt may be prefilled over several steps.
func (c Config) chunks() bool { return c.Policy == Sarathi || c.Policy == V1 && c.Chunked }

// kept is how many of the stated blocks no request is admitted to.
func (c Config) kept() int {
	if c.Policy == V1 {
		return nullBlocks
	}
	return int(c.Watermark * float64(c.Blocks))
}

// padding is how many tokens a step is filled up with: vLLM captures graphs for
// 1, 2 and 4 tokens, for every 8 up to 256 and for every 16 from there.
func (c Config) padding(tokens int) int {
	if tokens > c.Graphs {
		return 0
	}
	every := 16
	switch {
	case tokens <= 2:
		every = 1
	case tokens <= 4:
		every = 4
	case tokens <= 256:
		every = 8
	}
	return min(c.Graphs, blocks(tokens, every)*every) - tokens
}

// blocks is how many blocks hold the tokens.
func blocks(tokens, size int) int { return (tokens + size - 1) / size }
