package expr

import (
	"unicode/utf8"

	"calrun/pipeline/field"
	"calrun/pipeline/suggest"

	"github.com/expr-lang/expr/ast"
)

// pointer is # or a leading dot inside a closure.
func (w *reader) pointer(x *ast.PointerNode, at int) link {
	if len(w.elems) == 0 || x.Name == "index" {
		return nothing
	}
	if x.Name != "" { // #acc of reduce
		return link{isChain: true, silent: true, made: true, typ: field.Type{}}
	}
	l := w.elems[len(w.elems)-1]
	l.at = at
	return l
}

// builtin visits a function of the language. What it returns is the chain of
// its elements where it only picks among them.
func (w *reader) builtin(x *ast.BuiltinNode) link {
	if why, off := w.off(x.Name); off {
		w.flaw(x.Location().From, utf8.RuneCountInString(x.Name), why, "%s is switched off here", x.Name)
		return nothing
	}
	if len(x.Arguments) == 0 {
		return nothing
	}
	if x.Name == "len" {
		// A list cut or filtered before it is counted has been looked through.
		list := w.visit(x.Arguments[0])
		w.note(list, !list.moved)
		return nothing
	}
	if !closure(x.Name) {
		first := w.walk(x.Arguments[0])
		w.walkAll(x.Arguments[1:]...)
		if (x.Name == "first" || x.Name == "last") && first.isChain && !first.silent {
			w.wild = true
			return w.picked(first, map[string]string{"first": "0", "last": "-1"}[x.Name], "["+x.Name+"]")
		}
		switch x.Name {
		case "sort", "reverse", "uniq", "take":
			w.wild = true
			first.moved = true
			return first
		}
		return nothing
	}
	list := w.walk(x.Arguments[0])
	elem := link{isChain: true, silent: true, typ: field.Type{}}
	if list.isChain && !list.silent {
		elem = list.below("*", "[*]", elemOf(list.typ))
	}
	w.wild = true
	w.elems = append(w.elems, elem)
	var body link
	for i, arg := range x.Arguments[1:] {
		l := w.walk(arg)
		if i == 0 {
			body = l
		}
	}
	w.elems = w.elems[:len(w.elems)-1]
	switch x.Name {
	case "filter", "sortBy":
		list.moved = true
		return list
	case "find", "findLast":
		return elem
	case "map":
		if body.isChain && !body.silent && len(body.path) > 0 {
			return link{isChain: true, silent: true, typ: field.Type{Sort: field.List, Elem: &body.typ}}
		}
	}
	return nothing
}

func (w *reader) off(name string) (why string, off bool) {
	if why, off = switchedOff[name]; off {
		return why, true
	}
	if w.scope.Gate {
		why, off = offInGates[name]
	}
	return why, off
}

func (w *reader) call(x *ast.CallNode, at int) {
	name := ""
	switch c := x.Callee.(type) {
	case *ast.IdentifierNode:
		name = c.Value
	case *ast.MemberNode:
		before := len(w.flaws)
		w.walk(c.Node)
		if len(w.flaws) == before {
			w.flaw(at, 1, "write f(x)", "a value has no functions")
		}
		return
	}
	if why, off := w.off(name); off {
		w.flaw(at, utf8.RuneCountInString(name), why, "%s is switched off here", name)
		return
	}
	known := []string{"all", "none", "any", "one", "filter", "map", "count", "sum", "min", "max", "mean", "median", "abs", "len", "round", "floor", "ceil", "first", "last", "find", "reduce", "sortBy"}
	w.flaw(at, utf8.RuneCountInString(name), suggest.DidYouMeanOr(name, known, "there are"), "unknown function %q", name)
	w.walkAll(x.Arguments...)
}
