// Package profile is what an engine's steps cost, as measured on a card: the
// operator tables of Vidur and of LLMServingSim, and calrun's own step-time
// profile. It reads them ([Open]), turns them into a time for any batch
// ([Profile.Model]) and judges them as an expert would before they are
// believed ([Identify], [Cover], [Age], [Profile.Values], [Fit]).
package profile

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Profile is an opened profile.
type Profile struct {
	Dir      string
	Format   Format
	Identity Identity // what it was measured on, as far as its files say
	Dims     Dims     // of the model, from the manifest, the tables or the table of known models
	Covers   Covers   // of a step-time profile
	Tables   []*Table // of an operator profile
	Step     *StepTime
	Factors  Factors  // of the manifest
	Missing  []string // operators or files that the layout has and this profile lacks

	root string // folder that Tables' files are relative to
}

// Want narrows down a folder that holds profiles of several models, cards,
// TP degrees or block sizes. Zero fields accept what is there, as long as
// there is one.
type Want struct {
	Model     string
	GPU       string
	TP        int
	BlockSize int
}

// Open reads the profile in dir, which holds exactly one. See [OpenFor].
func Open(dir string) (*Profile, error) { return OpenFor(dir, Want{}) }

// OpenFor reads the profile in dir that is wanted. It knows three layouts:
// Vidur's (mlp.csv and attention.csv in dir or below it, as in Vidur's
// repository, and all_reduce.csv for TP > 1), LLMServingSim's (meta.yaml,
// dense.csv, attention.csv, per_sequence.csv) and calrun's profile.yaml,
// which holds a step-time profile or the identity of tables beside it. An
// error names the file, the line and the column, what stands there and what
// may.
func OpenFor(dir string, want Want) (*Profile, error) {
	p, err := open(dir, want)
	if err != nil && !strings.Contains(err.Error(), dir) {
		return nil, fmt.Errorf("%s: %w", dir, err) // what reads a file knows its place below dir alone
	}
	return p, err
}

func open(dir string, want Want) (*Profile, error) {
	info, err := os.Stat(dir)
	if err != nil {
		return nil, fmt.Errorf("read profile: %w", err)
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("read profile: %s is a file; give the folder that holds it", dir)
	}
	m, err := readManifest(dir)
	if err != nil {
		return nil, err
	}
	if m == nil {
		m = &Manifest{}
	}
	p := &Profile{Dir: dir, Format: m.Format, Identity: m.Identity, Dims: m.Dims, Covers: m.Covers}
	if m.Scale != nil {
		p.Factors = *m.Scale
	}
	if m.Format == Steps {
		p.Step = m.Step
		return p, nil
	}
	root := filepath.Join(dir, m.Path)
	p.root = root
	tables, err := search(root, m.Format)
	if err != nil {
		return nil, err
	}
	want = want.under(m.Identity)
	place, err := tables.choose(want)
	if err != nil {
		return nil, err
	}
	p.Format = place.format
	if place.format == Layers {
		err = p.readLayers(root, place, want)
	} else {
		err = p.readVidur(root, place, want)
	}
	if err != nil {
		return nil, err
	}
	p.complete()
	if err := p.readNetwork(root, tables); err != nil {
		return nil, err
	}
	return p, nil
}

// under lets a manifest decide where the caller did not.
func (w Want) under(id Identity) Want {
	if id.Model != "" {
		w.Model = id.Model
	}
	if id.GPU != "" {
		w.GPU = id.GPU
	}
	if id.TP != 0 {
		w.TP = id.TP
	}
	if id.BlockSize != 0 {
		w.BlockSize = id.BlockSize
	}
	return w
}

// complete fills in the dimensions that the model's name or its shape imply.
func (p *Profile) complete() {
	if d, ok := Known(p.Identity.Model); ok {
		p.Dims.fill(d)
	}
	if p.Dims.Layers == 0 {
		p.Dims.Layers = layersOf(p.Dims.shape())
	}
}

// fill takes from d what is not known yet.
func (d *Dims) fill(from Dims) {
	for _, f := range []struct {
		to *int
		v  int
	}{
		{&d.Layers, from.Layers},
		{&d.Hidden, from.Hidden},
		{&d.Heads, from.Heads},
		{&d.KVHeads, from.KVHeads},
		{&d.HeadDim, from.HeadDim},
		{&d.MLP, from.MLP},
		{&d.Vocab, from.Vocab},
		{&d.Parameters, from.Parameters},
	} {
		if *f.to == 0 {
			*f.to = f.v
		}
	}
}

// Scale corrects a profile: factors on its kernel families and constants that
// no table holds. The zero value of a factor means 1. Of a step-time profile
// MLP scales the base and the tokens, prefilled and decoded, Attn the context
// tokens.
type Scale struct {
	MLP         float64       // factor on projections, MLP, norms, embedding, head and sampler
	Attn        float64       // factor on attention
	Comm        float64       // factor on collective communication
	Overhead    time.Duration // added to every step
	PerSequence time.Duration // added to a step for each sequence in it
}

func (s Scale) check() error {
	for _, f := range []float64{s.MLP, s.Attn, s.Comm} {
		if !(f >= 0) || f > 1e6 {
			return fmt.Errorf("scale a profile: %v is not a factor above 0", f)
		}
	}
	if s.Overhead < 0 || s.PerSequence < 0 {
		return errors.New("scale a profile: an overhead below 0 would let steps end before they began")
	}
	return nil
}

// times multiplies with factors of a manifest; 0 means 1 on both sides.
func (s Scale) times(f Factors) Scale {
	one := func(a, b float64) float64 {
		if a == 0 {
			a = 1
		}
		if b == 0 {
			b = 1
		}
		return a * b
	}
	s.MLP, s.Attn, s.Comm = one(s.MLP, f.MLP), one(s.Attn, f.Attn), one(s.Comm, f.Comm)
	return s
}

// Corrected is s together with the factors of the profile's manifest: what
// one applies who reads the profile's files himself.
func (p *Profile) Corrected(s Scale) Scale { return s.times(p.Factors) }

// Model is the profile as a step-time model. It is safe for concurrent use.
func (p *Profile) Model(s Scale) (Model, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	s = s.times(p.Factors)
	if p.Step != nil {
		return p.stepModel(s), nil
	}
	return p.compile(s)
}
