package profile

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
)

// StepTime is the simplest step-time model: a step takes a constant plus a
// price for every prefill token, every sequence and every token of context
// that it reads. It knows no bounds: no batch is outside of it.
type StepTime struct {
	Base            Cost `yaml:"base" json:"base" doc:"time of a step that computes nothing, as 8ms"`
	PerPrefillToken Cost `yaml:"per_prefill_token" json:"per_prefill_token" doc:"added for each prompt token computed, as 15us"`
	PerSequence     Cost `yaml:"per_sequence" json:"per_sequence" doc:"added for each sequence in the step, as 0.1ms"`
	PerContextToken Cost `yaml:"per_context_token" json:"per_context_token" doc:"added for each token already in the KV cache that the step reads, as 0.02us"`
}

// Step implements [Model]. The sum is rounded to the nanosecond once.
func (t StepTime) Step(b *Batch) (d time.Duration, outside bool) {
	// The conversions forbid fused multiply-add, so that every machine gets
	// the same nanosecond.
	s := float64(t.Base)
	s += float64(float64(t.PerPrefillToken) * float64(b.PrefillTokens()))
	s += float64(float64(t.PerSequence) * float64(b.Sequences()))
	s += float64(float64(t.PerContextToken) * float64(b.DecodeContext+b.PrefillContext()))
	return Cost(s).Duration(), false
}

// Check says which price is not a time from 0 on.
func (t StepTime) Check() error {
	for _, f := range []struct {
		name string
		c    Cost
	}{
		{"base", t.Base},
		{"per_prefill_token", t.PerPrefillToken},
		{"per_sequence", t.PerSequence},
		{"per_context_token", t.PerContextToken},
	} {
		if v := float64(f.c); math.IsNaN(v) || math.IsInf(v, 0) || v < 0 {
			return fmt.Errorf("%s is %v; a step cannot cost less than nothing", f.name, f.c)
		}
	}
	if t == (StepTime{}) {
		return errors.New("every price is 0, so that time would stand still; give at least base, as 8ms")
	}
	return nil
}

var _ Model = StepTime{}

// Cost is a time in seconds. Unlike a [time.Duration] it holds fractions of a
// nanosecond, which is what one token of context costs. Files write it as a
// number with a unit: "0.02us".
type Cost float64

// units are tried from the left when a cost is written.
var units = [...]struct {
	name string
	per  float64 // in one second
}{{"s", 1}, {"ms", 1e3}, {"us", 1e6}, {"ns", 1e9}}

// CostOf is a duration as a cost.
func CostOf(d time.Duration) Cost { return Cost(float64(d) / 1e9) }

// ParseCost reads "5.5ms", "15us" or "0.02us"; the units are s, ms, us (or
// µs) and ns, and a bare 0 needs none.
func ParseCost(s string) (Cost, error) {
	text := strings.ReplaceAll(strings.TrimSpace(s), "µ", "u")
	num := strings.TrimRight(text, "smun")
	unit := text[len(num):]
	v, err := strconv.ParseFloat(strings.TrimSpace(num), 64)
	if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
		return 0, fmt.Errorf("%q is not a time such as 5.5ms or 0.02us", s)
	}
	for _, u := range units {
		if u.name == unit {
			return Cost(v / u.per), nil
		}
	}
	if v == 0 && unit == "" {
		return 0, nil
	}
	return 0, fmt.Errorf("%q has no unit that is known; write s, ms, us or ns, as in 5.5ms", s)
}

// Duration is the cost to the nearest nanosecond.
func (c Cost) Duration() time.Duration { return time.Duration(math.Round(float64(c) * 1e9)) }

// String writes the cost so that [ParseCost] reads the same value back, in
// the largest unit that leaves a number from 1 on.
func (c Cost) String() string {
	v := math.Abs(float64(c))
	for i, u := range units {
		if v*u.per < 1 && i < len(units)-1 && v != 0 {
			continue
		}
		s := strconv.FormatFloat(float64(c)*u.per, 'g', 15, 64) + u.name
		if back, err := ParseCost(s); err == nil && back == c {
			return s
		}
		break
	}
	return strconv.FormatFloat(float64(c), 'g', -1, 64) + "s"
}

// MarshalText writes the cost as [Cost.String] does.
func (c Cost) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText reads what [ParseCost] reads.
func (c *Cost) UnmarshalText(b []byte) error {
	v, err := ParseCost(string(b))
	if err != nil {
		return err
	}
	*c = v
	return nil
}

// UnmarshalJSON reads a string with a unit, or a number of seconds.
func (c *Cost) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err == nil {
		return c.UnmarshalText([]byte(s))
	}
	var v float64
	if err := json.Unmarshal(b, &v); err != nil {
		return fmt.Errorf("%s is not a time such as \"5.5ms\" or a number of seconds", b)
	}
	*c = Cost(v)
	return nil
}

// UnmarshalYAML reads a text with a unit, or a number of seconds.
func (c *Cost) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind != yaml.ScalarNode {
		return fmt.Errorf("line %d: a time such as 5.5ms is wanted here", n.Line)
	}
	if n.Tag == "!!float" || n.Tag == "!!int" {
		v, err := strconv.ParseFloat(n.Value, 64)
		if err != nil {
			return fmt.Errorf("line %d: %q is not a number of seconds", n.Line, n.Value)
		}
		*c = Cost(v)
		return nil
	}
	if err := c.UnmarshalText([]byte(n.Value)); err != nil {
		return fmt.Errorf("line %d: %w", n.Line, err)
	}
	return nil
}

// JSONSchema describes what [Cost.UnmarshalJSON] takes.
func (Cost) JSONSchema() map[string]any {
	return map[string]any{
		"type":        []any{"string", "number"},
		"pattern":     `^\s*[0-9.eE+-]+\s*(s|ms|us|µs|ns)?\s*$`,
		"minimum":     0,
		"description": "a time with its unit, as 5.5ms or 0.02us; a bare number is seconds",
	}
}
