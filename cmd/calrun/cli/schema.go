package cli

import (
	"github.com/spf13/cobra"
)

// schemaVerb prints the schemas of what calrun reads and writes.
func (a *app) schemaVerb() *cobra.Command {
	return &cobra.Command{
		Use:   "schema [plan|run|event|compare|exec|step [KIND]]",
		Short: "Print the JSON schema of plans, or of what calrun exchanges with other programs",
		Long: `Print a JSON schema (draft-07), with all kinds that this program knows:

  plan         a plan, for editors: put it into a file and begin a plan with
               # yaml-language-server: $schema=plan.v1.json
  run          what run, resume and show print with --json
  event        a line of run --events and of calrun events
  compare      what compare prints with --json
  exec         what a program of exec reads on stdin and prints on stdout
  step KIND    what calrun step KIND reads with --with, and its result`,
		Args: args(cobra.MaximumNArgs(2)),
		RunE: func(_ *cobra.Command, given []string) error {
			sch, err := a.schemaNamed(given)
			if err != nil {
				return err
			}
			return a.print(sch)
		},
	}
}
