package steps

import (
	"cmp"
	"fmt"

	"calrun/internal/engine"
	"calrun/internal/profile"
	"calrun/internal/simulator"
	"calrun/internal/trace"
)

// settled is a simulation whose every parameter is decided: what the plan
// says goes before what the engine states, that before the deployment, and
// that before the documented defaults.
type settled struct {
	Params Params // every field that took effect; KVBlocks is nil for a cache without bounds
	Config simulator.Config
	Scale  profile.Scale
	Doubts []string // what had to be assumed
}

// settle decides the parameters of the embedded simulator, and says what it
// does not do as the engine does.
func settle(p Params, f engine.Facts, d Deployment) (settled, error) {
	s, err := decide(p, f, d)
	if err != nil {
		return s, err
	}
	return s, s.schedule(p, f)
}

// decide decides the parameters that all simulators have.
func decide(p Params, f engine.Facts, d Deployment) (settled, error) {
	s := settled{Params: p, Config: simulator.Defaults()}
	c := &s.Config

	seqs := cmp.Or(p.BatchSizeCap, f.MaxNumSeqs, d.MaxNumSeqs)
	if seqs == nil {
		seqs = &c.MaxNumSeqs
		s.doubt("nobody states max_num_seqs; %d is assumed", c.MaxNumSeqs)
	}
	tokens := cmp.Or(p.ChunkSize, f.MaxTokens, d.MaxTokens)
	if tokens == nil {
		tokens = &c.MaxTokens
		s.doubt("nobody states max_num_batched_tokens; %d is assumed", c.MaxTokens)
	}
	size := cmp.Or(f.BlockSize, positive(d.BlockSize))
	kv := cmp.Or(p.KVBlocks, f.KVBlocks)
	if kv == nil {
		s.doubt("nobody states the KV blocks; the cache is taken to be without bounds, so that nothing is preempted")
	} else if size == nil {
		s.doubt("nobody states the size of a KV block; %d tokens are assumed", c.BlockSize)
	}
	c.MaxNumSeqs, c.MaxTokens = *seqs, *tokens
	if size != nil {
		c.BlockSize = *size
	}
	if kv != nil {
		c.Blocks = *kv
	}
	for _, stated := range []*bool{d.Chunked, f.Chunked} { // the engine's word goes last
		if stated != nil {
			c.Chunked = *stated
		}
	}

	overhead, front, per := orZero(p.CPUOverhead), orZero(p.FrontEnd), orZero(p.PerSequence)
	mlp, attn, comm := orOne(p.KMLP), orOne(p.KAttn), orOne(p.KComm)
	c.FrontEnd = trace.FromSeconds(front)
	s.Scale = profile.Scale{
		MLP: mlp, Attn: attn, Comm: comm,
		Overhead: trace.FromSeconds(overhead), PerSequence: trace.FromSeconds(per),
	}
	s.Params = Params{
		BatchSizeCap: &c.MaxNumSeqs, ChunkSize: &c.MaxTokens, KVBlocks: kv,
		CPUOverhead: &overhead, FrontEnd: &front, PerSequence: &per,
		KMLP: &mlp, KAttn: &attn, KComm: &comm, FittedOn: p.FittedOn,
	}
	if err := c.Check(); err != nil {
		return s, fmt.Errorf("the simulator's configuration: %w", err)
	}
	return s, nil
}

func (s *settled) doubt(format string, args ...any) {
	s.Doubts = append(s.Doubts, fmt.Sprintf(format, args...))
}

func positive(v int) *int {
	if v > 0 {
		return &v
	}
	return nil
}

func orZero(p *float64) float64 {
	if p == nil {
		return 0
	}
	return *p
}

func orOne(p *float64) float64 {
	if p == nil {
		return 1
	}
	return *p
}

// embeddedRuns is one way to simulate points: a settled configuration and the
// step-time model that goes with it.
type embeddedRuns struct {
	Config simulator.Config
	Model  simulator.Model
}

// newEmbedded joins settled parameters to a profile.
func newEmbedded(prof *profile.Profile, s settled) (embeddedRuns, error) {
	m, err := prof.Model(s.Scale)
	if err != nil {
		return embeddedRuns{}, err
	}
	return embeddedRuns{Config: s.Config, Model: m}, nil
}
