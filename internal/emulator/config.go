package emulator

import (
	"errors"
	"fmt"
	"time"

	"calrun/internal/profile"
	"calrun/internal/simulator"
)

// Config is an engine to be. The zero value of a field with a default means
// that default.
type Config struct {
	Model        string           `yaml:"model" default:"emulated" doc:"name of the model that it serves"`
	Step         profile.StepTime `yaml:"step" doc:"what a step costs"`
	FrontEnd     time.Duration    `yaml:"front_end" doc:"time between a request's arrival and the moment the scheduler sees it"`
	FrontEndBusy time.Duration    `yaml:"front_end_busy" doc:"added to front_end; the front end does this part for one request at a time, others wait"`
	Jitter       Jitter           `yaml:"jitter" doc:"random terms, drawn from the seed"`
	WarmUp       WarmUp           `yaml:"warm_up" doc:"slow steps at the start"`
	MaxNumSeqs   int              `yaml:"max_num_seqs" min:"1" default:"256" doc:"most sequences in one step"`
	MaxTokens    int              `yaml:"max_num_batched_tokens" min:"1" default:"2048" doc:"token budget of one step"`
	BlockSize    int              `yaml:"block_size" min:"1" default:"16" doc:"tokens in one KV block"`
	PrefixCache  bool             `yaml:"prefix_caching" doc:"prompts that begin alike share blocks; of text, four bytes are a token, and chats share nothing"`
	Async        bool             `yaml:"async_scheduling" doc:"decide each step before the one before it has ended"`
	KVBlocks     int              `yaml:"kv_blocks" min:"2" default:"8192" doc:"KV blocks, one of which stays unused as in vLLM"`
	MaxModelLen  int              `yaml:"max_model_len" min:"2" default:"8192" doc:"most tokens of a request, prompt and output"`
	Vocab        int              `yaml:"vocab" min:"2" default:"128256" doc:"token ids from here on are refused"`
	Seed         int              `yaml:"seed" min:"0" default:"1" doc:"seed of every random term"`
	Faults       Faults           `yaml:"faults" doc:"requests that go wrong on purpose"`
	Truth        string           `yaml:"truth" key:"-" doc:"file that the true times are written to when the engine is closed, as CSV"`
}

// Jitter are the random terms.
type Jitter struct {
	Step     float64       `yaml:"step" min:"0" max:"1" doc:"sigma of a lognormal factor of mean 1 on each step"`
	FrontEnd time.Duration `yaml:"front_end" doc:"mean of an exponential delay added to front_end for each request"`
}

// WarmUp makes the first steps slower.
type WarmUp struct {
	Steps  int     `yaml:"steps" min:"0" doc:"how many steps"`
	Factor float64 `yaml:"factor" min:"0" doc:"factor on their time; 0 is 1"`
}

// Faults are requests that go wrong. Requests are counted from 1 in the order
// in which they are received.
type Faults struct {
	Every    int `yaml:"every" min:"0" doc:"every so many requests one is answered with status; 0 is none"`
	Status   int `yaml:"status" enum:"0,400,429,500,503" doc:"that status; 0 is 503"`
	Truncate int `yaml:"truncate_every" min:"0" doc:"every so many requests the connection ends in the middle of the stream; 0 is none"`
}

// Filled is the configuration with its defaults in place.
func (c Config) Filled() Config {
	or := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	if c.Model == "" {
		c.Model = "emulated"
	}
	or(&c.MaxNumSeqs, 256)
	or(&c.MaxTokens, 2048)
	or(&c.BlockSize, 16)
	or(&c.KVBlocks, 8192)
	or(&c.MaxModelLen, 8192)
	or(&c.Vocab, 128256)
	or(&c.Seed, 1)
	or(&c.Faults.Status, 503)
	if c.WarmUp.Factor == 0 {
		c.WarmUp.Factor = 1
	}
	return c
}

// Check says which engine cannot be.
func (c Config) Check() error {
	c = c.Filled()
	if err := c.Step.Check(); err != nil {
		return fmt.Errorf("step: %w", err)
	}
	if err := c.scheduler().Check(); err != nil {
		return err
	}
	switch most := (c.KVBlocks - 1) * c.BlockSize; {
	case c.Jitter.Step < 0 || c.Jitter.FrontEnd < 0 || c.FrontEnd < 0 || c.FrontEndBusy < 0:
		return errors.New("front_end, front_end_busy and jitter are times and shares from 0 on")
	case c.WarmUp.Factor < 0 || c.WarmUp.Steps < 0:
		return errors.New("warm_up slows a number of steps down by a factor; neither can be negative")
	case c.MaxModelLen < 2:
		return fmt.Errorf("max_model_len is %d; a request has at least a prompt token and an output token", c.MaxModelLen)
	case c.MaxModelLen > most:
		return fmt.Errorf("max_model_len is %d and the KV cache holds %d tokens (%d blocks of %d, one unused); raise kv_blocks or lower max_model_len", c.MaxModelLen, most, c.KVBlocks, c.BlockSize)
	}
	return nil
}

// scheduler is the part that the simulator shares. The front-end delay is the
// emulator's own business.
func (c Config) scheduler() simulator.Config {
	s := simulator.Defaults()
	s.MaxNumSeqs, s.MaxTokens, s.BlockSize, s.Blocks = c.MaxNumSeqs, c.MaxTokens, c.BlockSize, c.KVBlocks
	s.LookAhead, s.PrefixCache = c.Async, c.PrefixCache
	return s
}
