// Package kind is the contract between calrun and a kind of step: a [Kind]
// makes a [Step], the step runs with a [Runtime] that it is lent, and optional
// interfaces of one method tell more of it ([Identifier], [Namer], [Checker],
// ...). Authors of kinds find all of it in package pipeline.
package kind

import (
	"context"
	"encoding/json"
	"fmt"

	"calrun/pipeline/field"
)

// Kind is a sort of step: one value, one file, one line in the list that is
// handed to [NewKinds].
type Kind struct {
	Name    string
	Doc     string // one sentence
	Version int    // part of every key; raise it when the same `with` yields another result
	Repeat  Repeat
	New     func() Step // a step with its defaults; no side effects
	Result  any         // zero value of the result struct; its json and doc tags are the names that expressions know

	shape  *field.Shape // of `with`; filled by NewKinds, as is result
	result field.Type
}

// Shape is the kind's shape, made now if the kind never went through
// [NewKinds].
func (k *Kind) Shape() *field.Shape {
	if k.shape != nil {
		return k.shape
	}
	return field.Describe(k.New())
}

// Decode makes a step from the JSON of its `with`: unknown fields, values out
// of bounds and missing required fields are errors, all of them at once, each
// with the path of its field; absent fields get their defaults.
//
// An artefact is {"artefact": sort, "digest": "sha256:..."}; its Path is left
// empty unless the JSON has a "path" beside them.
func (k *Kind) Decode(with json.RawMessage) (Step, error) {
	step := k.New()
	if err := k.Shape().Decode(step, with); err != nil {
		return nil, fmt.Errorf("with of %s: %w", k.Name, err)
	}
	return step, nil
}

// Make is [Kind.Decode] for a step that is about to work: it is told the folder
// that relative paths start from.
func (k *Kind) Make(with json.RawMessage, root string) (Step, error) {
	step, err := k.Decode(with)
	if r, ok := step.(Rooted); ok {
		r.Root(root)
	}
	return step, err
}

// ResultType is the type of what a step of this kind yields.
func (k *Kind) ResultType(s Step) (field.Type, error) {
	if rt, ok := s.(ResultTyper); ok {
		return rt.ResultType()
	}
	if k.shape != nil {
		return k.result, nil
	}
	return field.TypeOf(k.Result), nil
}

// Schema is the JSON schema (draft-07) of a kind's `with`. Any value may also
// be a reference ${{ }}.
func (k *Kind) Schema() map[string]any {
	sch := k.Shape().Schema(true)
	sch["description"] = k.Doc
	return sch
}

// RepeatOf is a step's own repeatability, or its kind's.
func (k *Kind) RepeatOf(step Step) Repeat {
	if r, ok := step.(Repeater); ok {
		return r.Repeats()
	}
	return k.Repeat
}

// Identify asks a step what else decides its result.
func Identify(ctx context.Context, step Step) (map[string]string, error) {
	id, ok := step.(Identifier)
	if !ok {
		return nil, ctx.Err()
	}
	return id.Identity(ctx)
}
