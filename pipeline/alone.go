package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"calrun/pipeline/canonical"
	"calrun/pipeline/field"
	"calrun/pipeline/kind"
	"calrun/pipeline/lock"

	"github.com/rs/zerolog"
)

// AloneOptions say where a step works that runs without a plan.
type AloneOptions struct {
	Dir      string // where relative paths in `with` start
	Out      string // the step's folder: what it yields stays there
	Log      zerolog.Logger
	Progress func(done, total float64, note string) // may be nil
	Mask     *Mask                                  // as in [Runner]
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
	secrets := newSecrets(opt.Mask)
	if err := secrets.reveal(step); err != nil {
		return nil, err
	}
	parts := kind.NewParts(filepath.Join(out, ".parts"))
	parts.Seal = func(dir string) error { return secrets.scrub(dir, &opt.Log) }
	rt := kind.Lend(kind.Loan{
		Dir: out, Plan: "scratch", Run: "scratch", Step: k.Name, Log: opt.Log, Progress: opt.Progress,
		Parts: parts, Mask: secrets.mask,
	})
	if _, err := kind.Identify(ctx, step); err != nil { // what a run would ask first
		return nil, secrets.mask.Error(err)
	}
	held, err := lock.Host(ctx, lock.Claim{Names: kind.LocksOf(step, nil), By: lock.Holder{Step: k.Name}, Wait: waits(rt)})
	if err != nil {
		return nil, err
	}
	defer held.Release()
	result, err := guard(ctx, step, rt)
	if err = errors.Join(secrets.mask.Error(err), secrets.scrub(out, &opt.Log)); err != nil {
		return nil, err
	}
	doc, err := resultAlone(result, out)
	if err != nil {
		return nil, err
	}
	return secrets.result(doc, &opt.Log)
}

// stepAlone decodes a `with` whose artefacts are paths.
func stepAlone(k *Kind, with json.RawMessage, dir string) (Step, error) {
	if len(with) == 0 {
		with = json.RawMessage(`{}`)
	}
	paths := map[string]string{} // digest → path
	raw, err := field.ImportPaths(k.New(), with, func(path string) (string, error) {
		if !filepath.IsAbs(path) {
			path = filepath.Join(dir, path)
		}
		digest, err := DigestPath(path)
		paths[digest] = path
		return digest, err
	})
	if err != nil {
		return nil, err
	}
	step, err := k.Make(raw, dir)
	if err != nil {
		return nil, err
	}
	return step, field.EachArtefact(step, func(a *Artefact) error {
		a.Path = paths[a.Digest]
		return nil
	})
}

// resultAlone is a result as JSON, with the places of its artefacts.
func resultAlone(result any, out string) (json.RawMessage, error) {
	paths := map[string]string{}
	raw, err := field.EncodeResult(result, func(a *Artefact) error {
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
		return nil, err
	}
	tree, err := canonical.Decode(raw)
	if err != nil {
		return nil, err
	}
	eachObject(tree, func(x map[string]any) {
		if digest, ok := x["digest"].(string); ok && paths[digest] != "" {
			x["path"] = paths[digest]
		}
	})
	return canonical.JSON(tree)
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
		for _, name := range slices.Sorted(maps.Keys(x)) {
			eachObject(x[name], fn)
		}
	}
}
