package cli

import (
	"fmt"
	"strings"

	"calrun/pipeline"
)

// graph draws a plan: what follows from what, and where routes lead.
func graph(p *pipeline.Plan, format string) (string, error) {
	switch format {
	case "text":
		return textGraph(p), nil
	case "dot":
		return dotGraph(p), nil
	case "mermaid":
		return mermaidGraph(p), nil
	}
	return "", usageError{fmt.Errorf("--graph %q: use text, dot or mermaid", format)}
}

// textGraph has a line for each step: what it comes after and what it is.
func textGraph(p *pipeline.Plan) string {
	var b strings.Builder
	for _, d := range p.Order() {
		fmt.Fprintf(&b, "%s (%s)", d.Name, d.Uses)
		if after := p.After(d.Name); len(after) > 0 {
			fmt.Fprintf(&b, " <- %s", strings.Join(after, ", "))
		}
		b.WriteByte('\n')
		if d.Gate == nil {
			continue
		}
		for _, r := range d.Gate.Routes {
			fmt.Fprintf(&b, "    when %s -> %s\n", r.When.Source(), leadsTo(p, r))
		}
	}
	return b.String()
}

// leadsTo says what a route does: its remedy or its own overrides, with the
// fields they change and how often it may be taken.
func leadsTo(p *pipeline.Plan, r *pipeline.Route) string {
	to, sets := r.Run, r.Set
	if d := p.Decl(r.Run); d != nil {
		sets = d.Sets
	}
	var fields []string
	for _, o := range sets {
		fields = append(fields, o.Target())
	}
	text := strings.TrimSpace(to + " sets " + strings.Join(fields, ", "))
	return fmt.Sprintf("%s, at most %d ×", text, r.Max)
}

// routeNode is the node that a route leads to: its remedy, or itself.
func routeNode(r *pipeline.Route) string {
	if r.Run != "" {
		return r.Run
	}
	return fmt.Sprintf("%s#%d", r.Gate, r.Index)
}

func dotGraph(p *pipeline.Plan) string {
	var b strings.Builder
	fmt.Fprintf(&b, "digraph %q {\n  rankdir=LR\n  node [shape=box, fontname=\"sans-serif\"]\n", p.Name)
	for _, d := range p.Order() {
		shape := "box"
		if d.Gate != nil {
			shape = "diamond"
		}
		fmt.Fprintf(&b, "  %q [shape=%s, label=\"%s\\n%s\"]\n", d.Name, shape, d.Name, d.Uses)
	}
	for _, d := range p.Remedies {
		fmt.Fprintf(&b, "  %q [style=dashed, label=\"%s\\n%s\"]\n", d.Name, d.Name, d.Uses)
	}
	for _, d := range p.Order() {
		for _, from := range p.After(d.Name) {
			fmt.Fprintf(&b, "  %q -> %q\n", from, d.Name)
		}
	}
	for _, r := range p.Routes() {
		fmt.Fprintf(&b, "  %q -> %q [style=dashed, label=%q]\n", r.Gate, routeNode(r), r.When.Source())
		for _, to := range changed(p, r) {
			fmt.Fprintf(&b, "  %q -> %q [style=dotted, constraint=false]\n", routeNode(r), to)
		}
	}
	b.WriteString("}\n")
	return b.String()
}

// changed are the steps that a route's overrides reach, each once.
func changed(p *pipeline.Plan, r *pipeline.Route) []string {
	sets := r.Set
	if d := p.Decl(r.Run); d != nil {
		sets = d.Sets
	}
	var out []string
	seen := map[string]bool{}
	for _, o := range sets {
		if !seen[o.Step] {
			seen[o.Step] = true
			out = append(out, o.Step)
		}
	}
	return out
}

func mermaidGraph(p *pipeline.Plan) string {
	var b strings.Builder
	b.WriteString("flowchart LR\n")
	id := func(name string) string {
		return "n_" + strings.NewReplacer("-", "_", "#", "_", ".", "_").Replace(name)
	}
	for _, d := range p.Order() {
		form := "  %s[\"%s<br/>%s\"]\n"
		if d.Gate != nil {
			form = "  %s{\"%s<br/>%s\"}\n"
		}
		fmt.Fprintf(&b, form, id(d.Name), d.Name, d.Uses)
	}
	for _, d := range p.Remedies {
		fmt.Fprintf(&b, "  %s([\"%s<br/>%s\"])\n", id(d.Name), d.Name, d.Uses)
	}
	for _, d := range p.Order() {
		for _, from := range p.After(d.Name) {
			fmt.Fprintf(&b, "  %s --> %s\n", id(from), id(d.Name))
		}
	}
	for _, r := range p.Routes() {
		if r.Run == "" {
			fmt.Fprintf(&b, "  %s([\"set\"])\n", id(routeNode(r)))
		}
		fmt.Fprintf(&b, "  %s -. \"%s\" .-> %s\n", id(r.Gate), strings.ReplaceAll(r.When.Source(), `"`, "'"), id(routeNode(r)))
		for _, to := range changed(p, r) {
			fmt.Fprintf(&b, "  %s -.-> %s\n", id(routeNode(r)), id(to))
		}
	}
	return b.String()
}
