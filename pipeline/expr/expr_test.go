package expr

import (
	"encoding/json"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"calrun/pipeline/field"
)

// A result as those that gates judge.
type diffError struct {
	Mape  float64 `json:"mape"`
	Worst float64 `json:"worst"`
	Bias  float64 `json:"bias"`
}

type diffCell struct {
	Ape  float64 `json:"ape"`
	Bias float64 `json:"bias"`
}

type diffStat struct {
	P50 diffError `json:"p50"`
	P90 diffError `json:"p90"`
	P99 diffError `json:"p99"`
}

type diffPoint struct {
	TTFT struct {
		P50 diffCell `json:"p50"`
		P99 diffCell `json:"p99"`
	} `json:"ttft"`
}

type diffResult struct {
	TTFT   diffStat             `json:"ttft"`
	TPOT   diffStat             `json:"tpot"`
	E2E    diffStat             `json:"e2e"`
	Points map[string]diffPoint `json:"points"`
	Cells  []struct {
		Point  string  `json:"point"`
		Metric string  `json:"metric"`
		Ape    float64 `json:"ape"`
	} `json:"cells"`
	Knee struct {
		Error float64 `json:"error,omitempty"`
		State string  `json:"state"`
	} `json:"knee"`
	Detail field.Artefact `json:"detail" artefact:"diff"`
	Draws  field.Artefact `json:"draws" artefact:"draws"`
}

func diffScope() *Scope {
	t := field.TypeOf(diffResult{})
	return &Scope{Result: &t, Of: "error", Gate: true}
}

func TestChains(t *testing.T) {
	tests := []struct {
		reason, src string
		want        []string
	}{
		{"a chain", "ttft.p50.mape < 0.05", []string{"/ttft/p50/mape"}},
		{"each once", "ttft.p50.mape < 0.05 && ttft.p50.mape > 0", []string{"/ttft/p50/mape"}},
		{"also behind &&", "ttft.p50.mape < 0.05 && tpot.p50.mape < 0.05", []string{"/ttft/p50/mape", "/tpot/p50/mape"}},
		{"a constant key", `points["rps-2"].ttft.p50.ape < 0.1`, []string{"/points/rps-2/ttft/p50/ape"}},
		{"a key with a slash", `points["a/b"].ttft.p50.ape < 0.1`, []string{"/points/a~1b/ttft/p50/ape"}},
		{"a closure, and the list itself", "all(cells, .ape < 0.1)", []string{"/cells", "/cells/*/ape"}},
		{"the element by its name", "all(cells, #.ape < 0.1)", []string{"/cells", "/cells/*/ape"}},
		{"an outer chain in a closure", "all(cells, .ape < ttft.p50.mape)", []string{"/cells", "/cells/*/ape", "/ttft/p50/mape"}},
		{"through filter", `all(filter(cells, .metric == "ttft"), .ape < 0.1)`, []string{"/cells", "/cells/*/metric", "/cells/*/ape"}},
		{"a pipe", "cells | map(.ape) | max() < 0.1", []string{"/cells", "/cells/*/ape"}},
		{"an index", "cells[0].ape < 0.1", []string{"/cells/0/ape"}},
		{"an index from the end", "cells[-1].ape < 0.1", []string{"/cells/-1/ape"}},
		{"a computed key reads all", `points[cells[0].point].ttft.p50.ape < 0.1`, []string{"/cells/0/point", "/points/*/ttft/p50/ape"}},
		{"a variable", "let x = ttft.p50; x.mape < 0.1", []string{"/ttft/p50", "/ttft/p50/mape"}},
		{"a range", "0 < ttft.p50.mape < 0.1", []string{"/ttft/p50/mape"}},
		{"a conditional", `knee.state == "bracketed" ? knee.error < 0.1 : ttft.p50.mape < 0.1`, []string{"/knee/state", "/knee/error", "/ttft/p50/mape"}},
		{"a function", "max(ttft.p50.mape, tpot.p50.mape) < 0.1", []string{"/ttft/p50/mape", "/tpot/p50/mape"}},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			e, flaws := Compile(tt.src, diffScope())
			if len(flaws) > 0 {
				t.Fatalf("%+v", flaws)
			}
			var got []string
			for _, c := range e.Chains() {
				got = append(got, c.Pointer)
			}
			if !reflect.DeepEqual(got, tt.want) {
				t.Errorf("reads %q, want %q", got, tt.want)
			}
			if e.Type().Sort != field.Bool {
				t.Errorf("it is %s", e.Type().Article())
			}
		})
	}
}

// Counted is a chain of which nothing but the length matters.
func TestCounted(t *testing.T) {
	for src, want := range map[string]bool{
		"len(cells) == 0":                                    true,
		"cells | len() == 0":                                 true,
		"len(cells) == 0 && len(cells) < 2":                  true,
		"len(cells) == 0 || all(cells, .ape < 1)":            false,
		"any(cells, .ape < 1) || len(cells) == 0":            false,
		"len(cells[1:]) == 0":                                false,
		"len(filter(cells, .ape < 1)) == 0":                  false,
		"len(sortBy(cells, .ape)) == 0":                      false,
		"let c = cells; len(c) == 0 || any(c, .ape < 1)":     false,
		"len(map(cells, .ape)) == 0 and len(cells) == 0":     false,
		"len(cells) > 0 ? mean(map(cells, .ape)) < 1 : fits": false,
	} {
		sc := diffScope()
		t2 := field.TypeOf(struct {
			diffResult
			Fits bool `json:"fits"`
		}{})
		sc.Result = &t2
		e, flaws := Compile(src, sc)
		if len(flaws) > 0 {
			t.Errorf("%s: %+v", src, flaws)
			continue
		}
		if i := slices.IndexFunc(e.Chains(), func(c Chain) bool { return c.Pointer == "/cells" }); i < 0 || e.Chains()[i].Counted != want {
			t.Errorf("%s: reads %+v, want cells counted: %v", src, e.Chains(), want)
		}
	}
}

const diffJSON = `{"ttft":{"p50":{"mape":0.04,"worst":0.1,"bias":0}},"tpot":{"p50":{"mape":0.02}},
	"points":{"rps-2":{"ttft":{"p50":{"ape":0.03}}}},
	"cells":[{"point":"rps-2","metric":"ttft","ape":0.03},{"point":"rps-4","metric":"tpot","ape":0.2}],
	"knee":{"state":"above"}, "e2e":{}}`

func diffEnv(t *testing.T) Env {
	var tree any
	if err := json.Unmarshal([]byte(diffJSON), &tree); err != nil {
		t.Fatal(err)
	}
	return Env{Result: tree}
}

func TestEval(t *testing.T) {
	tests := []struct {
		reason, src string
		want        bool
		err         string
	}{
		{"holds", "ttft.p50.mape < 0.05", true, ""},
		{"does not hold", "ttft.p50.mape < 0.03", false, ""},
		{"a whole number is a number", "ttft.p50.bias == 0", true, ""},
		{"a closure", "all(cells, .ape < 0.1)", false, ""},
		{"filtered", `all(filter(cells, .metric == "ttft"), .ape < 0.1)`, true, ""},
		{"nothing left after the filter is no success", `all(filter(cells, .metric == "e2e"), .ape < 0.1)`, false, "empty"},
		{"nor is its mean", `mean(map(filter(cells, .metric == "e2e"), .ape)) < 0.1`, false, "empty"},
		{"counting nothing is fine", `count(cells, .ape > 0.5) == 0`, true, ""},
		{"a quotient by zero", "ttft.p50.mape / ttft.p50.bias < 1", false, "division by zero"},
		{"hidden behind not", "!(ttft.p50.bias / ttft.p50.bias > 1)", false, "division by zero"},
		{"hidden in a minimum", "min(0.01, ttft.p50.bias / ttft.p50.bias) < 0.05", false, "division by zero"},
		{"beyond what a number holds", "ttft.p50.mape * 1e308 * 1e308 > 1", false, "+Inf"},
		{"a missing number", "e2e.p99.mape < 0.1", false, ""},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			e, flaws := Compile(tt.src, diffScope())
			if len(flaws) > 0 {
				t.Fatalf("%+v", flaws)
			}
			got, err := e.Eval(diffEnv(t))
			if tt.err != "" || tt.reason == "a missing number" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("%v, %v: want an error with %q", got, err, tt.err)
				}
				return
			}
			if err != nil || got != tt.want {
				t.Errorf("%v, %v, want %v", got, err, tt.want)
			}
		})
	}
}

func TestChainRead(t *testing.T) {
	env := diffEnv(t)
	env.Steps = map[string]any{"cause": map[string]any{"kernel": true}}
	env.Failed = map[string]bool{"strict": true}
	tests := []struct {
		reason string
		chain  Chain
		want   []Reading
	}{
		{"a value", Chain{Root: "result", Pointer: "/tpot/p50/mape"}, []Reading{{"/tpot/p50/mape", 0.02, false}}},
		{"every element", Chain{Root: "result", Pointer: "/cells/*/ape"}, []Reading{{"/cells/0/ape", 0.03, false}, {"/cells/1/ape", 0.2, false}}},
		{"one that is missing", Chain{Root: "result", Pointer: "/knee/error"}, []Reading{{"/knee/error", nil, true}}},
		{"below one that is missing", Chain{Root: "result", Pointer: "/e2e/p99/mape"}, []Reading{{"/e2e/p99/mape", nil, true}}},
		{"of a step", Chain{Root: "steps", Pointer: "/cause/kernel"}, []Reading{{"/cause/kernel", true, false}}},
		{"of an assertion", Chain{Root: "failed", Pointer: "/strict"}, []Reading{{"/strict", true, false}}},
	}
	for _, tt := range tests {
		if got := tt.chain.Read(env); !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: %+v, want %+v", tt.reason, got, tt.want)
		}
	}
}

// A chain that is read directly says the same as the machine would.
func TestLoneChainEqualsProgram(t *testing.T) {
	env := diffEnv(t)
	for _, src := range []string{"ttft.p50.mape", `points["rps-2"].ttft.p50.ape`, "cells[1].ape", "cells[-1].ape"} {
		lone, flaws := Compile(src, diffScope())
		if len(flaws) > 0 || lone.prog != nil {
			t.Fatalf("%s: %+v, program %v", src, flaws, lone != nil && lone.prog != nil)
		}
		sum, flaws := Compile(src+" + 0", diffScope())
		if len(flaws) > 0 {
			t.Fatal(flaws)
		}
		a, err := lone.Eval(env)
		b, err2 := sum.Eval(env)
		if err != nil || err2 != nil || a != b || math.IsNaN(a.(float64)) {
			t.Errorf("%s: %v (%v) and %v (%v)", src, a, err, b, err2)
		}
	}
}
