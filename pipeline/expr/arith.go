package expr

import (
	"errors"
	"fmt"
	"math"

	"github.com/expr-lang/expr"
)

// failClosed makes division and powers errors where the language yields Inf
// or NaN: a comparison with either has an answer, and a gate would take it.
func failClosed() []expr.Option {
	types := []any{
		new(func(float64, float64) float64), new(func(float64, int) float64),
		new(func(int, float64) float64), new(func(int, int) float64),
	}
	return []expr.Option{
		expr.Function("divided", func(args ...any) (any, error) {
			a, b := asFloat(args[0]), asFloat(args[1])
			if b == 0 {
				return nil, errors.New("division by zero")
			}
			return arithmetic(a/b, "a division")
		}, types...),
		expr.Function("powered", func(args ...any) (any, error) {
			return arithmetic(math.Pow(asFloat(args[0]), asFloat(args[1])), "a power")
		}, types...),
		expr.Operator("/", "divided"),
		expr.Operator("**", "powered"),
		expr.Operator("^", "powered"),
	}
}

func asFloat(v any) float64 {
	if i, ok := v.(int); ok {
		return float64(i)
	}
	f, _ := v.(float64)
	return f
}

func arithmetic(v float64, what string) (any, error) {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return nil, fmt.Errorf("%s is %v", what, v)
	}
	return v, nil
}
