package plan

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"calrun/pipeline/canonical"
	"calrun/pipeline/document"
	"calrun/pipeline/expr"
	"calrun/pipeline/field"
)

// Resolve returns the `with` of a step or remedy with its references replaced
// by the values they have in env and with over laid on top (dotted field path
// → JSON). Shared fields are in it, defaults are not: they are the kind's.
// What comes out is canonical ([canonical.JSON]).
//
// A lone reference whose optional value is absent leaves its field unset. An
// artefact that the plan gives as a path comes out as {"path": "<absolute>"}.
func (p *Plan) Resolve(d *Decl, env expr.Env, over map[string]json.RawMessage) (json.RawMessage, error) {
	if d.with == nil {
		return json.RawMessage("{}"), nil
	}
	r := resolver{with: d.with, env: env}
	tree, _, err := r.value(d.with.root, "")
	if err != nil {
		return nil, fmt.Errorf("with of %s: %w", d.Name, err)
	}
	root, err := document.Of(tree)
	if err != nil {
		return nil, fmt.Errorf("with of %s: %w", d.Name, err)
	}
	for _, path := range slices.Sorted(maps.Keys(over)) {
		v, err := document.ParseJSON(over[path])
		if err == nil {
			err = root.Set(strings.Split(path, "."), v)
		}
		if err != nil {
			return nil, fmt.Errorf("with of %s: override of %s: %w", d.Name, path, err)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(d.with.fill)) {
		if err := root.Set([]string{name}, &document.Value{Form: document.Number, Text: fmt.Sprint(d.with.fill[name])}); err != nil {
			return nil, err
		}
	}
	return canonical.Encode(root.Plain())
}

// Value is what the override lays on its field: of a remedy's `sets` computed
// from env.Result, of a route's `set` from env.Steps and env.Inputs. ok is
// false where the value is optional and absent: the field stays as it is.
func (o Override) Value(env expr.Env) (v json.RawMessage, ok bool, err error) {
	var tree any
	if o.from != nil {
		tree, err = o.from.Eval(env)
		ok = err == nil && tree != nil
		if errors.Is(err, expr.ErrAbsent) {
			return nil, false, nil
		}
	} else {
		r := resolver{with: o.with, env: expr.Env{Steps: env.Steps, Inputs: env.Inputs}}
		tree, ok, err = r.value(o.value, "")
	}
	if err != nil {
		return nil, false, fmt.Errorf("override of %s: %w", o.Target(), err)
	}
	if !ok {
		return nil, false, nil
	}
	v, err = canonical.JSON(tree)
	return v, err == nil, err
}

// resolver replaces references by values.
type resolver struct {
	with *with
	env  expr.Env
}

// value returns the JSON tree of v; ok is false for a lone reference to
// something absent.
func (r resolver) value(v *document.Value, path string) (tree any, ok bool, err error) {
	switch {
	case v.Ref:
		return r.template(v, path)
	case v.Form == document.Text && r.with.paths[v]:
		return map[string]any{"path": field.Absolute(r.with.dir, v.Text)}, true, nil
	case v.Form == document.List:
		out := make([]any, 0, len(v.Items))
		for i, e := range v.Items {
			at := fmt.Sprintf("%s[%d]", path, i)
			item, ok, err := r.value(e, at)
			if err != nil {
				return nil, false, err
			}
			if !ok {
				return nil, false, fmt.Errorf("%s: %s has no value", at, e.Text)
			}
			out = append(out, item)
		}
		return out, true, nil
	case v.Form == document.Object:
		out := make(map[string]any, len(v.Pairs))
		for _, p := range v.Pairs {
			item, ok, err := r.value(p.Val, document.Join(path, p.Key))
			if err != nil {
				return nil, false, err
			}
			if ok {
				out[p.Key] = item
			}
		}
		return out, true, nil
	}
	return v.Plain(), true, nil
}

func (r resolver) template(v *document.Value, path string) (any, bool, error) {
	t := r.with.texts[v]
	if e := t.lone(); e != nil {
		val, err := r.eval(e)
		if errors.Is(err, expr.ErrAbsent) {
			return nil, false, nil
		}
		if err != nil {
			return nil, false, fmt.Errorf("%s: %w", path, err)
		}
		if s, ok := val.(string); ok && isInputPath(e) && r.with.want[v].Sort != field.Text && r.with.want[v].Sort != field.Span {
			return map[string]any{"path": s}, true, nil
		}
		return val, val != nil, nil
	}
	var b strings.Builder
	for _, p := range t.parts {
		if p.expr == nil {
			b.WriteString(p.text)
			continue
		}
		val, err := r.eval(p.expr)
		if err != nil {
			return nil, false, fmt.Errorf("%s: %w", path, err)
		}
		s, err := document.Of(val)
		if err != nil {
			return nil, false, fmt.Errorf("%s: %w", path, err)
		}
		if s.Form == document.List || s.Form == document.Object {
			return nil, false, fmt.Errorf("%s: %s is %s, it cannot stand inside text", path, p.src, s)
		}
		b.WriteString(scalarText(s))
	}
	if text := b.String(); r.with.want[v].Sort == field.File {
		return map[string]any{"path": field.Absolute(r.with.dir, text)}, true, nil
	}
	return b.String(), true, nil
}

// eval says who has no result, where a bare "absent" would puzzle.
func (r resolver) eval(e *expr.Expr) (any, error) {
	for _, c := range e.Chains() {
		path := c.Path()
		switch {
		case c.Root == "steps" && r.env.Steps[path[0]] == nil:
			return nil, fmt.Errorf("%s: step %s has no result", e.Source(), path[0])
		case c.Root == "inputs" && r.env.Inputs[path[0]] == nil:
			return nil, fmt.Errorf("input %s has no value: it is given as --input %s=VALUE", path[0], path[0])
		}
	}
	return e.Eval(r.env)
}

func isInputPath(e *expr.Expr) bool {
	return e.Type().Sort == field.File && len(e.Chains()) == 1 && e.Chains()[0].Root == "inputs"
}
