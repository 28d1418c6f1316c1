package cli

import (
	"errors"
	"fmt"

	"calrun/pipeline"

	"github.com/spf13/cobra"
)

// kindsVerb lists the kinds, or one with all its fields.
func (a *app) kindsVerb() *cobra.Command {
	return &cobra.Command{
		Use:     "kinds [KIND]",
		Short:   "List the kinds of step, or one with every field",
		Example: "  calrun kinds\n  calrun kinds hardware-run",
		Args:    args(cobra.MaximumNArgs(1)),
		RunE: func(_ *cobra.Command, given []string) error {
			if len(given) == 0 {
				return a.listKinds()
			}
			k, err := a.kind(given[0])
			if err != nil {
				return err
			}
			return a.showKind(k)
		},
	}
}

// kind finds a kind by its name.
func (a *app) kind(name string) (*pipeline.Kind, error) {
	if k, ok := a.kinds.Lookup(name); ok {
		return k, nil
	}
	if name == "gate" { // plans write it after uses, but it measures and makes nothing
		return nil, usageError{errors.New("a gate is no kind of step, the plan language itself has it: of, assert, warn and routes; calrun schema plan has its fields")}
	}
	var known []string
	for _, k := range a.kinds.All() {
		known = append(known, k.Name)
	}
	return nil, usageError{fmt.Errorf("there is no kind %q%s", name, didYouMean(name, known))}
}

// kindDoc is a kind in the document of `kinds`.
type kindDoc struct {
	Name    string         `json:"name"`
	Doc     string         `json:"doc"`
	Version int            `json:"version"`
	Repeat  string         `json:"repeat"`
	With    map[string]any `json:"with,omitempty"` // JSON schema
	Result  []field        `json:"result,omitempty"`
}

func (a *app) listKinds() error {
	var docs []kindDoc
	rows := [][]string{}
	for _, k := range a.kinds.All() {
		docs = append(docs, kindDoc{Name: k.Name, Doc: k.Doc, Version: k.Version, Repeat: k.Repeat.String()})
		rows = append(rows, []string{k.Name, k.Repeat.String(), k.Doc})
	}
	if a.json {
		return a.print(map[string]any{"calrun": "v1", "kinds": docs})
	}
	return columns(a.Out, rows)
}

func (a *app) showKind(k *pipeline.Kind) error {
	result, err := k.ResultType(k.New())
	if err != nil {
		return fmt.Errorf("kind %s: %w", k.Name, err)
	}
	fields := resultFields("", result)
	if a.json {
		return a.print(kindDoc{Name: k.Name, Doc: k.Doc, Version: k.Version, Repeat: k.Repeat.String(), With: k.Schema(), Result: fields})
	}
	fmt.Fprintf(a.Out, "%s (version %d, %s)\n%s\n\nwith:\n", k.Name, k.Version, k.Repeat, k.Doc)
	if err := a.fields(withFields("", k.Schema(), 0)); err != nil {
		return err
	}
	fmt.Fprintln(a.Out, "\nresult:")
	if _, declared := k.New().(pipeline.ResultTyper); declared && len(fields) == 0 {
		fmt.Fprintln(a.Out, "  as declared by its `result`")
		return nil
	}
	return a.fields(fields)
}

func (a *app) fields(fields []field) error {
	if len(fields) == 0 {
		fmt.Fprintln(a.Out, "  nothing")
		return nil
	}
	var rows [][]string
	for _, f := range fields {
		typ := f.Type
		if f.Rule != "" {
			typ += ", " + f.Rule
		}
		rows = append(rows, []string{"  " + f.Name, typ, f.Doc})
	}
	return columns(a.Out, rows)
}
