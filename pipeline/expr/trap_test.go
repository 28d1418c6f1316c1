package expr

import (
	"math"
	"strings"
	"testing"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/types"
)

// What the library does that a plan must not. Each test fails when an upgrade
// changes the trap: then look at the code that works around it.

func TestTrapExprFailsOpen(t *testing.T) {
	type cell struct{ X float64 }
	env := map[string]any{
		"points": map[string]cell{"a": {1}}, "none": []float64{}, "nan": math.NaN(), "zero": 0.0,
	}
	for _, src := range []string{
		`points["typo"].X < 0.05`, // a missing key is a zero value
		`all(none, # < 1)`,
		`len(none) == 0 || all(none, # < 1)`, // so that a list is only counted where nothing else reads it
		`mean(none) < 0.05`,
		`!(nan >= 0.05)`,
		`min(0.01, nan) < 0.05`,
		`1 / zero > 5`,
	} {
		p, err := expr.Compile(src, expr.Env(env))
		if err != nil {
			t.Errorf("%s: no longer compiles: %v", src, err)
			continue
		}
		if got, err := expr.Run(p, env); err != nil || got != true {
			t.Errorf("%s: %v, %v: it failed open before", src, got, err)
		}
	}
	if _, err := expr.Compile(`ttft.mpae < 1`, expr.Env(map[string]any{"ttft": map[string]any{"mape": 1.0}})); err != nil {
		t.Errorf("a misspelt name in a plain map no longer compiles: %v", err)
	}
}

func TestTrapExprTypes(t *testing.T) {
	env := types.Map{
		"ttft":   types.Map{"mape": types.Float64},
		"points": types.Map{types.Extra: types.Map{"ape": types.Float64}},
		"cells":  types.Array(types.Map{"ape": types.Float64}),
	}
	tests := []struct{ reason, src, want string }{
		{"a misspelt field", `ttft.mpae < 1`, "mpae"},
		{"below a dynamic key", `points["a"].aep < 1`, "aep"},
		{"in a closure", `all(cells, .aep < 1)`, "aep"},
		{"a misspelt root", `tfft.mape < 1`, "tfft"},
	}
	for _, tt := range tests {
		_, err := expr.Compile(tt.src, expr.Env(env))
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", tt.reason, err)
		}
	}
}
