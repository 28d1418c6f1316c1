package pipeline

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
)

// tail is the share of replicates on either side of a verdict for one look;
// nullShare is the share of draws in which a perfect simulator, or the engine
// against itself, must hold for a "no" to mean anything (metrics.md: a bias
// of |error| upwards would otherwise fail what is right).
const (
	tail      = 0.025
	nullShare = 0.95
)

// judge judges a gate over the result of the step that it names.
func (j *job) judge(ctx context.Context) *GateState {
	g := &GateState{Name: j.decl.Name, Verdict: Pass}
	gate := j.decl.Gate
	if j.step.Result == nil {
		g.Blocked, g.Verdict = true, Inconclusive
		return g
	}
	draws, err := j.draws()
	if err == nil {
		g.Assert, err = judgeAll(ctx, gate.Assert, j.step.Result, draws, gate.Looks)
	}
	if err != nil {
		g.Verdict, g.Error = Inconclusive, err.Error()
		return g
	}
	for _, w := range gate.Warn { // no say in the verdict, so no error either
		a, err := Judge(w.Name, w.Expr, j.step.Result, draws, gate.Looks)
		if err != nil {
			a.because(err.Error())
		}
		g.Warn = append(g.Warn, a)
	}
	for _, a := range g.Assert {
		g.Verdict = worse(g.Verdict, a.Verdict)
	}
	return g
}

// draws reads the replicates that the judged result carries; nil if none.
func (j *job) draws() (*Draws, error) {
	tree, err := decodeJSON(j.step.Result)
	if err != nil {
		return nil, err
	}
	fields, _ := tree.(map[string]any)
	for _, name := range sortedKeys(fields) {
		a, _ := fields[name].(map[string]any)
		digest, _ := a["digest"].(string)
		if a["artefact"] != "draws" || digest == "" {
			continue
		}
		path, err := j.open(Artefact{Of: "draws", Digest: digest})
		if err != nil {
			return nil, err
		}
		return ReadDraws(path)
	}
	return nil, nil
}

func judgeAll(ctx context.Context, as []*Assertion, result []byte, draws *Draws, looks int) ([]Judgement, error) {
	var out []Judgement
	var wrong []string
	for _, a := range as {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		j, err := Judge(a.Name, a.Expr, result, draws, looks)
		if err != nil {
			wrong = append(wrong, fmt.Sprintf("%s: %s: %v", a.Name, a.Expr.Source(), err))
		}
		out = append(out, j)
	}
	if len(wrong) > 0 {
		return out, errors.New(strings.Join(wrong, "; "))
	}
	return out, nil
}

// Judge judges one assertion over a result (JSON) and its draws, nil if it
// has none. It fails closed: a value that the expression reads, also behind
// && and ||, and that is missing or not finite is an error; one that is
// doubtful makes it inconclusive.
func Judge(name string, expr *Expr, result []byte, draws *Draws, looks int) (Judgement, error) {
	j := Judgement{Name: name, Expr: expr.Source(), Verdict: Inconclusive, Looks: max(1, looks)}
	tree, err := decodeJSON(result)
	if err != nil {
		return j, err
	}
	env := Env{Result: tree}
	var doubts map[string]string
	if draws != nil {
		doubts = draws.Doubts
	}
	doubtful, err := j.read(expr, env, doubts)
	if err != nil || doubtful {
		return j, err
	}
	holds, err := holdsIn(expr, env)
	if err != nil {
		return j, err
	}
	leaves := touched(expr, tree, draws)
	if len(leaves) == 0 {
		j.Verdict = Fail
		if holds {
			j.Verdict = Pass
		}
		return j, nil
	}
	return j, j.weigh(expr, tree, draws, leaves)
}

// read looks at everything that the expression can read and takes down the
// numbers. It says whether something is doubtful.
func (j *Judgement) read(expr *Expr, env Env, doubts map[string]string) (doubtful bool, err error) {
	j.Values = map[string]float64{}
	for _, c := range expr.Chains() {
		for _, r := range c.Read(env) {
			why, isDoubtful := doubt(doubts, r.Pointer)
			if isDoubtful {
				doubtful = true
				j.because(why)
			}
			bad := unfit(r)
			if bad != "" && !isDoubtful {
				return false, fmt.Errorf("%s %s; a gate does not pass on what is not there", dotted(c, r), bad)
			}
			if v, ok := r.Value.(float64); ok && bad == "" {
				j.Values[dotted(c, r)] = v
			}
		}
	}
	return doubtful, nil
}

// because adds a reason once.
func (j *Judgement) because(why string) {
	for _, r := range j.Reasons {
		if r == why {
			return
		}
	}
	j.Reasons = append(j.Reasons, why)
}

// dotted names a reading as expressions write it.
func dotted(c Chain, r Reading) string {
	if !strings.Contains(c.Pointer, "*") {
		return c.Text
	}
	return strings.Join(splitPointer(r.Pointer), ".")
}

// unfit says why a value cannot be judged, or nothing.
func unfit(r Reading) string {
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
		if len(v) == 0 {
			return "is empty"
		}
		for i, e := range v {
			if bad := unfitElement(e); bad != "" {
				return fmt.Sprintf("element %d %s", i, bad)
			}
		}
	case map[string]any:
		if len(v) == 0 {
			return "is empty"
		}
		for _, name := range sortedKeys(v) {
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

func holdsIn(expr *Expr, env Env) (bool, error) {
	v, err := expr.Eval(env)
	if err != nil {
		return false, err
	}
	b, ok := v.(bool)
	if !ok {
		return false, fmt.Errorf("its value is %v, which is neither true nor false", v)
	}
	return b, nil
}
