package cli

import (
	"fmt"

	"github.com/spf13/cobra"
)

// showVerb shows a run.
func (a *app) showVerb() *cobra.Command {
	return &cobra.Command{
		Use:     "show [RUN]",
		Short:   "Show a run: its comparison, gates, routes and verdict",
		Long:    "Show a run, finished or not. Without RUN: the newest one. RUN may be as much of an id\nas no other run has, or latest.",
		Example: "  calrun show\n  calrun show 20261124-0930 --json",
		Args:    args(cobra.MaximumNArgs(1)),
		RunE: func(_ *cobra.Command, given []string) error {
			past, err := a.past(given)
			if err != nil {
				return err
			}
			path := existing(past)
			if a.json {
				return a.print(documentOf(past.State, path))
			}
			page := a.page(past)
			fmt.Fprintf(a.Out, "run %s of %s\n\n", past.State.Run, past.State.Plan)
			return a.outcome(page, path)
		},
	}
}
