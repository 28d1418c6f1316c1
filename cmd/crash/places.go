package main

import (
	"context"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// place is a failpoint in the sources.
type place struct {
	name  string
	fails bool // it may also be told of an error
}

// places finds the calls of package failpoint.
func places() ([]place, error) {
	found := map[string]place{}
	for _, root := range []string{"pipeline", "internal", "steps"} {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
			if err != nil {
				return err
			}
			ast.Inspect(file, func(n ast.Node) bool {
				call, ok := n.(*ast.CallExpr)
				if !ok || len(call.Args) == 0 {
					return true
				}
				sel, ok := call.Fun.(*ast.SelectorExpr)
				if !ok {
					return true
				}
				if pkg, ok := sel.X.(*ast.Ident); !ok || pkg.Name != "failpoint" {
					return true
				}
				if lit, ok := call.Args[0].(*ast.BasicLit); ok {
					if name, err := strconv.Unquote(lit.Value); err == nil {
						found[name] = place{name, found[name].fails || sel.Sel.Name != "At"}
					}
				}
				return true
			})
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	var out []place
	for _, name := range slices.Sorted(maps.Keys(found)) {
		out = append(out, found[name])
	}
	return out, nil
}

// midStep is no place: calrun dies with the group of a step at work.
const midStep = "in a step"

// tear are the deaths after which a resume meets places that no run from its
// beginning does.
var tear = []string{midStep, "journal.write:9", "commit.renamed", "part.renamed", "part.rename:2", "object.rename"}

// everywhere kills at every place, and lets the disk fail where it can.
func (b *bench) everywhere(ctx context.Context, scenarios ...*scenario) error {
	all, err := places()
	if err != nil {
		return err
	}
	reached := map[string]bool{}
	for _, name := range queuePlaces {
		reached[name] = true // or locks would have said so
	}
	for _, s := range scenarios {
		kill, fail := b.add(s.name+", killed at every place"), b.add(s.name+", disk fails at every place")
		var cases []func(r *rand.Rand)
		for _, p := range all {
			if reached[p.name] && !s.seen[p.name] {
				continue // a death before it was needed, once is enough
			}
			cases = append(cases, func(*rand.Rand) {
				if b.killedAt(ctx, s, p.name, kill) {
					b.note(func() { reached[p.name] = true; kill.places++ })
				}
			})
			for _, errno := range []string{"enospc", "eio"} {
				if p.fails && s.seen[p.name] {
					cases = append(cases, func(*rand.Rand) { b.failedAt(ctx, s, p.name, errno, fail) })
				}
			}
		}
		b.each(ctx, len(cases), func(i int, r *rand.Rand) { cases[i](r) })
		b.say(kill, fail)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	fmt.Printf("%d places, %d reached\n", len(all), len(reached))
	last := b.rows[len(b.rows)-1]
	for _, p := range all {
		if !reached[p.name] {
			last.violations = append(last.violations, "place "+p.name+" was never reached")
			fmt.Printf("  %s was not\n", p.name)
		}
	}
	return nil
}

// killedAt kills a run at a place, or the resume after another death, and says
// whether it did.
func (b *bench) killedAt(ctx context.Context, s *scenario, name string, r *row) bool {
	deaths := append([]string{""}, tear...)
	if s.seen[name] {
		deaths = deaths[:1]
	}
	for _, first := range deaths {
		c := b.open(s, r)
		if c == nil {
			return false
		}
		verb := "run"
		if first != "" {
			if first == midStep {
				c.dieInStep(ctx)
			} else {
				c.call(ctx, verb, "CALRUN_FAIL="+first)
			}
			verb = c.next()
		}
		met := c.call(ctx, verb, "CALRUN_FAIL="+name)
		if met {
			c.finish(ctx, "killed at "+name)
		}
		c.close()
		if met {
			return true
		}
	}
	return false
}

// failedAt lets the disk fail at a place: the run ends, says so, and can be
// resumed.
func (b *bench) failedAt(ctx context.Context, s *scenario, name, errno string, r *row) {
	c := b.open(s, r)
	if c == nil {
		return
	}
	defer c.close()
	c.call(ctx, "run", "CALRUN_FAIL="+name+"="+errno)
	b.note(func() { r.places++ })
	said := map[string]string{"enospc": "no space left on device", "eio": "input/output error"}[errno]
	switch {
	case c.code == 0:
		c.violated(name + "=" + errno + ": the run ended as if nothing had been")
	case !strings.Contains(c.said, said) || strings.Contains(c.said, "goroutine ") || strings.Contains(c.said, "zerolog:"):
		c.violated(fmt.Sprintf("%s=%s: the user is told: %.300s", name, errno, c.said))
	}
	c.finish(ctx, name+"="+errno)
}
