package pipeline

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// Resolve returns the `with` of a step or remedy with its references replaced
// by the values they have in env and with over laid on top (dotted field path
// → JSON). Shared fields are in it, defaults are not: they are the kind's.
// What comes out is canonical ([Canonical]).
//
// A lone reference whose optional value is absent leaves its field unset. An
// artefact that the plan gives as a path comes out as {"path": "<absolute>"}.
func (p *Plan) Resolve(d *Decl, env Env, over map[string]json.RawMessage) (json.RawMessage, error) {
	return nil, fmt.Errorf("resolve %s: not built yet", d.Name)
}

// Value is what the override lays on its field: of a remedy's `sets` computed
// from env.Result, of a route's `set` from env.Steps and env.Inputs. ok is
// false where the value is optional and absent: the field stays as it is.
func (o Override) Value(env Env) (v json.RawMessage, ok bool, err error) {
	return nil, false, errors.New("override: not built yet")
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
