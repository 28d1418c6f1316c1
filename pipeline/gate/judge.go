// Package gate judges one assertion over one result. [Judge] fails closed over
// what is missing, and weighs the assertion on the [Draws] of the result, which
// say what its numbers might have been: the [Judgement] is pass, fail or, where
// the data cannot tell, inconclusive.
package gate

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"calrun/pipeline/canonical"
	"calrun/pipeline/expr"
)

// tail is the share of replicates on either side of a verdict for one look;
// nullShare is the share of draws in which a perfect simulator, or the engine
// against itself, must hold for a "no" to mean anything (a bias
// of |error| upwards would otherwise fail what is right).
const (
	tail      = 0.025
	nullShare = 0.95
)

// Judge judges one assertion over a result (JSON) and its draws, nil if it
// has none. It fails closed: a value that the expression reads, also behind
// && and ||, and that is missing or not finite is an error; one that is
// doubtful makes it inconclusive.
func Judge(name string, cond *expr.Expr, result []byte, draws *Draws, looks int) (Judgement, error) {
	j := Judgement{Name: name, Expr: cond.Source(), Verdict: Inconclusive, Looks: max(1, looks)}
	tree, err := canonical.DecodeFloats(result)
	if err != nil {
		return j, err
	}
	env := expr.Env{Result: tree}
	var doubts map[string]string
	if draws != nil {
		doubts = draws.Doubts
	}
	doubtful, err := j.read(cond, env, doubts)
	if err != nil || doubtful {
		return j, err
	}
	holds, err := cond.Holds(env)
	if err != nil {
		return j, err
	}
	leaves := touched(cond, tree, draws)
	if len(leaves) == 0 {
		j.Verdict = Fail
		if holds {
			j.Verdict = Pass
		}
		return j, nil
	}
	return j, j.weigh(cond, tree, draws, leaves)
}

// read looks at everything that the expression can read and takes down the
// numbers. It says whether something is doubtful.
func (j *Judgement) read(cond *expr.Expr, env expr.Env, doubts map[string]string) (doubtful bool, err error) {
	j.Values = map[string]float64{}
	for _, c := range cond.Chains() {
		for _, r := range c.Read(env) {
			why, isDoubtful := doubt(doubts, r.Pointer)
			if isDoubtful {
				doubtful = true
				j.Because(why)
			}
			bad := unfit(c, r)
			if bad != "" && !isDoubtful {
				return false, fmt.Errorf("%s %s; a gate does not pass on what is not there", c.Name(r), bad)
			}
			if v, ok := r.Value.(float64); ok && bad == "" {
				j.Values[c.Name(r)] = v
			}
		}
	}
	return doubtful, nil
}

// Because adds a reason once.
func (j *Judgement) Because(why string) {
	if slices.Contains(j.Reasons, why) {
		return
	}
	j.Reasons = append(j.Reasons, why)
}

// unfit says why a value cannot be judged, or nothing. An empty list says how
// long it is; that all of it is small, or what its mean is, it does not say.
func unfit(c expr.Chain, r expr.Reading) string {
	if r.Missing {
		return "is missing"
	}
	switch v := r.Value.(type) {
	case nil:
		return "has no value"
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return fmt.Sprintf("is %v", v)
		}
	case []any:
		if len(v) == 0 && !c.Counted {
			return "is empty"
		}
		for i, e := range v {
			if bad := unfitElement(e); bad != "" {
				return fmt.Sprintf("element %d %s", i, bad)
			}
		}
	case map[string]any:
		if len(v) == 0 && !c.Counted {
			return "is empty"
		}
		for _, name := range slices.Sorted(maps.Keys(v)) {
			if bad := unfitElement(v[name]); bad != "" && v[name] != nil {
				return name + " " + bad
			}
		}
	}
	return ""
}

// unfitElement judges what stands in a list or map that an expression reads
// as a whole. Fields of objects in it are read by chains of their own.
func unfitElement(v any) string {
	switch x := v.(type) {
	case nil:
		return "has no value"
	case float64:
		if math.IsNaN(x) || math.IsInf(x, 0) {
			return fmt.Sprintf("is %v", x)
		}
	}
	return ""
}

// doubt finds the reason why the value at a pointer, or something around it,
// cannot be judged.
func doubt(doubts map[string]string, pointer string) (string, bool) {
	at := pointer
	for {
		if why, ok := doubts[at]; ok {
			return why, true
		}
		i := strings.LastIndexByte(at, '/')
		if i < 0 {
			return "", false
		}
		at = at[:i]
	}
}
