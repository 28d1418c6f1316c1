package cli

import (
	"fmt"
	"runtime/debug"

	"calrun/pipeline"

	"github.com/spf13/cobra"
)

// validateVerb checks plans.
func (a *app) validateVerb() *cobra.Command {
	var inputs []string
	c := &cobra.Command{
		Use:   "validate PLAN...",
		Short: "Check plans: all problems at once, each with its line",
		Long: `Check plans without running anything. Every problem is named with its file, line
and column, the line itself, and what to do. Inputs without a value are no
problem here: run asks for them.`,
		Example: "  calrun validate plans/*.yaml\n  calrun validate plan.yaml --json",
		Args:    args(cobra.MinimumNArgs(1)),
		RunE: func(_ *cobra.Command, given []string) error {
			values, err := keyValues(inputs)
			if err != nil {
				return err
			}
			return a.validate(given, values)
		},
	}
	c.Flags().StringArrayVar(&inputs, "input", nil, "a value for an input, as name=value; may be repeated")
	return c
}

// checked is a plan that was validated.
type checked struct {
	File     string             `json:"file"`
	OK       bool               `json:"ok"`
	Problems []pipeline.Problem `json:"problems"`
}

func (a *app) validate(files []string, values map[string]string) error {
	// What is read here is looked at once and the process ends: its garbage is
	// not worth collecting as often as a long run's.
	defer debug.SetGCPercent(debug.SetGCPercent(400))
	var all []checked
	broken := 0
	for _, file := range files {
		_, problems := pipeline.Load(file, pipeline.LoadOptions{Kinds: a.kinds, Inputs: values})
		ok := problems.Err() == nil
		if !ok {
			broken++
			a.code = pipeline.ExitUsage
		}
		all = append(all, checked{file, ok, append([]pipeline.Problem{}, problems...)})
		if a.json {
			continue
		}
		for _, p := range problems {
			fmt.Fprintln(a.Out, p.String())
		}
		if ok {
			fmt.Fprintf(a.Out, "%s: ok\n", file)
		}
	}
	if a.json {
		return a.print(map[string]any{"calrun": "v1", "exit": a.code, "plans": all})
	}
	if len(files) > 1 && broken > 0 {
		fmt.Fprintf(a.Out, "%d of %d plans have problems\n", broken, len(files))
	}
	return nil
}
