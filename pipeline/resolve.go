package pipeline

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// Resolve returns the `with` of a step or remedy with its references replaced
// by the values they have in env and with over laid on top (dotted field path
// → JSON). Shared fields are in it, defaults are not: they are the kind's.
// What comes out is canonical ([Canonical]).
//
// A lone reference whose optional value is absent leaves its field unset. An
// artefact that the plan gives as a path comes out as {"path": "<absolute>"}.
func (p *Plan) Resolve(d *Decl, env Env, over map[string]json.RawMessage) (json.RawMessage, error) {
	if d.with == nil {
		return json.RawMessage("{}"), nil
	}
	r := resolver{with: d.with, env: env}
	tree, _, err := r.value(d.with.root, "")
	if err != nil {
		return nil, fmt.Errorf("with of %s: %w", d.Name, err)
	}
	root, err := valueOf(tree)
	if err != nil {
		return nil, fmt.Errorf("with of %s: %w", d.Name, err)
	}
	for _, path := range sortedKeys(over) {
		v, err := parseJSON(over[path])
		if err == nil {
			err = root.set(strings.Split(path, "."), v)
		}
		if err != nil {
			return nil, fmt.Errorf("with of %s: override of %s: %w", d.Name, path, err)
		}
	}
	for _, name := range sortedKeys(d.with.fill) {
		if err := root.set([]string{name}, &value{form: isNumber, text: fmt.Sprint(d.with.fill[name])}); err != nil {
			return nil, err
		}
	}
	return encode(root.plainJSON())
}

// Value is what the override lays on its field: of a remedy's `sets` computed
// from env.Result, of a route's `set` from env.Steps and env.Inputs. ok is
// false where the value is optional and absent: the field stays as it is.
func (o Override) Value(env Env) (v json.RawMessage, ok bool, err error) {
	var tree any
	if o.from != nil {
		tree, err = o.from.Eval(env)
		ok = err == nil && tree != nil
		if errors.Is(err, errAbsent) {
			return nil, false, nil
		}
	} else {
		r := resolver{with: o.with, env: Env{Steps: env.Steps, Inputs: env.Inputs}}
		tree, ok, err = r.value(o.value, "")
	}
	if err != nil {
		return nil, false, fmt.Errorf("override of %s: %w", o.Target(), err)
	}
	if !ok {
		return nil, false, nil
	}
	v, err = Canonical(tree)
	return v, err == nil, err
}

// resolver replaces references by values.
type resolver struct {
	with *with
	env  Env
}

// value returns the JSON tree of v; ok is false for a lone reference to
// something absent.
func (r resolver) value(v *value, path string) (tree any, ok bool, err error) {
	switch {
	case v.tmpl != nil:
		return r.template(v, path)
	case v.form == isText && r.with.paths[v]:
		return map[string]any{"path": absolute(r.with.dir, v.text)}, true, nil
	case v.form == isList:
		out := make([]any, 0, len(v.items))
		for i, e := range v.items {
			at := fmt.Sprintf("%s[%d]", path, i)
			item, ok, err := r.value(e, at)
			if err != nil {
				return nil, false, err
			}
			if !ok {
				return nil, false, fmt.Errorf("%s: %s has no value", at, e.text)
			}
			out = append(out, item)
		}
		return out, true, nil
	case v.form == isObject:
		out := make(map[string]any, len(v.pairs))
		for _, p := range v.pairs {
			item, ok, err := r.value(p.val, join(path, p.key))
			if err != nil {
				return nil, false, err
			}
			if ok {
				out[p.key] = item
			}
		}
		return out, true, nil
	}
	return v.plainJSON(), true, nil
}

func (r resolver) template(v *value, path string) (any, bool, error) {
	t := v.tmpl
	if e := t.lone(); e != nil {
		val, err := r.eval(e)
		if errors.Is(err, errAbsent) {
			return nil, false, nil
		}
		if err != nil {
			return nil, false, fmt.Errorf("%s: %w", path, err)
		}
		if s, ok := val.(string); ok && isInputPath(e) && r.with.want[v].Sort != Text && r.with.want[v].Sort != Span {
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
		s, err := valueOf(val)
		if err != nil {
			return nil, false, fmt.Errorf("%s: %w", path, err)
		}
		if s.form == isList || s.form == isObject {
			return nil, false, fmt.Errorf("%s: %s is %s, it cannot stand inside text", path, p.src, s)
		}
		b.WriteString(scalarText(s))
	}
	if text := b.String(); r.with.want[v].Sort == File {
		return map[string]any{"path": absolute(r.with.dir, text)}, true, nil
	}
	return b.String(), true, nil
}

// eval says who has no result, where a bare "absent" would puzzle.
func (r resolver) eval(e *Expr) (any, error) {
	for _, c := range e.chains {
		path := splitPointer(c.Pointer)
		switch {
		case c.Root == "steps" && r.env.Steps[path[0]] == nil:
			return nil, fmt.Errorf("%s: step %s has no result", e.source, path[0])
		case c.Root == "inputs" && r.env.Inputs[path[0]] == nil:
			return nil, fmt.Errorf("input %s has no value: it is given as --input %s=VALUE", path[0], path[0])
		}
	}
	return e.Eval(r.env)
}

func isInputPath(e *Expr) bool {
	return e.typ.Sort == File && len(e.chains) == 1 && e.chains[0].Root == "inputs"
}

// Canonical is the JSON text of v with sorted keys, without spaces and without
// HTML escapes: equal values have equal bytes. Numbers keep the text they have.
func Canonical(v any) (json.RawMessage, error) {
	raw, ok := v.(json.RawMessage)
	if !ok {
		var err error
		if raw, err = encode(v); err != nil {
			return nil, err
		}
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var tree any
	if err := dec.Decode(&tree); err != nil {
		return nil, err
	}
	return encode(tree)
}

func encode(v any) (json.RawMessage, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimRight(b.Bytes(), "\n"), nil
}
