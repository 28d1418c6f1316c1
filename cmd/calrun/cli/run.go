package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"calrun/internal/report"
	"calrun/pipeline"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"
)

// runVerb runs a plan.
func (a *app) runVerb() *cobra.Command {
	var inputs []string
	var from string
	var out outlets
	c := &cobra.Command{
		Use:   "run PLAN [--input k=v] [--from RUN]",
		Short: "Run a plan to its verdict",
		Long: `Run a plan: its steps, its gates, the remedies that routes call, until there is a
verdict. Progress goes to standard error; the comparison, the gates and the
verdict to standard output; a page with all of it is written beside the run.

^C stops cleanly (exit 130) and calrun resume goes on; a second ^C stops at
once, and calrun resume still goes on.`,
		Example: `  calrun run plans/quickstart.yaml
  calrun run plans/imported.yaml --input measurement=./rtx4090 --json
  calrun run plan.yaml --from latest      what was measured then, if nothing changed`,
		Args: args(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, given []string) error {
			specs, err := reportSpecs(out.reports)
			if err != nil {
				return err
			}
			plan, err := a.load(given[0], inputs, true)
			if err != nil {
				a.githubProblems(specs, err)
				return err
			}
			store, err := a.storeOf(given[0])
			if err != nil {
				return err
			}
			if from != "" {
				if from, err = runID(store, from); err != nil {
					return fmt.Errorf("--from: %w", err)
				}
				if _, err = store.ReadRun(from); err != nil {
					return usageError{fmt.Errorf("--from: %w", err)}
				}
			}
			return a.carry(c.Context(), store, out, func(ctx context.Context, r *pipeline.Runner) (*pipeline.State, error) {
				return r.Run(ctx, plan, pipeline.RunOptions{From: from})
			})
		},
	}
	c.Flags().StringArrayVar(&inputs, "input", nil, "a value for an input of the plan, as name=value; may be repeated")
	out.flags(c)
	c.Flags().StringVar(&from, "from", "", "run whose measured results are used again where fields and engine are the same")
	return c
}

// resumeVerb goes on with a run.
func (a *app) resumeVerb() *cobra.Command {
	var out outlets
	c := &cobra.Command{
		Use:   "resume [RUN]",
		Short: "Go on with a run, whatever ended it",
		Long: `Go on with a run that was interrupted, killed or ended because a step could not
work. What was finished is not done again. The plan is the one that the run
began with. Without RUN: the newest run that is not finished.`,
		Example: "  calrun resume\n  calrun resume 20261124-0930",
		Args:    args(cobra.MaximumNArgs(1)),
		RunE: func(c *cobra.Command, given []string) error {
			store, err := a.store()
			if err != nil {
				return err
			}
			var id string
			if len(given) == 0 {
				id, err = unfinished(store)
			} else {
				id, err = runID(store, given[0])
			}
			if err != nil {
				return err
			}
			p, err := store.ReadRun(id)
			if err != nil {
				return err
			}
			if !p.State.Unfinished() {
				return usageError{fmt.Errorf("run %s is finished (%s); calrun run starts a new one", id, p.State.Verdict)}
			}
			a.tellChanged(p)
			return a.carry(c.Context(), store, out, func(ctx context.Context, r *pipeline.Runner) (*pipeline.State, error) {
				return r.Resume(ctx, id)
			})
		},
	}
	out.flags(c)
	return c
}

// outlets are what other systems are told of a run.
type outlets struct {
	reports []string
	events  string
}

func (o *outlets) flags(c *cobra.Command) {
	c.Flags().StringArrayVar(&o.reports, "report", nil, "junit=FILE, prometheus=FILE or github (annotations and job summary); may be repeated")
	c.Flags().StringVar(&o.events, "events", "", "append each event of the run to this file as a JSON line, as it happens; - is standard output")
}

// tellChanged tells the user that a resumed run does not follow the plan file
// as it is now.
func (a *app) tellChanged(p *pipeline.Past) {
	file := filepath.Join(p.State.Dir, filepath.Base(p.State.File))
	now, err := os.ReadFile(file)
	if err == nil && !bytes.Equal(now, p.PlanSource) {
		fmt.Fprintf(a.Err, "%s was changed since: the run goes on with the plan that it began with; calrun run starts one with the new\n", p.State.File)
	}
}

// load reads a plan; its warnings go to standard error. An error lists all
// problems. whole refuses inputs without a value, as a run must.
func (a *app) load(path string, inputs []string, whole bool) (*pipeline.Plan, error) {
	values, err := keyValues(inputs)
	if err != nil {
		return nil, err
	}
	plan, problems := pipeline.Load(path, pipeline.LoadOptions{Kinds: a.kinds, Inputs: values})
	if err := problems.Err(); err != nil {
		return nil, usageError{err}
	}
	if !whole {
		return plan, nil
	}
	if err := plan.Ready(); err != nil {
		return nil, usageError{fmt.Errorf("%s cannot run here:\n%w", path, err)}
	}
	for _, w := range problems.Warnings() {
		fmt.Fprintln(a.Err, w.String())
	}
	return plan, nil
}

// keyValues reads name=value texts.
func keyValues(inputs []string) (map[string]string, error) {
	values := map[string]string{}
	for _, in := range inputs {
		name, value, ok := strings.Cut(in, "=")
		if !ok || name == "" {
			return nil, usageError{fmt.Errorf("--input %q is not name=value", in)}
		}
		if _, twice := values[name]; twice {
			return nil, usageError{fmt.Errorf("--input %s is given twice", name)}
		}
		values[name] = value
	}
	return values, nil
}

// carry runs or resumes with progress on standard error, writes the page, and
// prints the outcome.
func (a *app) carry(ctx context.Context, store *pipeline.Store, out outlets, work func(context.Context, *pipeline.Runner) (*pipeline.State, error)) error {
	specs, err := reportSpecs(out.reports)
	if err != nil {
		return err
	}
	sink, err := a.eventsTo(out.events)
	if err != nil {
		return err
	}
	show := newProgress(a.Err, a.look(a.Err))
	observe := func(u pipeline.Update) {
		sink.update(u)
		show.update(u)
	}
	runner := &pipeline.Runner{
		Kinds: a.kinds, Store: store, Log: a.logger(show), Observe: observe, Version: version(), Mask: a.mask,
	}
	state, err := work(ctx, runner)
	show.close()
	if err != nil {
		return err
	}
	past, err := store.ReadRun(state.Run)
	if err != nil {
		return err
	}
	page := a.page(past)
	path, err := writePage(past, page)
	if err != nil {
		fmt.Fprintln(a.Err, "calrun: "+err.Error())
		path = "" // there is none
	}
	a.code = exitOf(state)
	err = errors.Join(sink.close(state.Run), a.reports(specs, ending{past: past, plan: a.planOf(past), page: path}))
	if a.json {
		return errors.Join(a.print(documentOf(past.State, path)), err)
	}
	return errors.Join(a.outcome(page, path), err)
}

// outcome prints a run for people.
func (a *app) outcome(page report.Page, path string) error {
	t := a.look(a.Out)
	if err := report.Table(a.Out, page, t.width, t.colour); err != nil {
		return err
	}
	if path == "" {
		return nil
	}
	_, err := fmt.Fprintf(a.Out, "\nreport: %s\n", relative(path))
	return err
}

// writeFile writes a file that is either whole or not there.
func writeFile(path string, write func(io.Writer) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".calrun-*")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer func() { _ = os.Remove(f.Name()) }() // gone already when all went well
	err = errors.Join(write(f), f.Chmod(0o644), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// relative shortens a path that lies below the current folder.
func relative(path string) string {
	here, err := os.Getwd()
	if err != nil {
		return path
	}
	if rel, err := filepath.Rel(here, path); err == nil && !strings.HasPrefix(rel, "..") {
		return rel
	}
	return path
}

// logger writes to standard error, through the progress lines where there
// are some.
func (a *app) logger(w io.Writer) zerolog.Logger {
	console := zerolog.ConsoleWriter{Out: w, NoColor: !a.look(a.Err).colour, TimeFormat: "15:04:05"}
	return zerolog.New(console).Level(zerolog.InfoLevel).With().Timestamp().Logger()
}
