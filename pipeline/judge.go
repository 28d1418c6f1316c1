package pipeline

import (
	"context"
	"encoding/json"
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
	if j.step.Result == nil {
		return &GateState{Name: j.decl.Name, Blocked: true, Verdict: Inconclusive}
	}
	return judgeGate(ctx, j.decl, j.step.Result, j.open)
}

// judgeGate judges a gate over a result whose draws open finds.
func judgeGate(ctx context.Context, d *plan.Decl, result json.RawMessage, open func(Artefact) (string, error)) *GateState {
	g := &GateState{Name: d.Name, Verdict: Pass}
	draws, err := drawsOf(d.Gate.Of, result, open)
	if err == nil {
		g.Assert, err = judgeAll(ctx, d.Gate.Assert, result, draws, d.Gate.Looks)
	}
	if err != nil {
		g.Verdict, g.Error = Inconclusive, err.Error()
		return g
	}
	for _, w := range d.Gate.Warn { // no say in the verdict, so no error either
		a, err := gate.Judge(w.Name, w.Expr, result, draws, d.Gate.Looks)
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

// drawsOf reads the replicates that the judged result carries; nil if none.
func drawsOf(step string, result json.RawMessage, open func(Artefact) (string, error)) (*Draws, error) {
	tree, err := canonical.DecodeFloats(result)
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
			return nil, fmt.Errorf("%s.%s stands for replicates and names none (its digest is empty): nothing is judged on estimates alone", step, name)
		}
		path, err := open(Artefact{Of: "draws", Digest: digest})
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
