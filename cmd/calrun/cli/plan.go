package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"calrun/pipeline"

	"github.com/spf13/cobra"
)

// planVerb says what a run would do.
func (a *app) planVerb() *cobra.Command {
	var inputs []string
	var draw, from string
	c := &cobra.Command{
		Use:   "plan PLAN [--graph]",
		Short: "Say what a run would do, before it does it",
		Long: `Say what would run, what would be reused and why, where routes lead, how often each
step may run in the worst case, and how long the hardware would be busy. Nothing
is written. No engine is asked, except with --from: whether what was measured may
be used again is up to its engine.`,
		Example: `  calrun plan plans/llama3-70b-4xa100.yaml
  calrun plan plan.yaml --graph             edges and routes as text
  calrun plan plan.yaml --graph=dot | dot -Tsvg > plan.svg
  calrun plan plan.yaml --graph=mermaid`,
		Args: args(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, given []string) error {
			plan, err := a.load(given[0], inputs, false)
			if err != nil {
				return err
			}
			if draw != "" {
				return a.draw(plan, draw)
			}
			store, err := a.storeOf(given[0])
			if err != nil {
				return err
			}
			if from != "" {
				if from, err = runID(store, from); err != nil {
					return fmt.Errorf("--from: %w", err)
				}
			}
			return a.forecast(c.Context(), plan, store, from)
		},
	}
	c.Flags().StringArrayVar(&inputs, "input", nil, "a value for an input, as name=value; may be repeated")
	c.Flags().StringVar(&from, "from", "", "run whose measured results a run would use again, as in run --from")
	c.Flags().StringVar(&draw, "graph", "", "draw the graph instead: text, dot or mermaid")
	c.Flags().Lookup("graph").NoOptDefVal = "text"
	return c
}

func (a *app) draw(plan *pipeline.Plan, format string) error {
	text, err := graph(plan, format)
	if err != nil {
		return err
	}
	if a.json {
		return a.print(map[string]any{"calrun": "v1", "plan": plan.Name, "format": format, "graph": text})
	}
	_, err = fmt.Fprint(a.Out, text)
	return err
}

func (a *app) forecast(ctx context.Context, plan *pipeline.Plan, store *pipeline.Store, from string) error {
	f, err := pipeline.Preview(ctx, plan, store, pipeline.RunOptions{From: from})
	if err != nil {
		return err
	}
	if a.json {
		return a.print(struct {
			Calrun string `json:"calrun"`
			*pipeline.Forecast
		}{"v1", f})
	}
	fmt.Fprintf(a.Out, "%s\n\n", strings.TrimSpace(plan.Name+"  "+plan.Doc))
	rows := [][]string{{"step", "kind", "after", "first round", "runs at most", "hardware, each"}}
	for _, s := range f.Steps {
		rows = append(rows, []string{s.Name, s.Kind, orDash(strings.Join(s.After, " ")), action(s), fmt.Sprint(s.Worst), hardware(s)})
	}
	if err := columns(a.Out, rows); err != nil {
		return err
	}
	a.reasons(f)
	a.gatesOf(plan)
	a.routesOf(f)
	a.worst(plan, f)
	return nil
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func action(s pipeline.StepForecast) string {
	if s.Action == pipeline.ActRouted {
		return "when routed"
	}
	return string(s.Action)
}

func hardware(s pipeline.StepForecast) string {
	switch {
	case s.Seconds != nil:
		return brief(time.Duration(*s.Seconds * float64(time.Second)))
	case s.Repeat == pipeline.Measured.String():
		return "unknown"
	}
	return "-"
}

// reasons says why steps are run or reused, steps that wait for others left
// out, since their edges say it, and what they share with other runs.
func (a *app) reasons(f *pipeline.Forecast) {
	fmt.Fprintln(a.Out)
	for _, s := range f.Steps {
		if s.Action == pipeline.ActRun || s.Action == pipeline.ActReuse || s.Action == pipeline.ActBlock || s.Action == pipeline.ActUnknown && len(s.After) == 0 {
			fmt.Fprintf(a.Out, "%s: %s: %s\n", s.Name, s.Action, s.Why)
		}
	}
	for _, s := range f.Steps {
		if len(s.Locks) > 0 {
			fmt.Fprintf(a.Out, "%s has for itself on this host, or waits for it: %s\n", s.Name, strings.Join(s.Locks, ", "))
		}
	}
}

// gatesOf lists what the gates assert.
func (a *app) gatesOf(plan *pipeline.Plan) {
	for _, d := range plan.Order() {
		if d.Gate == nil {
			continue
		}
		looks := ""
		if d.Gate.Looks > 1 {
			looks = fmt.Sprintf(", %d looks in the worst case", d.Gate.Looks)
		}
		fmt.Fprintf(a.Out, "\ngate %s of %s%s\n", d.Name, d.Gate.Of, looks)
		for _, as := range d.Gate.Assert {
			fmt.Fprintf(a.Out, "  assert %s: %s\n", as.Name, as.Expr.Source())
		}
		for _, as := range d.Gate.Warn {
			fmt.Fprintf(a.Out, "  warn %s: %s\n", as.Name, as.Expr.Source())
		}
	}
}

// routesOf lists the routes in the order in which they are tried.
func (a *app) routesOf(f *pipeline.Forecast) {
	if len(f.Routes) == 0 {
		return
	}
	fmt.Fprintln(a.Out, "\nroutes, the first that holds is taken after a round")
	for i, r := range f.Routes {
		to := r.Run
		if to == "" {
			to = "set"
		} else {
			to = "run " + to + ", set"
		}
		fmt.Fprintf(a.Out, "  %d. %s: when %s\n     %s %s; at most %d ×; again: %s\n",
			i+1, r.Gate, r.When, to, strings.Join(r.Sets, ", "), r.Max, orDash(strings.Join(r.Reruns, ", ")))
		if len(r.Forgets) > 0 {
			fmt.Fprintf(a.Out, "     forgets what %s set\n", strings.Join(r.Forgets, ", "))
		}
	}
}

// worst says what the run may cost.
func (a *app) worst(plan *pipeline.Plan, f *pipeline.Forecast) {
	rounds := "rounds"
	if f.Rounds == 1 {
		rounds = "round"
	}
	fmt.Fprintf(a.Out, "\nworst case: %d %s", f.Rounds, rounds)
	if plan.Limits.Wall > 0 {
		fmt.Fprintf(a.Out, ", %s of wall time", brief(plan.Limits.Wall))
	}
	fmt.Fprintln(a.Out)
	switch took := time.Duration(f.Seconds * float64(time.Second)); {
	case f.Seconds > 0 && len(f.Unknown) > 0:
		fmt.Fprintf(a.Out, "hardware: about %s, and %s that cannot say\n", brief(took), strings.Join(f.Unknown, ", "))
	case f.Seconds > 0:
		fmt.Fprintf(a.Out, "hardware: about %s\n", brief(took))
	case len(f.Unknown) > 0:
		fmt.Fprintf(a.Out, "hardware: unknown for %s\n", strings.Join(f.Unknown, ", "))
	default:
		fmt.Fprintln(a.Out, "hardware: none")
	}
	for _, s := range f.Steps {
		if s.Cost == "" || s.Worst == 0 {
			continue
		}
		times := ""
		if s.Worst > 1 {
			times = fmt.Sprintf(", up to %d times", s.Worst)
		}
		fmt.Fprintf(a.Out, "%s: %s%s\n", s.Name, s.Cost, times)
	}
	for _, name := range f.Missing {
		in := plan.Input(name)
		fmt.Fprintf(a.Out, "input %s (%s) has no value yet: run needs --input %s=...\n", name, in.Type, name)
	}
}
