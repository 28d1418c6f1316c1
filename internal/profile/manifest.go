package profile

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
)

// ManifestFile is the name of calrun's own description of a profile.
const ManifestFile = "profile.yaml"

// Format is how a profile is written.
type Format string

// The formats.
const (
	Vidur  Format = "vidur"  // mlp.csv and attention.csv, all_reduce.csv beside or apart
	Layers Format = "layers" // dense.csv, attention.csv, per_sequence.csv, of one layer
	Steps  Format = "steps"  // a StepTime in the manifest
)

// Identity says what a profile was measured on. Empty fields are not known.
type Identity struct {
	Model      string    `yaml:"model,omitempty" json:"model,omitempty"`
	GPU        string    `yaml:"gpu,omitempty" json:"gpu,omitempty"`
	TP         int       `yaml:"tensor_parallel,omitempty" json:"tensor_parallel,omitempty"`
	Dtype      string    `yaml:"dtype,omitempty" json:"dtype,omitempty"`
	Attention  string    `yaml:"attention,omitempty" json:"attention,omitempty"`
	BlockSize  int       `yaml:"block_size,omitempty" json:"block_size,omitempty"` // tokens
	MeasuredAt time.Time `yaml:"measured_at,omitempty" json:"measured_at,omitzero"`
}

// Covers are the sizes that a step-time profile was measured on; 0 is no
// bound. Beyond them a step counts as outside.
type Covers struct {
	Prompt  int `yaml:"prompt,omitempty" json:"prompt,omitempty"`   // most prefill tokens in one step
	Context int `yaml:"context,omitempty" json:"context,omitempty"` // most tokens of one sequence
	Batch   int `yaml:"batch,omitempty" json:"batch,omitempty"`     // most sequences in one step
}

// Manifest is profile.yaml: a whole step-time profile, or the identity of the
// operator tables beside it.
type Manifest struct {
	Format   Format `yaml:"format"`
	Identity `yaml:",inline"`
	Dims     `yaml:",inline"`
	Path     string    `yaml:"path,omitempty"` // of the tables, below the manifest's folder; "" is the folder itself
	Covers   Covers    `yaml:"covers,omitempty"`
	Step     *StepTime `yaml:"step,omitempty"`
	Scale    *Factors  `yaml:"scale,omitempty"`
	Source   string    `yaml:"source,omitempty"` // how it was made, for its reader
}

// Factors scale operator tables for good: a profile of one card standing in
// for another, say. They multiply with the [Scale] of a simulation.
type Factors struct {
	MLP  float64 `yaml:"mlp,omitempty"`
	Attn float64 `yaml:"attn,omitempty"`
	Comm float64 `yaml:"comm,omitempty"`
}

// readManifest returns nil without an error where dir has no manifest.
func readManifest(dir string) (*Manifest, error) {
	data, err := os.ReadFile(filepath.Join(dir, ManifestFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read profile: %w", err)
	}
	m := &Manifest{}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	dec.KnownFields(true)
	if err := dec.Decode(m); err != nil {
		return nil, fmt.Errorf("read profile %s: %s", ManifestFile, plainYAML(err))
	}
	if err := m.check(); err != nil {
		return nil, fmt.Errorf("read profile %s: %w", ManifestFile, err)
	}
	return m, nil
}

// plainYAML is what the YAML reader says in one line and without the names of
// Go types, which mean nothing to who wrote the file.
func plainYAML(err error) string {
	text := strings.TrimPrefix(err.Error(), "yaml: unmarshal errors:\n")
	text = goType.ReplaceAllString(text, " is none that calrun's profile.yaml has here")
	return strings.ReplaceAll(strings.TrimSpace(text), "\n  ", "; ")
}

var goType = regexp.MustCompile(` not found in type profile\.\w+`)

func (m *Manifest) check() error {
	switch m.Format {
	case Steps:
		if m.Step == nil {
			return errors.New("format is steps, but there is no step: block with base, per_prefill_token, per_sequence and per_context_token")
		}
		if err := m.Step.Check(); err != nil {
			return fmt.Errorf("step: %w", err)
		}
	case Vidur, Layers:
		if m.Step != nil {
			return fmt.Errorf("format is %s, but there is a step: block; it belongs to format: steps", m.Format)
		}
	default:
		return fmt.Errorf("format is %q; write steps (a step: block), vidur (mlp.csv, attention.csv) or layers (dense.csv, attention.csv, per_sequence.csv)", m.Format)
	}
	if m.Path != "" && !filepath.IsLocal(m.Path) {
		return fmt.Errorf("path is %q; it must lie below the folder of %s", m.Path, ManifestFile)
	}
	if m.Scale != nil {
		for _, f := range []float64{m.Scale.MLP, m.Scale.Attn, m.Scale.Comm} {
			if !(f >= 0) || f > 1e6 {
				return fmt.Errorf("scale: %v is not a factor above 0", f)
			}
		}
	}
	return nil
}

// WriteManifest writes profile.yaml into dir, with a comment at its head.
func WriteManifest(dir string, m Manifest, comment string) error {
	if err := m.check(); err != nil {
		return fmt.Errorf("write profile: %w", err)
	}
	var b bytes.Buffer
	for line := range strings.SplitSeq(strings.TrimSpace(comment), "\n") {
		if comment != "" {
			b.WriteString(strings.TrimRight("# "+line, " ") + "\n")
		}
	}
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	if err := enc.Encode(m); err != nil {
		return fmt.Errorf("write profile: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("write profile: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, ManifestFile), b.Bytes(), 0o644); err != nil {
		return fmt.Errorf("write profile: %w", err)
	}
	return nil
}
