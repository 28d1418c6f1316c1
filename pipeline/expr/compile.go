package expr

import (
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"calrun/pipeline/field"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/conf"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/parser"
	"github.com/expr-lang/expr/types"
	"github.com/expr-lang/expr/vm"
)

// Budgets of one expression. Nobody writes one of this size by hand.
const (
	maxNodes  = 2000
	maxMemory = 1 << 20 // cells of the virtual machine
)

// switchedOff are the functions that no plan has, and why.
var switchedOff = map[string]string{
	"now":       "a verdict cannot depend on the clock",
	"date":      "a verdict cannot depend on the clock",
	"duration":  "times are numbers of seconds",
	"timezone":  "a verdict cannot depend on where it is given",
	"keys":      "the order of a map's keys is not fixed",
	"values":    "the order of a map's values is not fixed: a sum over them varies",
	"toPairs":   "the order of a map's keys is not fixed",
	"fromPairs": "a map made in an expression has no checked names",
}

// offInGates are further ones that hide a missing value from a gate.
var offInGates = map[string]string{
	"get":      "a missing name would be no error",
	"fromJSON": "what it yields has no checked type",
}

// Scope is what an expression may read and yield.
type Scope struct {
	// result is what an assertion or a remedy's sets is over, of the step of.
	Result *field.Type
	Of     string
	Roots  map[string]field.Type // of when and references: steps, inputs, passed, ...
	Gate   bool                  // fail closed: no ?. and no ??
	// Lookup finds what a root of unknown type holds under a name, or says what
	// is wrong with the name; the flaw has no place.
	Lookup func(root, name string) (field.Type, *Flaw)
	Syntax *Syntax // shared since it is costly; made if nil
}

// Syntax is the language without what is switched off.
type Syntax struct{ cfg *conf.Config }

// NewSyntax is the syntax of gates, or of everything else.
func NewSyntax(gate bool) *Syntax {
	cfg := conf.CreateNew()
	cfg.MaxNodes = maxNodes
	for name := range switchedOff {
		cfg.Disabled[name] = true
	}
	if gate {
		for name := range offInGates {
			cfg.Disabled[name] = true
		}
	}
	return &Syntax{cfg}
}

// Flaw is what is wrong with an expression; At counts characters in it.
type Flaw struct {
	At, Width        int
	Message, Suggest string
}

// Compile compiles an expression. A lone chain gets no program: it is
// read directly.
func Compile(src string, sc *Scope) (*Expr, []Flaw) {
	if strings.TrimSpace(src) == "" {
		return nil, []Flaw{{Message: "the expression is empty"}}
	}
	syn := sc.Syntax
	if syn == nil {
		syn = NewSyntax(sc.Gate)
	}
	cfg := syn.cfg
	tree, err := parser.ParseWithConfig(src, cfg)
	if err != nil {
		return nil, []Flaw{syntaxFlaw(src, err)}
	}
	w := &reader{src: src, scope: sc, seen: map[string]int{}}
	top := w.walk(tree.Node)
	if len(w.flaws) > 0 {
		return nil, w.flaws
	}
	e := &Expr{source: src, chains: w.chains, typ: top.typ}
	if top.isChain && len(w.chains) == 1 && !w.wild {
		return e, nil
	}
	env := types.Map{}
	if sc.Result != nil {
		// Of a large result only what is read: the conversion costs more than
		// all the rest.
		for _, c := range w.chains {
			name := SplitPointer(c.Pointer)[0]
			t, _ := sc.Result.Member(name)
			env[name] = exprType(t)
		}
	} else {
		for root, t := range sc.Roots {
			if root == "steps" || root == "inputs" {
				t = field.Type{Sort: field.Object, Members: w.used[root]}
			}
			env[root] = exprType(t)
		}
	}
	opts := append(failClosed(), expr.Env(env), expr.MaxNodes(maxNodes))
	for name := range cfg.Disabled {
		opts = append(opts, expr.DisableBuiltin(name))
	}
	if sc.Gate {
		// Twice: the guards blur the types of what they wrap.
		if _, err := expr.Compile(src, opts...); err != nil {
			return nil, []Flaw{typeFlaw(err)}
		}
		opts = append(opts, guards()...)
	}
	prog, err := expr.Compile(src, opts...)
	if err != nil {
		return nil, []Flaw{typeFlaw(err)}
	}
	e.prog = prog
	if !top.isChain {
		e.typ = natureType(prog.Node())
	}
	return e, nil
}

// run evaluates the compiled program.
func (e *Expr) run(env Env) (any, error) {
	var names map[string]any
	if env.Result != nil {
		var ok bool
		if names, ok = env.Result.(map[string]any); !ok {
			return nil, fmt.Errorf("%s: the result is not an object", e.source)
		}
	} else {
		names = map[string]any{
			"steps": orEmpty(env.Steps), "inputs": orEmpty(env.Inputs),
			"passed": bools(env.Passed), "failed": bools(env.Failed), "unsure": bools(env.Unsure),
		}
	}
	m := vm.VM{MemoryBudget: maxMemory}
	v, err := m.Run(e.prog, names)
	if err != nil {
		var at *file.Error
		if errors.As(err, &at) {
			return nil, fmt.Errorf("%s: character %d: %s", e.source, at.Column+1, strings.TrimPrefix(at.Message, "runtime error: "))
		}
		return nil, fmt.Errorf("%s: %w", e.source, err)
	}
	return v, nil
}

func orEmpty(m map[string]any) map[string]any {
	if m == nil {
		return map[string]any{}
	}
	return m
}

func bools(m map[string]bool) map[string]any {
	out := make(map[string]any, len(m))
	for k, v := range m {
		out[k] = v
	}
	return out
}

// exprType is a type as the expression compiler knows it: strict maps, every
// number a float64.
func exprType(t field.Type) types.Type {
	switch t.Sort {
	case field.Bool:
		return types.Bool
	case field.Number:
		return types.Float64
	case field.Text, field.Span:
		return types.String
	case field.File:
		return types.Map{}
	case field.List:
		return types.Array(exprType(*t.Elem))
	case field.Map:
		return types.Map{types.Extra: exprType(*t.Elem)}
	case field.Object:
		return exprFields(t)
	}
	return types.Any
}

func exprFields(t field.Type) types.Map {
	m := make(types.Map, len(t.Members))
	for _, f := range t.Members {
		m[f.Name] = exprType(f.Type)
	}
	return m
}

// natureType is the type of a compiled expression, as far as it is known.
func natureType(n ast.Node) field.Type {
	rt := n.Type()
	if rt == nil {
		return field.Type{}
	}
	switch rt.Kind() {
	case reflect.Bool:
		return field.Type{Sort: field.Bool}
	case reflect.String:
		return field.Type{Sort: field.Text}
	case reflect.Float32, reflect.Float64, reflect.Int, reflect.Int64, reflect.Int32:
		return field.Type{Sort: field.Number}
	case reflect.Slice, reflect.Array:
		elem := field.Type{}
		return field.Type{Sort: field.List, Elem: &elem}
	}
	return field.Type{}
}

var (
	withPercent = regexp.MustCompile(`([0-9]+(?:\.[0-9]+)?)\s*%`)
	lonely      = regexp.MustCompile(`[^=<>!]=[^=~]`)
	singleAnd   = regexp.MustCompile(`[^&]&[^&]`)
	upperWords  = regexp.MustCompile(`\b(AND|OR|NOT)\b`)
	unexpected  = regexp.MustCompile(`^unexpected token ([A-Za-z]+)(?:\("(.*)"\))?$`)
)

// syntaxFlaw says in a plan's words what the parser did not understand.
func syntaxFlaw(src string, err error) Flaw {
	f := Flaw{Message: err.Error(), Width: 1}
	var at *file.Error
	if errors.As(err, &at) {
		f.At, f.Message = at.From, at.Message
		f.Width = max(1, at.To-at.From)
	}
	if m := unexpected.FindStringSubmatch(f.Message); m != nil {
		f.Message = fmt.Sprintf("did not expect %q here", m[2])
		if m[1] == "EOF" {
			f.Message = "the expression ends too early"
		}
	}
	switch {
	case upperWords.MatchString(src):
		loc := upperWords.FindStringIndex(src)
		word := src[loc[0]:loc[1]]
		f.At, f.Width = utf8.RuneCountInString(src[:loc[0]]), len(word)
		f.Message = fmt.Sprintf("%s is not an operator", word)
		f.Suggest = fmt.Sprintf("write %s", map[string]string{"AND": "&&", "OR": "||", "NOT": "not"}[word])
	case withPercent.MatchString(src):
		m := withPercent.FindStringSubmatchIndex(src)
		f.At, f.Width = utf8.RuneCountInString(src[:m[0]]), m[1]-m[0]
		n, _ := strconv.ParseFloat(src[m[2]:m[3]], 64) // the pattern lets only numbers by
		f.Message = fmt.Sprintf("%s: an expression has no percent sign", strings.TrimSpace(src[m[0]:m[1]]))
		f.Suggest = fmt.Sprintf("write %g", n/100)
	case singleAnd.MatchString(src):
		m := singleAnd.FindStringIndex(src)
		f.At, f.Width = utf8.RuneCountInString(src[:m[0]])+1, 1
		f.Message, f.Suggest = "& is not an operator", "write &&"
	case lonely.MatchString(src) && !strings.Contains(src, "let "):
		m := lonely.FindStringIndex(src)
		f.At, f.Width = utf8.RuneCountInString(src[:m[0]])+1, 1
		f.Message, f.Suggest = "= is not a comparison", "write == to compare"
	case strings.Count(src, "(") != strings.Count(src, ")"):
		f.Suggest = "a parenthesis is not closed, or closed twice"
	}
	return f
}

var (
	mismatch = regexp.MustCompile(`^invalid operation: (\S+) \(mismatched types (.+) and (.+)\)`)
	unaryBad = regexp.MustCompile(`^invalid operation: (\S+) \(mismatched type (.+)\)`)
	noMember = regexp.MustCompile(`^type (.+) has no field (\S+)`)
)

// typeFlaw says in a plan's words what the type checker refused.
func typeFlaw(err error) Flaw {
	f := Flaw{Message: err.Error(), Width: 1}
	var at *file.Error
	if errors.As(err, &at) {
		f.At, f.Message = at.From, at.Message
		f.Width = max(1, at.To-at.From)
	}
	if m := mismatch.FindStringSubmatch(f.Message); m != nil {
		left, right := word(m[2]), word(m[3])
		f.Message = fmt.Sprintf("%s cannot join %s and %s", m[1], left, right)
		switch {
		case left == "true or false" && strings.ContainsAny(m[1], "<>"):
			f.Suggest = "write a < x && x < b for a range"
		case (m[1] == "&&" || m[1] == "||") && left != right:
			f.Suggest = "compare the number first, as x < 0.05"
		case left == "text" && right == "number", left == "number" && right == "text":
			f.Suggest = "a number stands without quotes"
		}
	} else if m := unaryBad.FindStringSubmatch(f.Message); m != nil {
		f.Message = fmt.Sprintf("%s does not apply to a %s", m[1], word(m[2]))
	} else if m := noMember.FindStringSubmatch(f.Message); m != nil {
		f.Message = fmt.Sprintf("unknown name %q", m[2])
	}
	return f
}

// word is what a Go type is called in a plan.
func word(goType string) string {
	switch {
	case goType == "bool":
		return "true or false"
	case goType == "string":
		return "text"
	case strings.HasPrefix(goType, "float"), strings.HasPrefix(goType, "int"):
		return "number"
	case strings.HasPrefix(goType, "[]"):
		return "list"
	case strings.HasPrefix(goType, "map"):
		return "object"
	}
	return goType
}
