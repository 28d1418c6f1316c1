package cli

import (
	"calrun/pipeline"

	"github.com/spf13/cobra"
)

// schemaVerb prints the schema of plans.
func (a *app) schemaVerb() *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON schema of plans, with all kinds that this program knows",
		Long: `Print the JSON schema of plans, for editors: put it into a file and begin a plan with
# yaml-language-server: $schema=plan.v1.json`,
		Args: args(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			return a.print(pipeline.Schema(a.kinds))
		},
	}
}
