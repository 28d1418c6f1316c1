package cli

import (
	"fmt"
	"time"

	"calrun/pipeline"

	"github.com/spf13/cobra"
)

// historyVerb lists all runs.
func (a *app) historyVerb() *cobra.Command {
	return &cobra.Command{
		Use:     "history",
		Short:   "List all runs, the newest last",
		Example: "  calrun history\n  calrun history --json | jq '.runs[-1].verdict'",
		Args:    args(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			store, err := a.store()
			if err != nil {
				return err
			}
			return a.history(store)
		},
	}
}

// entry is a run in the history.
type entry struct {
	Run     string    `json:"run"`
	Plan    string    `json:"plan,omitempty"`
	Verdict string    `json:"verdict,omitempty"`
	Exit    int       `json:"exit"`
	Rounds  int       `json:"rounds"`
	Opened  time.Time `json:"opened"`
	Seconds float64   `json:"seconds"` // worked on it
	Error   string    `json:"error,omitempty"`
}

func (a *app) history(store *pipeline.Store) error {
	ids, err := runs(store)
	if err != nil {
		return err
	}
	entries := []entry{}
	for _, id := range ids {
		e := entry{Run: id, Exit: pipeline.ExitError}
		past, err := store.ReadRun(id)
		if err != nil {
			e.Error = err.Error()
		} else {
			s := past.State
			e = entry{
				Run: id, Plan: s.Plan, Verdict: string(s.Verdict), Exit: exitOf(s), Rounds: len(s.Rounds),
				Opened: s.Opened, Seconds: s.Active.Seconds(),
			}
		}
		entries = append(entries, e)
	}
	if a.json {
		return a.print(map[string]any{"calrun": "v1", "runs": entries})
	}
	if len(entries) == 0 {
		fmt.Fprintln(a.Out, "no runs yet")
		return nil
	}
	rows := [][]string{{"run", "plan", "verdict", "exit", "rounds", "took"}}
	for _, e := range entries {
		verdict := e.Verdict
		switch {
		case e.Error != "":
			verdict = "unreadable"
		case e.Exit == pipeline.ExitInterrupted:
			verdict = "not finished"
		case verdict == "":
			verdict = "error"
		}
		took := brief(time.Duration(e.Seconds * float64(time.Second)))
		rows = append(rows, []string{e.Run, e.Plan, verdict, fmt.Sprint(e.Exit), fmt.Sprint(e.Rounds), took})
	}
	err = columns(a.Out, rows)
	for _, e := range entries {
		if e.Error != "" {
			fmt.Fprintln(a.Out, e.Error)
		}
	}
	return err
}
