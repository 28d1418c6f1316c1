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
	Seconds float64   `json:"seconds"` // worked on it; since it was opened, while it runs
	Running bool      `json:"running,omitempty"`
	Error   string    `json:"error,omitempty"`
}

// entryOf is a run in the history. One that is at work is as one that was
// interrupted to who only knows exit codes.
func entryOf(store *pipeline.Store, r pipeline.Summary) entry {
	e := entry{
		Run: r.Run, Plan: r.Plan, Verdict: string(r.Verdict), Exit: r.Exit, Rounds: r.Rounds,
		Opened: r.Opened, Seconds: r.Seconds, Error: r.Error,
	}
	e.Running = r.Unfinished() && store.Working(r.Run)
	if e.Running {
		e.Verdict, e.Seconds = "", time.Since(r.Opened).Seconds()
	}
	if e.Running || r.Error == "" && !r.Closed {
		e.Exit = pipeline.ExitInterrupted
	}
	return e
}

func (a *app) history(store *pipeline.Store) error {
	all, err := store.Index()
	if err != nil {
		return err
	}
	entries := make([]entry, len(all))
	for i, r := range all {
		entries[i] = entryOf(store, r)
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
		verdict, exit := e.Verdict, fmt.Sprint(e.Exit)
		switch {
		case e.Error != "":
			verdict = "unreadable"
		case e.Running:
			verdict, exit = "running", "-"
		case e.Exit == pipeline.ExitInterrupted:
			verdict = "not finished"
		case verdict == "":
			verdict = "error"
		}
		took := brief(time.Duration(e.Seconds * float64(time.Second)))
		rows = append(rows, []string{e.Run, e.Plan, verdict, exit, fmt.Sprint(e.Rounds), took})
	}
	err = columns(a.Out, rows)
	for _, e := range entries {
		if e.Error != "" {
			fmt.Fprintln(a.Out, e.Error)
		}
	}
	return err
}
