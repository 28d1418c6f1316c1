package vidur

import (
	"errors"
	"fmt"
	"math"
	"time"

	"calrun/internal/profile"
)

// Scheduler is a batching policy of Vidur's.
type Scheduler string

// The schedulers that stand for a vLLM.
const (
	Sarathi Scheduler = "sarathi" // chunked prefill: the closest to vLLM V1
	VLLM    Scheduler = "vllm"    // whole prompts first, as vLLM V0 without chunks
)

// Setup is all that decides a simulation but its trace. Every value goes onto
// the command line: none of Vidur's own defaults takes effect, since several
// of them change the input or train for hours.
type Setup struct {
	Model  string // as the dialect names it
	Device string // as the dialect names it
	Node   string // kind of node, as the dialect names it
	TP     int    // tensor-parallel size

	Scheduler Scheduler
	MaxSeqs   int     // most sequences in one batch
	MaxTokens int     // token budget of one batch: sarathi's chunk, vllm's most tokens
	BlockSize int     // tokens in one KV block
	Blocks    int     // KV blocks; 0 leaves them to Vidur's planner
	Margin    float64 // share of memory that the planner keeps free, in [0,1)
	Watermark float64 // share of blocks that admission keeps free, in [0,1)

	Longest int    // most tokens of one request, prompt and output; Vidur shortens longer prompts silently
	Limits  Limits // how far the tables of predictions reach
	Seed    int    // of the training

	Strange Strange // what Vidur does not know by name

	Scale    profile.Scale // factors and per-step overhead that the copy of the profile carries
	FrontEnd time.Duration // between a request's arrival and the scheduler: its arrival in Vidur's trace is that much later
}

// Limits are the reach of Vidur's tables of predicted times. A batch beyond
// them is a KeyError in the middle of the simulation.
type Limits struct {
	Tokens      int // most tokens of a request and of a batch
	Chunk       int // most prefill tokens of one request in a batch
	Seqs        int // most decodes in a batch
	Granularity int // step of the KV sizes, in tokens
}

// What every simulation has in common. The grid of forests is one forest:
// Vidur's default grid trains twelve, and had not finished the first after 80 s.
const (
	defaultSeed = 42
	granularity = 64
	watermark   = 0.01
	trees       = 100
	depth       = 16
	minSplit    = 2
	folds       = 2
	tableStep   = 1024 // limits are multiples of these, so that workloads share tables,
	chunkTop    = 512  // and the values of a knob that is turned; a prediction is the
	seqsTop     = 128  // same however far its table reaches
)

// Defaults is a setup with what no engine states.
func Defaults() Setup {
	return Setup{
		TP: 1, Scheduler: Sarathi, MaxSeqs: 128, MaxTokens: 512, BlockSize: 16,
		Margin: 0.1, Watermark: watermark, Seed: defaultSeed,
	}
}

// Reach sets the limits for requests of at most longest tokens, so that
// Vidur neither shortens a prompt nor leaves its tables.
func (s *Setup) Reach(longest int) {
	s.Longest = roundUp(longest, tableStep)
	s.Limits = Limits{
		Tokens:      roundUp(max(longest, s.MaxTokens, s.MaxSeqs), tableStep),
		Chunk:       roundUp(s.MaxTokens, chunkTop),
		Seqs:        roundUp(s.MaxSeqs, seqsTop),
		Granularity: granularity,
	}
}

func roundUp(n, step int) int { return max(1, (n+step-1)/step) * step }

// Check says which setup Vidur cannot take.
func (s Setup) Check() error {
	switch {
	case s.Model == "" || s.Device == "" || s.Node == "":
		return fmt.Errorf("model %q, device %q and node %q: Vidur needs all three", s.Model, s.Device, s.Node)
	case s.Scheduler != Sarathi && s.Scheduler != VLLM:
		return fmt.Errorf("scheduler is %q; Vidur would take its default without a word, so it is %s or %s", s.Scheduler, Sarathi, VLLM)
	case s.TP < 1 || s.MaxSeqs < 1 || s.MaxTokens < 1 || s.BlockSize < 1 || s.Blocks < 0:
		return fmt.Errorf("tensor parallel %d, sequences %d, tokens %d, block size %d, blocks %d: all are counts from 1 on (blocks 0 are Vidur's own)", s.TP, s.MaxSeqs, s.MaxTokens, s.BlockSize, s.Blocks)
	case !(s.Margin >= 0 && s.Margin < 1) || !(s.Watermark >= 0 && s.Watermark < 1):
		return fmt.Errorf("memory margin %v and watermark %v are shares from 0 to below 1", s.Margin, s.Watermark)
	case s.Longest < 2 || s.Limits.Tokens < max(s.Longest, s.MaxTokens, s.MaxSeqs) || s.Limits.Seqs < s.MaxSeqs || s.Limits.Chunk < min(s.MaxTokens, s.Longest):
		return fmt.Errorf("tables reach to %d tokens, chunks of %d and %d sequences; batches have up to %d tokens and %d sequences, requests up to %d tokens", s.Limits.Tokens, s.Limits.Chunk, s.Limits.Seqs, s.MaxTokens, s.MaxSeqs, s.Longest)
	case s.Scale.PerSequence != 0:
		return fmt.Errorf("a time per sequence (%v) has no place in Vidur's tables: attention of several prefills is not a sum there; use cpu_overhead_s, or the embedded simulator", s.Scale.PerSequence)
	case s.Scale.Overhead < 0 || s.FrontEnd < 0:
		return errors.New("an overhead or a front end below 0 would let steps end before they began")
	}
	for _, f := range []float64{s.Scale.MLP, s.Scale.Attn, s.Scale.Comm} {
		if !(f >= 0) || math.IsInf(f, 0) {
			return fmt.Errorf("scale a profile: %v is not a factor above 0", f)
		}
	}
	return nil
}

// spread is the part of the per-step overhead that each layer pays, in ms:
// the registry's dialect knows no time outside its layers.
func (s Setup) spread(layers int) (float64, error) {
	if s.Scale.Overhead == 0 {
		return 0, nil
	}
	if layers < 1 {
		return 0, fmt.Errorf("the number of layers of %s is not known, so the overhead of a step cannot be spread over them; state num_layers in the profile's %s", s.Model, profile.ManifestFile)
	}
	return float64(s.Scale.Overhead) / float64(time.Millisecond) / float64(layers), nil
}
