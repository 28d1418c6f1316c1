package cli

import (
	"fmt"

	"github.com/spf13/cobra"
)

// exitMismatch is the exit code of a verification that did not match.
const exitMismatch = 5

// verifyVerb reads a run again and holds it against its digests.
func (a *app) verifyVerb() *cobra.Command {
	return &cobra.Command{
		Use:   "verify [RUN]",
		Short: "Check that nothing of a run was changed since it was written",
		Long: `Read a run again: the chain of its journal, and every file that it took or made,
each against its digest. One changed byte is named, and the exit code is 5. Without
RUN: the newest one. This proves integrity, not who wrote it.`,
		Example: "  calrun verify\n  calrun verify 20261124-0930 --json",
		Args:    args(cobra.MaximumNArgs(1)),
		RunE: func(_ *cobra.Command, given []string) error {
			store, id, err := a.find(given)
			if err != nil {
				return err
			}
			checked, problems, err := store.Verify(id)
			if err != nil {
				problems = []string{err.Error()}
			}
			if len(problems) > 0 {
				a.code = exitMismatch
			}
			if a.json {
				return a.print(map[string]any{
					"calrun": "v1", "exit": a.code, "run": id, "artefacts": checked, "problems": append([]string{}, problems...),
				})
			}
			for _, p := range problems {
				fmt.Fprintln(a.Out, p)
			}
			if len(problems) == 0 {
				fmt.Fprintf(a.Out, "run %s is as it was written: its journal and %d artefacts\n", id, checked)
			}
			return nil
		},
	}
}
