package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"

	"github.com/rs/zerolog"
)

// AloneOptions say where a step works that runs without a plan.
type AloneOptions struct {
	Dir      string // where relative paths in `with` start
	Out      string // the step's folder: what it yields stays there
	Log      zerolog.Logger
	Progress func(done, total float64, note string) // may be nil
}

// RunStep runs one step without a plan, a run or a store. with is JSON in
// which an artefact is a path. In the result an artefact has a "path" beside
// its digest.
func RunStep(ctx context.Context, k *Kind, with json.RawMessage, opt AloneOptions) (json.RawMessage, error) {
	out, err := filepath.Abs(opt.Out)
	if err != nil {
		return nil, err
	}
	if opt.Dir, err = filepath.Abs(opt.Dir); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return nil, err
	}
	step, err := stepAlone(k, with, opt.Dir)
	if err != nil {
		return nil, err
	}
	rt := NewScratch(out, opt.Log)
	rt.step, rt.progress = k.Name, opt.Progress
	if _, err := identify(ctx, step); err != nil { // what a run would ask first
		return nil, err
	}
	result, err := guard(ctx, step, rt)
	if err != nil {
		return nil, err
	}
	return resultAlone(result, out)
}

// stepAlone decodes a `with` whose artefacts are paths.
func stepAlone(k *Kind, with json.RawMessage, dir string) (Step, error) {
	if len(with) == 0 {
		with = json.RawMessage(`{}`)
	}
	tree, err := decodeNumbers(with)
	if err != nil {
		return nil, fmt.Errorf("with: %w", err)
	}
	paths := map[string]string{} // digest → path
	var failure error
	w := walker{artefact: func(sort string, v map[string]any) any {
		path, ok := v["path"].(string)
		if !ok {
			return v
		}
		if !filepath.IsAbs(path) {
			path = filepath.Join(dir, path)
		}
		digest, err := DigestPath(path)
		failure = errors.Join(failure, err)
		paths[digest] = path
		return map[string]any{"artefact": sort, "digest": digest}
	}}
	tree = w.value(reflect.TypeOf(k.New()), "", tree)
	if failure != nil {
		return nil, failure
	}
	raw, err := Canonical(tree)
	if err != nil {
		return nil, err
	}
	step, err := k.Decode(raw)
	if err != nil {
		return nil, err
	}
	if r, ok := step.(Rooted); ok {
		r.Root(dir)
	}
	return step, eachArtefact(reflect.ValueOf(step), "", func(a *Artefact, _ string) error {
		a.Path = paths[a.Digest]
		return nil
	})
}

// resultAlone is a result as JSON, with the places of its artefacts.
func resultAlone(result any, out string) (json.RawMessage, error) {
	if result == nil {
		return nil, errors.New("it returned no result")
	}
	v := settable(result)
	paths := map[string]string{}
	err := eachArtefact(v, "", func(a *Artefact, sort string) error {
		if a.Of == "" {
			a.Of = sort
		}
		if a.Path == "" {
			return nil
		}
		if !filepath.IsAbs(a.Path) {
			a.Path = filepath.Join(out, a.Path)
		}
		digest, err := DigestPath(a.Path)
		a.Digest, paths[digest] = digest, a.Path
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("result: %w", err)
	}
	if at, bad := notFinite(v, "result"); bad {
		return nil, fmt.Errorf("%s is NaN or infinite; a result leaves out what is undefined", at)
	}
	raw, err := marshal(v.Interface())
	if err != nil {
		return nil, fmt.Errorf("result: %w", err)
	}
	tree, err := decodeNumbers(raw)
	if err != nil {
		return nil, err
	}
	eachObject(tree, func(x map[string]any) {
		if digest, ok := x["digest"].(string); ok && paths[digest] != "" {
			x["path"] = paths[digest]
		}
	})
	return Canonical(tree)
}

// eachObject calls fn for every object in a decoded JSON document.
func eachObject(v any, fn func(map[string]any)) {
	switch x := v.(type) {
	case []any:
		for _, e := range x {
			eachObject(e, fn)
		}
	case map[string]any:
		fn(x)
		for _, name := range sortedKeys(x) {
			eachObject(x[name], fn)
		}
	}
}
