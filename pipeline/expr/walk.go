package expr

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"unicode/utf8"

	"calrun/pipeline/field"
	"calrun/pipeline/suggest"

	"github.com/expr-lang/expr/ast"
)

// reader finds the member chains of an expression, checks their names against
// the types of the plan, and refuses what fails open.
type reader struct {
	src    string
	scope  *Scope
	chains []Chain
	seen   map[string]int
	flaws  []Flaw
	elems  []link                    // # of the closures around
	vars   map[string]link           // of let
	used   map[string][]field.Member // what steps and inputs the expression names
	wild   bool
}

// link is a node that is a chain so far: where it is and what type it has.
type link struct {
	isChain bool
	root    string
	path    []string
	text    string
	typ     field.Type
	at      int
	silent  bool // reported already; it is only passed on
	made    bool // it was computed: where its parts come from is not known
	moved   bool // a list whose elements are not where they were read: an index into it may mean any of them
}

var nothing = link{}

// closure says whether a function is one whose second argument is evaluated for
// every element of the first.
func closure(name string) bool {
	switch name {
	case "all", "none", "any", "one", "filter", "map", "count", "sum", "find", "findIndex",
		"findLast", "findLastIndex", "groupBy", "sortBy", "reduce":
		return true
	}
	return false
}

// walk visits a node whose value is used as it stands: a chain that ends here
// is read.
func (w *reader) walk(n ast.Node) link {
	l := w.visit(n)
	w.read(l)
	return l
}

func (w *reader) walkAll(nodes ...ast.Node) {
	for _, n := range nodes {
		if n != nil {
			w.walk(n)
		}
	}
}

// read notes a chain whose value is used.
func (w *reader) read(l link) { w.note(l, false) }

// note notes a chain. One whose elements are looked at anywhere is not
// counted, whatever asks for its length beside that.
func (w *reader) note(l link, counted bool) {
	if !l.isChain || l.silent {
		return
	}
	c := Chain{Root: l.root, Pointer: joinPointer(l.path), Text: l.text, Type: l.typ, Counted: counted}
	key := c.Root + c.Pointer
	if i, ok := w.seen[key]; ok {
		w.chains[i].Counted = w.chains[i].Counted && counted
		return
	}
	w.seen[key] = len(w.chains)
	w.chains = append(w.chains, c)
}

func (w *reader) flaw(at, width int, suggest, format string, args ...any) {
	w.flaws = append(w.flaws, Flaw{At: at, Width: max(1, width), Message: fmt.Sprintf(format, args...), Suggest: suggest})
}

// visit returns the chain that a node is, without noting it.
func (w *reader) visit(n ast.Node) link {
	at := n.Location().From
	switch x := n.(type) {
	case *ast.IdentifierNode:
		return w.identifier(x, at)
	case *ast.MemberNode:
		return w.member(x, at)
	case *ast.ChainNode:
		return w.visit(x.Node)
	case *ast.PointerNode:
		return w.pointer(x, at)
	case *ast.UnaryNode:
		w.walk(x.Node)
	case *ast.BinaryNode:
		if x.Operator == "??" && w.scope.Gate {
			w.flaw(at, 2, "a gate must see that a value is missing", "?? is switched off here")
		}
		w.walkAll(x.Left, x.Right)
	case *ast.ConditionalNode:
		w.walkAll(x.Cond, x.Exp1, x.Exp2)
	case *ast.BuiltinNode:
		return w.builtin(x)
	case *ast.CallNode:
		w.call(x, at)
	case *ast.SliceNode:
		base := w.visit(x.Node)
		w.walkAll(x.From, x.To)
		w.wild = true
		base.moved = true
		return base
	case *ast.PredicateNode:
		return w.walk(x.Node)
	case *ast.VariableDeclaratorNode:
		return w.let(x)
	case *ast.SequenceNode:
		w.walkAll(x.Nodes...)
	case *ast.ArrayNode:
		w.walkAll(x.Nodes...)
	case *ast.MapNode:
		w.walkAll(x.Pairs...)
	case *ast.PairNode:
		w.walkAll(x.Key, x.Value)
	}
	return nothing
}

func (w *reader) let(x *ast.VariableDeclaratorNode) link {
	v := w.walk(x.Value)
	if w.vars == nil {
		w.vars = map[string]link{}
	}
	old, had := w.vars[x.Name]
	w.vars[x.Name] = v
	out := w.walk(x.Expr)
	if had {
		w.vars[x.Name] = old
	} else {
		delete(w.vars, x.Name)
	}
	out.isChain = false // its value has a name of its own: let the program compute it
	return out
}

func (w *reader) identifier(x *ast.IdentifierNode, at int) link {
	if v, ok := w.vars[x.Value]; ok {
		if !v.isChain {
			v = link{isChain: true, silent: true, made: true, typ: field.Type{}}
		}
		return v
	}
	sc := w.scope
	if sc.Result != nil {
		t, ok := sc.Result.Member(x.Value)
		if !ok {
			w.unknownName(x.Value, at)
			return nothing
		}
		return link{isChain: true, root: "result", path: []string{x.Value}, text: x.Value, typ: t, at: at}
	}
	t, ok := sc.Roots[x.Value]
	if !ok {
		hint := suggest.DidYouMeanOr(x.Value, slices.Sorted(maps.Keys(sc.Roots)), "known here")
		w.flaw(at, utf8.RuneCountInString(x.Value), hint, "unknown name %q", x.Value)
		return nothing
	}
	return link{isChain: true, root: x.Value, text: x.Value, typ: t, at: at}
}

// unknownName complains about a name that the result of an assertion lacks.
func (w *reader) unknownName(name string, at int) {
	known := w.scope.Result.Names()
	hint := suggest.DidYouMean(name, known)
	switch {
	case hint != "":
	case name == "steps" || name == "inputs" || name == "passed" || name == "failed" || name == "unsure":
		hint = "only the `when` of a route sees it: here stand the fields of its result, " + suggest.AndMore(known, 12)
	case name == w.scope.Of:
		hint = "leave it out: the names of its result stand alone"
	default:
		hint = "it has " + suggest.AndMore(known, 16)
	}
	w.flaw(at, utf8.RuneCountInString(name), hint, "unknown name %q in the result of %s", name, w.scope.Of)
}

func (w *reader) member(x *ast.MemberNode, at int) link {
	base := w.visit(x.Node)
	if x.Optional && w.scope.Gate {
		w.flaw(at, 1, "a gate must see that a value is missing", "?. is switched off here")
		return nothing
	}
	var name string
	index := false
	switch p := x.Property.(type) {
	case *ast.StringNode:
		name = p.Value
		at = p.Location().From
	case *ast.IntegerNode:
		name, index = strconv.Itoa(p.Value), true
	case *ast.UnaryNode:
		if i, ok := p.Node.(*ast.IntegerNode); ok && p.Operator == "-" {
			name, index = "-"+strconv.Itoa(i.Value), true
			break
		}
		w.walk(x.Property)
		return w.wildcard(base)
	default:
		w.walk(x.Property)
		return w.wildcard(base)
	}
	if !base.isChain || base.made {
		if w.scope.Gate && len(w.flaws) == 0 {
			w.flaw(at, 1, "pick first, then choose: a ? b.ape < 0.1 : c.ape < 0.1", "a gate must see which value it reads, and this is a part of one just made")
		}
		return nothing
	}
	if base.silent {
		return base
	}
	if index {
		return w.element(base, name, at)
	}
	return w.named(base, name, at)
}

// wildcard is a chain whose next name only a run knows: all of them are read.
func (w *reader) wildcard(base link) link {
	if !base.isChain || base.silent {
		return base
	}
	w.wild = true
	return base.below("*", "[...]", elemOf(base.typ))
}

// elemOf is the type of the elements of a list or map.
func elemOf(t field.Type) field.Type {
	if t.Elem != nil {
		return *t.Elem
	}
	return field.Type{}
}

func (l link) below(name, text string, t field.Type) link {
	out := l
	out.path = append(append([]string(nil), l.path...), name)
	out.text = l.text + text
	out.typ = t
	out.moved = false
	return out
}

func (w *reader) element(base link, name string, at int) link {
	if base.typ.Sort != field.List && base.typ.Sort != field.Any {
		w.flaw(at, 1, "", "%s is %s, not a list", base.text, base.typ.Article())
		return nothing
	}
	return w.picked(base, name, "["+name+"]")
}

// picked is an element of a list: the one at the place if the list is as it
// was read, else any.
func (w *reader) picked(base link, place, text string) link {
	if base.moved {
		w.wild, place = true, "*"
	}
	return base.below(place, text, elemOf(base.typ))
}

// named follows a constant name.
func (w *reader) named(base link, name string, at int) link {
	t, known := base.typ.Member(name)
	if base.typ.Sort == field.Any && w.scope.Lookup != nil && len(base.path) == 0 {
		var bad *Flaw
		if t, bad = w.scope.Lookup(base.root, name); bad != nil {
			w.flaw(at, utf8.RuneCountInString(name), bad.Suggest, "%s", bad.Message)
			return nothing
		}
		known = true
		w.use(base.root, name, asValue(t))
	}
	if !known {
		w.noField(base, name, at)
		return nothing
	}
	return base.below(name, memberText(name), t)
}

func memberText(name string) string {
	for i, r := range name {
		if r != '_' && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (i == 0 || r < '0' || r > '9') {
			return "[" + strconv.Quote(name) + "]"
		}
	}
	return "." + name
}

func (w *reader) noField(base link, name string, at int) {
	switch base.typ.Sort {
	case field.Object:
		what := base.text
		if base.root == "steps" && len(base.path) == 1 {
			what = "the result of " + base.path[0]
		}
		w.flaw(at, utf8.RuneCountInString(name), suggest.DidYouMeanOr(name, base.typ.Names(), "it has"), "unknown name %q in %s", name, what)
	case field.File:
		w.flaw(at, utf8.RuneCountInString(name), "an expression cannot look into it; "+base.text+" itself is what a field takes", "%s is %s", base.text, base.typ.Article())
	case field.List:
		w.flaw(at, utf8.RuneCountInString(name), fmt.Sprintf("all(%s, .%s < 0.1) looks at every one", base.text, name), "%s is %s", base.text, base.typ.Article())
	default:
		w.flaw(at, utf8.RuneCountInString(name), "", "%s is %s, it has no %s", base.text, base.typ.Article(), name)
	}
}

// use notes that the expression names a step or an input, for the compiler's
// environment.
func (w *reader) use(root, name string, t field.Type) {
	if w.used == nil {
		w.used = map[string][]field.Member{}
	}
	for _, m := range w.used[root] {
		if m.Name == name {
			return
		}
	}
	w.used[root] = append(w.used[root], field.Member{Name: name, Type: t})
}

// asValue is the type that an expression computes with: the path of a file is
// text there.
func asValue(t field.Type) field.Type {
	if t.Sort == field.File {
		return field.Type{Sort: field.Text}
	}
	return t
}
