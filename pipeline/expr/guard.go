package expr

import (
	"errors"
	"fmt"
	"math"
	"reflect"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
)

// closer rewrites the expression of a gate so that what it computes fails
// closed too: a number that is compared must be finite (NaN makes a negated
// comparison true, x/0 is +Inf), and a list that is looked through must not be
// empty (`all([], ...)` is true, `mean([])` is 0). That the values it reads
// are there and finite, the gate has seen before.
type closer struct{}

const (
	finiteName = "finite"
	filledName = "filled"
)

func guards() []expr.Option {
	return []expr.Option{
		expr.Function(finiteName, finiteNumber, new(func(float64) float64), new(func(int) float64)),
		expr.Function(filledName, filledList, new(func([]any) []any)),
		expr.Patch(closer{}),
	}
}

// Visit implements ast.Visitor.
func (closer) Visit(n *ast.Node) {
	switch x := (*n).(type) {
	case *ast.BinaryNode:
		switch x.Operator {
		case "<", "<=", ">", ">=", "==", "!=":
			wrapNumber(&x.Left)
			wrapNumber(&x.Right)
		case "/", "**", "^": // a function could hide it: min(1/0, 5) is 5
			wrap(n, finiteName)
		}
	case *ast.BuiltinNode:
		switch x.Name {
		case "all", "none", "any", "one", "sum", "reduce", "find", "findLast", "first", "last",
			"mean", "median", "min", "max":
			for i := range x.Arguments {
				wrapList(&x.Arguments[i])
			}
		}
	}
}

// wrapNumber guards what was computed; what was read or written needs none.
func wrapNumber(n *ast.Node) {
	switch (*n).(type) {
	case *ast.BinaryNode, *ast.BuiltinNode, *ast.UnaryNode, *ast.ConditionalNode, *ast.CallNode:
	default:
		return
	}
	switch (*n).Type().Kind() {
	case reflect.Float64, reflect.Int:
		wrap(n, finiteName)
	}
}

func wrapList(n *ast.Node) {
	if _, ok := (*n).(*ast.PredicateNode); ok || (*n).Type().Kind() != reflect.Slice {
		return
	}
	wrap(n, filledName)
}

func wrap(n *ast.Node, name string) {
	if c, ok := (*n).(*ast.CallNode); ok {
		if id, ok := c.Callee.(*ast.IdentifierNode); ok && id.Value == name {
			return
		}
	}
	ast.Patch(n, &ast.CallNode{Callee: &ast.IdentifierNode{Value: name}, Arguments: []ast.Node{*n}})
}

func finiteNumber(args ...any) (any, error) {
	var f float64
	switch x := args[0].(type) {
	case float64:
		f = x
	case int:
		f = float64(x)
	default:
		return nil, fmt.Errorf("%v is not a number", x)
	}
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return nil, fmt.Errorf("what is compared is %v", f)
	}
	return f, nil
}

func filledList(args ...any) (any, error) {
	list, ok := args[0].([]any)
	if !ok || len(list) == 0 {
		return nil, errors.New("the list that it looks through is empty")
	}
	return list, nil
}
