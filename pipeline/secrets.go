package pipeline

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"calrun/pipeline/canonical"
	"calrun/pipeline/field"
	"calrun/pipeline/secret"

	"github.com/rs/zerolog"
)

// secrets are those of one run, and the mask that keeps them out of what it
// writes.
type secrets struct {
	mask   *Mask
	values map[string]string // by the name of the plan's input
}

// newSecrets knows none yet.
func newSecrets(mask *Mask) *secrets {
	if mask == nil {
		mask = &Mask{}
	}
	return &secrets{mask: mask, values: map[string]string{}}
}

// secrets reads the secret inputs of a plan. They are asked for each time that
// a run begins or goes on, since nothing keeps them.
func (r *Runner) secrets(p *Plan) (*secrets, error) {
	if err := p.Ready(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInput, err)
	}
	s := newSecrets(r.Mask)
	for _, in := range p.Inputs {
		if in.Source == (secret.Source{}) {
			continue
		}
		value, err := in.Source.Read()
		if err == nil {
			err = s.mask.Add(in.Name, value)
		}
		if err != nil {
			return nil, fmt.Errorf("%w: input %s: %w", ErrInput, in.Name, err)
		}
		s.values[in.Name] = value
	}
	return s, nil
}

// reveal gives the secrets in a step their values.
func (s *secrets) reveal(step Step) error {
	return field.EachSecret(step, func(h *Secret) error {
		if h.IsZero() {
			return nil
		}
		if h.Name != "" {
			value, ok := s.values[h.Name]
			if !ok {
				return fmt.Errorf("the secret %s is not at hand here", h.Name)
			}
			*h = h.With(value)
			return nil
		}
		value, err := h.Source.Read()
		if err == nil {
			err = s.mask.Add(h.Source.Name(), value)
		}
		*h = h.With(value)
		return err
	})
}

// clean refuses a plan that holds one of its own secrets: the journal keeps
// the plan as it is, and so does git.
func (s *secrets) clean(p *Plan) error {
	if at, found := s.mask.In(p.Source); found {
		return fmt.Errorf("%s:%d: the value of a secret stands in the plan; take it out, and change the secret where it is used: it was public", p.File, 1+bytes.Count(p.Source[:at], []byte("\n")))
	}
	for _, in := range p.Inputs {
		if _, found := s.mask.In(in.Value); found {
			return fmt.Errorf("input %s (%s) has the value of a secret in it; make it type: secret", in.Name, in.Type)
		}
	}
	return nil
}

// put takes a file or folder of the user into the store, unless a secret
// stands in it.
func (s *secrets) put(to *Store, path string) (string, error) {
	bad, err := s.mask.InTree(path)
	if err != nil {
		return "", err
	}
	if bad != "" {
		return "", fmt.Errorf("the value of a secret stands in %s, which the run would keep; take it out", bad)
	}
	return to.Put(path, false)
}

// scrub masks secrets in the files that a step made, and says so.
func (s *secrets) scrub(dir string, log *zerolog.Logger) error {
	changed, err := s.mask.Scrub(dir)
	for _, path := range changed {
		log.Warn().Str("file", path).Msg("a secret was written into a file of the step: it is overwritten with stars")
	}
	return err
}

// result masks secrets in a result, and says so.
func (s *secrets) result(doc json.RawMessage, log *zerolog.Logger) (json.RawMessage, error) {
	clean, changed, err := s.document(doc)
	if changed {
		log.Warn().Msg("the result has a secret in it: it is masked")
	}
	return clean, err
}

// document is a JSON document without secrets.
func (s *secrets) document(doc json.RawMessage) (clean json.RawMessage, changed bool, err error) {
	if _, found := s.mask.In(doc); !found {
		return doc, false, nil
	}
	tree, err := canonical.Decode(doc)
	if err != nil {
		return nil, false, err
	}
	if tree, changed = s.mask.Tree(tree); !changed {
		return nil, false, errors.New("a secret stands across the fields of a document; leave it out")
	}
	clean, err = canonical.Encode(tree)
	return clean, true, err
}

// event masks an event before it is written, so that the journal and the state
// that is folded from it agree.
func (s *secrets) event(ev *Event) error {
	if s.mask.Empty() {
		return nil
	}
	raw, err := canonical.Encode(ev)
	if err != nil {
		return err
	}
	clean, changed, err := s.document(raw)
	if err != nil || !changed {
		return err
	}
	*ev = Event{}
	return json.Unmarshal(clean, ev)
}
