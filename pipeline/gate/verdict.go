package gate

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Verdict is how a gate, or a run, ended. It is never an error.
type Verdict string

// The three verdicts.
const (
	Pass         Verdict = "pass"
	Fail         Verdict = "fail"
	Inconclusive Verdict = "inconclusive"
)

// Worse returns the worse of two verdicts: fail, inconclusive, pass.
func Worse(a, b Verdict) Verdict {
	switch {
	case a == Fail || b == Fail:
		return Fail
	case a == Inconclusive || b == Inconclusive:
		return Inconclusive
	}
	return Pass
}

// Judgement is one assertion, judged.
type Judgement struct {
	Name    string             `json:"name"`
	Expr    string             `json:"expr"`
	Verdict Verdict            `json:"verdict"`
	Values  map[string]float64 `json:"values,omitempty"`  // every number it read, by its name in the expression
	Shares  map[string]float64 `json:"shares,omitempty"`  // share of draws in which it holds: replicates, null, floor
	Looks   int                `json:"looks,omitempty"`   // how often this gate may look
	Reasons []string           `json:"reasons,omitempty"` // why it is not sure
}

// Sentence says how an assertion ended: "verdict.strict: fail: ttft.p50.mape < 0.05
// (ttft.p50.mape = 0.12)".
func (j Judgement) Sentence(gate string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s.%s: %s: %s", gate, j.Name, j.Verdict, j.Expr)
	if len(j.Values) > 0 {
		var vals []string
		for _, name := range slices.Sorted(maps.Keys(j.Values)) {
			vals = append(vals, fmt.Sprintf("%s = %.4g", name, j.Values[name]))
		}
		if len(vals) > 6 {
			vals = append(vals[:6], fmt.Sprintf("and %d more", len(vals)-6))
		}
		fmt.Fprintf(&b, " (%s)", strings.Join(vals, ", "))
	}
	if len(j.Reasons) > 0 {
		b.WriteString(": " + strings.Join(j.Reasons, "; "))
	}
	return b.String()
}
