package pipeline

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"calrun/pipeline/canonical"
	"calrun/pipeline/gate"
	"calrun/pipeline/plan"
)

// judge judges a gate over the result of the step that it names.
func (j *job) judge(ctx context.Context) *GateState {
	g := &GateState{Name: j.decl.Name, Verdict: Pass}
	if j.step.Result == nil {
		g.Blocked, g.Verdict = true, Inconclusive
		return g
	}
	draws, err := j.draws()
	if err == nil {
		g.Assert, err = judgeAll(ctx, j.decl.Gate.Assert, j.step.Result, draws, j.decl.Gate.Looks)
	}
	if err != nil {
		g.Verdict, g.Error = Inconclusive, err.Error()
		return g
	}
	for _, w := range j.decl.Gate.Warn { // no say in the verdict, so no error either
		a, err := gate.Judge(w.Name, w.Expr, j.step.Result, draws, j.decl.Gate.Looks)
		if err != nil {
			a.Because(err.Error())
		}
		g.Warn = append(g.Warn, a)
	}
	for _, a := range g.Assert {
		g.Verdict = gate.Worse(g.Verdict, a.Verdict)
	}
	return g
}

// draws reads the replicates that the judged result carries; nil if none.
func (j *job) draws() (*Draws, error) {
	tree, err := canonical.DecodeFloats(j.step.Result)
	if err != nil {
		return nil, err
	}
	fields, _ := tree.(map[string]any)
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		a, _ := fields[name].(map[string]any)
		if a["artefact"] != "draws" {
			continue
		}
		digest, _ := a["digest"].(string)
		if digest == "" {
			return nil, fmt.Errorf("%s.%s stands for replicates and names none (its digest is empty): nothing is judged on estimates alone", j.decl.Gate.Of, name)
		}
		path, err := j.open(Artefact{Of: "draws", Digest: digest})
		if err != nil {
			return nil, err
		}
		return ReadDraws(path)
	}
	return nil, nil
}

func judgeAll(ctx context.Context, as []*plan.Assertion, result []byte, draws *Draws, looks int) ([]Judgement, error) {
	var out []Judgement
	var wrong []string
	for _, a := range as {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		j, err := gate.Judge(a.Name, a.Expr, result, draws, looks)
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
