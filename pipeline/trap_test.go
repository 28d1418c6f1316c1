package pipeline

import (
	"math"
	"strings"
	"testing"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/types"
	"github.com/xeipuuv/gojsonschema"
	"gopkg.in/yaml.v3"
)

// What the libraries do that a plan must not. Each test fails when an upgrade
// changes the trap: then look at the code that works around it.

func TestTrapYAML(t *testing.T) {
	var n yaml.Node
	if err := yaml.Unmarshal([]byte("a: 1\na: 2\n"), &n); err != nil || len(n.Content[0].Content) != 4 {
		t.Errorf("a Node no longer takes a key twice: %v", err)
	}
	var strict struct{ A int }
	if err := yaml.Unmarshal([]byte("a: 1\nb: 2\n"), &n); err != nil {
		t.Fatal(err)
	}
	if err := n.Decode(&strict); err != nil {
		t.Errorf("Node.Decode knows fields now: %v", err)
	}
	tests := []struct{ reason, src, tag string }{
		{"a leading zero is octal", "a: 014", "!!int"},
		{"a bare date is a time", "a: 2026-01-02", "!!timestamp"},
		{".nan is a number", "a: .nan", "!!float"},
		{"! begins a tag", "a: !kv.fits", "!kv.fits"},
		{"yes is text in YAML 1.2", "a: yes", "!!str"},
	}
	for _, tt := range tests {
		if err := yaml.Unmarshal([]byte(tt.src), &n); err != nil {
			t.Errorf("%s: %v", tt.reason, err)
			continue
		}
		if got := n.Content[0].Content[1].Tag; got != tt.tag {
			t.Errorf("%s: tag %s, was %s", tt.reason, got, tt.tag)
		}
	}
	var octal struct{ A int }
	if err := yaml.Unmarshal([]byte("a: 014"), &octal); err != nil || octal.A != 12 {
		t.Errorf("014 is %d now (%v)", octal.A, err)
	}
	if err := yaml.Unmarshal([]byte("a: >-\n  one\n  two\n"), &n); err != nil {
		t.Fatal(err)
	}
	if v := n.Content[0].Content[1]; v.Line != 1 || v.Column != 4 {
		t.Errorf("a folded text is placed at %d:%d now, was at its >-", v.Line, v.Column)
	}
	if err := yaml.Unmarshal([]byte("a: {b: ${{ c }}}"), &n); err == nil {
		t.Error("a reference in { } no longer needs quotes")
	}
	if err := yaml.Unmarshal([]byte("a: x ? y : z"), &n); err == nil {
		t.Error("a conditional no longer needs quotes")
	}
}

func TestTrapSchema(t *testing.T) {
	s, err := gojsonschema.NewSchema(gojsonschema.NewStringLoader(`{
		"properties": {"n": {"anyOf": [{"type": "number"}, {"type": "string", "pattern": "^x"}]}},
		"if": {"properties": {"k": {"const": "a"}}, "required": ["k"]},
		"then": {"required": ["m"]}}`))
	if err != nil {
		t.Fatal(err)
	}
	res, err := s.Validate(gojsonschema.NewStringLoader(`{"k": "a", "n": true}`))
	if err != nil {
		t.Fatal(err)
	}
	var wrappers, plain int
	for _, e := range res.Errors() {
		if wrapper(e) {
			wrappers++
		} else {
			plain++
		}
	}
	if wrappers != 2 || plain == 0 {
		t.Errorf("%d wrappers and %d errors, were 2 and some: %v", wrappers, plain, res.Errors())
	}
}

func TestTrapExprFailsOpen(t *testing.T) {
	type cell struct{ X float64 }
	env := map[string]any{
		"points": map[string]cell{"a": {1}}, "none": []float64{}, "nan": math.NaN(), "zero": 0.0,
	}
	for _, src := range []string{
		`points["typo"].X < 0.05`, // a missing key is a zero value
		`all(none, # < 1)`,
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
