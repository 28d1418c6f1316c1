package simulator

import (
	"fmt"
	"strings"
)

// Policy is how an engine decides what a step computes.
type Policy uint8

// The policies. [V1] is the default and what vLLM does since its version 1.
// The two others are Vidur's schedulers of those names, as they are in its
// version 0.0.26: they are here to explain what Vidur says, not to be right
// about an engine.
const (
	V1 Policy = iota
	Sarathi
	VLLM
)

// ParsePolicy reads a policy's name; "" is [V1].
func ParsePolicy(name string) (Policy, error) {
	for p := V1; p <= VLLM; p++ {
		if name == p.String() || name == "" {
			return p, nil
		}
	}
	return V1, fmt.Errorf("the scheduler %q is not known; there are %s", name, policyNames())
}

// String is the policy's name in plans.
func (p Policy) String() string {
	switch p {
	case V1:
		return "v1"
	case Sarathi:
		return "sarathi"
	case VLLM:
		return "vllm"
	}
	return fmt.Sprintf("Policy(%d)", uint8(p))
}

func policyNames() string {
	return strings.Join([]string{V1.String(), Sarathi.String(), VLLM.String()}, ", ")
}

// discipline is what a run needs of a scheduler: requests go in, batches come
// out one after the other, each followed by what it brought. [Scheduler]
// documents the terms.
type discipline interface {
	Add(id, prompt, output int, keys []uint64) error
	Next() *Batch
	Done() *Outcome
	totals() (preemptions, peakBlocks int)
}

// newDiscipline makes the idle scheduler that a configuration asks for. It is
// not asked who gets a token in a step.
func newDiscipline(cfg Config) (discipline, error) {
	if cfg.Policy != V1 {
		return newVidur(cfg)
	}
	s, err := NewScheduler(cfg)
	if err != nil {
		return nil, err
	}
	s.mute = true
	return s, nil
}

var (
	_ discipline = (*Scheduler)(nil)
	_ discipline = (*vidur)(nil)
)
