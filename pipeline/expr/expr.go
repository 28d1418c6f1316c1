// Package expr compiles the expressions of plans. [Compile] types one against
// what its [Scope] may read, so that a misspelt name is a [Flaw] with a column;
// the [Expr] knows its [Chain]s, every path that it reads, and fails closed:
// what is computed from a missing or infinite number is an error.
package expr

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"calrun/pipeline/field"

	"github.com/expr-lang/expr/vm"
)

// Expr is an expression of a plan, compiled: an assertion, the `when` of a
// route, or what stands in ${{ }}.
type Expr struct {
	source string
	chains []Chain
	typ    field.Type
	prog   *vm.Program // nil for a lone chain, which is read directly
}

// Env is what expressions may see, as decoded JSON (every number a float64).
type Env struct {
	// Result is what an assertion, or a remedy's `sets`, is over: the names
	// of its fields are the names of the expression.
	Result any
	// Steps holds the results of the steps, by name: `steps.sim.params`.
	Steps map[string]any
	// Inputs holds the values of the plan's inputs: `inputs.url`.
	Inputs map[string]any
	// Passed, Failed and Unsure are what a route's `when` sees of the
	// assertions of its gate, warnings included: exactly one of the three is
	// true for each.
	Passed, Failed, Unsure map[string]bool
}

// Chain is a path that an expression reads.
type Chain struct {
	Root    string // result, steps, inputs, passed, failed or unsure
	Pointer string // JSON pointer below the root; the segment * is every element or member
	Text    string // as the expression writes it
	Type    field.Type
	Counted bool // only its length is asked for, so that an empty list or map is a value too
}

// Reading is one value that a chain found.
type Reading struct {
	Pointer string // JSON pointer below the chain's root, without wildcards
	Value   any
	Missing bool // the path ends before: Pointer is how far it was asked for
}

// Source is the expression as the plan writes it.
func (e *Expr) Source() string { return e.source }

// Chains returns what the expression reads, in the order of the source,
// each once. A chain in a closure over a list is the list's, with * for the
// element; the list itself is named too, since `all([], ...)` is true.
func (e *Expr) Chains() []Chain { return e.chains }

// Type is the type of its value.
func (e *Expr) Type() field.Type { return e.typ }

// Lone returns the only chain of an expression that is nothing else.
func (e *Expr) Lone() (Chain, bool) {
	if e.prog != nil || len(e.chains) != 1 {
		return Chain{}, false
	}
	return e.chains[0], true
}

// ErrAbsent is what a lone chain yields whose value is not there.
var ErrAbsent = errors.New("absent")

// Eval computes the expression. It does not look whether what it reads is
// present and finite: a gate asks [Expr.Chains] first.
func (e *Expr) Eval(env Env) (any, error) {
	if c, lone := e.Lone(); lone {
		r := c.Read(env)
		if len(r) != 1 || r[0].Missing {
			return nil, absentError{chain: c}
		}
		return r[0].Value, nil
	}
	return e.run(env)
}

// absentError says which lone chain had no value.
type absentError struct{ chain Chain }

func (a absentError) Error() string { return a.chain.Text + " has no value" }
func (a absentError) Unwrap() error { return ErrAbsent }

// Read follows the chain through the environment: one reading, or as many as
// its wildcards have matches, in order.
func (c Chain) Read(env Env) []Reading {
	var root any
	switch c.Root {
	case "result":
		root = env.Result
	case "steps":
		root = env.Steps
	case "inputs":
		root = env.Inputs
	case "passed":
		root = env.Passed
	case "failed":
		root = env.Failed
	case "unsure":
		root = env.Unsure
	}
	return follow(nil, "", root, SplitPointer(c.Pointer))
}

func follow(out []Reading, at string, v any, path []string) []Reading {
	if len(path) == 0 {
		return append(out, Reading{Pointer: at, Value: v})
	}
	name := path[0]
	if name == "*" {
		switch x := v.(type) {
		case []any:
			for i, e := range x {
				out = follow(out, at+"/"+strconv.Itoa(i), e, path[1:])
			}
			return out
		case map[string]any:
			for _, k := range slices.Sorted(maps.Keys(x)) {
				out = follow(out, at+"/"+escapePointer(k), x[k], path[1:])
			}
			return out
		}
		return append(out, Reading{Pointer: at + joinPointer(path), Missing: true})
	}
	next, ok := Member(v, name)
	if !ok {
		return append(out, Reading{Pointer: at + joinPointer(path), Missing: true})
	}
	if list, ok := v.([]any); ok && strings.HasPrefix(name, "-") {
		i, _ := strconv.Atoi(name) // it was there
		name = strconv.Itoa(len(list) + i)
	}
	return follow(out, at+"/"+escapePointer(name), next, path[1:])
}

// Member is what a decoded JSON value holds under a name, or a list under an
// index, counted from the end if it is negative.
func Member(v any, name string) (any, bool) {
	switch x := v.(type) {
	case map[string]any:
		next, ok := x[name]
		return next, ok
	case map[string]bool:
		next, ok := x[name]
		return next, ok
	case []any:
		i, err := strconv.Atoi(name)
		if err == nil && i < 0 {
			i += len(x)
		}
		if err != nil || i < 0 || i >= len(x) {
			return nil, false
		}
		return x[i], true
	case json.RawMessage:
		var dec any
		if json.Unmarshal(x, &dec) != nil {
			return nil, false
		}
		return Member(dec, name)
	}
	return nil, false
}

// SplitPointer returns the names of a JSON pointer.
func SplitPointer(p string) []string {
	if p == "" {
		return nil
	}
	parts := strings.Split(strings.TrimPrefix(p, "/"), "/")
	for i, s := range parts {
		parts[i] = strings.ReplaceAll(strings.ReplaceAll(s, "~1", "/"), "~0", "~")
	}
	return parts
}

func escapePointer(s string) string {
	return strings.ReplaceAll(strings.ReplaceAll(s, "~", "~0"), "/", "~1")
}

func joinPointer(path []string) string {
	var b strings.Builder
	for _, s := range path {
		b.WriteString("/" + escapePointer(s))
	}
	return b.String()
}

// Holds computes a condition.
func (e *Expr) Holds(env Env) (bool, error) {
	v, err := e.Eval(env)
	if err != nil {
		return false, err
	}
	b, ok := v.(bool)
	if !ok {
		return false, fmt.Errorf("its value is %v, which is neither true nor false", v)
	}
	return b, nil
}

// Path is the chain's pointer, name by name.
func (c Chain) Path() []string { return SplitPointer(c.Pointer) }

// Name says what a reading of the chain is called in expressions.
func (c Chain) Name(r Reading) string {
	if !strings.Contains(c.Pointer, "*") {
		return c.Text
	}
	return strings.Join(SplitPointer(r.Pointer), ".")
}
