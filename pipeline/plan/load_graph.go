package plan

import (
	"container/heap"
	"sort"
	"strings"
)

// graph orders the steps, and names the cycles that keep it from doing so.
func (l *loader) graph() {
	p := l.plan
	p.after, p.before = map[string][]string{}, map[string][]string{}
	for _, d := range l.all() {
		seen := map[string]bool{}
		for _, e := range l.edges[d.Name] {
			if !seen[e.to] {
				seen[e.to] = true
				p.after[d.Name] = append(p.after[d.Name], e.to)
				if !d.Remedy {
					p.before[e.to] = append(p.before[e.to], d.Name)
				}
			}
		}
		sort.Strings(p.after[d.Name])
	}
	if len(l.sorted()) < len(p.Steps) {
		l.cycles()
	}
}

// sorted fills the plan's order: Kahn's algorithm with the file order as
// tie-break. Steps on a cycle are left out.
func (l *loader) sorted() []*Decl {
	p := l.plan
	place := make(map[string]int, len(p.Steps))
	open := make(map[string]int, len(p.Steps))
	ready := &intHeap{}
	for i, d := range p.Steps {
		place[d.Name] = i
		if open[d.Name] = len(p.after[d.Name]); open[d.Name] == 0 {
			heap.Push(ready, i)
		}
	}
	for ready.Len() > 0 {
		d := p.Steps[heap.Pop(ready).(int)]
		p.order = append(p.order, d)
		for _, name := range p.before[d.Name] {
			if open[name]--; open[name] == 0 {
				heap.Push(ready, place[name])
			}
		}
	}
	return p.order
}

// cycles complains once about each cycle that a depth-first walk in file
// order closes, at the reference that closes it.
func (l *loader) cycles() {
	const white, grey, black = 0, 1, 2
	colour := map[string]int{}
	var stack []string
	var visit func(name string)
	visit = func(name string) {
		colour[name] = grey
		stack = append(stack, name)
		for _, e := range l.edges[name] {
			switch colour[e.to] {
			case white:
				visit(e.to)
			case grey:
				l.cycle(stack, e)
			}
		}
		stack = stack[:len(stack)-1]
		colour[name] = black
	}
	for _, d := range l.plan.Steps {
		if colour[d.Name] == white {
			visit(d.Name)
		}
	}
}

func (l *loader) cycle(stack []string, e edge) {
	from := len(stack) - 1
	for stack[from] != e.to {
		from--
	}
	round := append(append([]string(nil), stack[from:]...), e.to)
	if len(round) == 2 {
		l.Complain(e.at, e.path, e.to+" waits for itself", "remove the reference")
		return
	}
	l.Complain(e.at, e.path, "the steps wait for each other: "+strings.Join(round, " -> "), "remove one of these references; a value that comes back from a later step is a remedy's `sets`")
}

type intHeap struct{ sort.IntSlice }

func (h *intHeap) Push(x any) { h.IntSlice = append(h.IntSlice, x.(int)) }

func (h *intHeap) Pop() any {
	last := h.Len() - 1
	x := h.IntSlice[last]
	h.IntSlice = h.IntSlice[:last]
	return x
}
