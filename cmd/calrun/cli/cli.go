// Package cli is the command calrun as a library: flags, output and exit
// codes around package pipeline. A program with kinds of its own is a main
// function that hands them to [Main] behind those of steps.Builtin.
//
// Two rules hold for every verb. With --json, standard output carries exactly
// one JSON document, also after an error; without it, the answer for people.
// Progress and logs go to standard error. The exit code is that of the class
// of what happened: see [pipeline.ExitPass] and its neighbours.
package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"calrun/pipeline"
	"calrun/pipeline/suggest"

	"github.com/hashicorp/go-multierror"
	"github.com/spf13/cobra"
)

// Process is what a command has of the system around it.
type Process struct {
	Args     []string // without the program's name
	In       io.Reader
	Out, Err io.Writer
	Getenv   func(string) string
	Signals  <-chan os.Signal // the first one stops cleanly, the second one at once; nil: never
}

// System is the process that this program is. It takes over ^C and SIGTERM,
// and the end of the terminal, unless nohup has told it to outlive that.
func System() Process {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) {
		signal.Notify(signals, syscall.SIGHUP)
	}
	return Process{Args: os.Args[1:], In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Getenv: os.Getenv, Signals: signals}
}

// Main runs one command and returns its exit code. It does not return after
// a second interrupt: that one ends the process.
func Main(p Process, kinds ...pipeline.Kind) int {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	done := make(chan struct{})
	defer close(done)
	go watch(p, cancel, done)

	a := &app{kinds: pipeline.NewKinds(kinds...), code: pipeline.ExitPass, mask: &pipeline.Mask{}}
	out, problems := a.mask.Writer(p.Out), a.mask.Writer(p.Err)
	p.Out, p.Err = out, problems
	a.Process = p
	defer func() { _ = errors.Join(out.Flush(), problems.Flush()) }() // a stream that is gone takes no complaint about it
	if a.Getenv == nil {
		a.Getenv = func(string) string { return "" }
	}
	root := a.root()
	root.SetArgs(p.Args)
	root.SetIn(p.In)
	root.SetOut(p.Out)
	root.SetErr(p.Err)
	if err := cmp.Or(root.ExecuteContext(ctx), a.noHelp); err != nil {
		return a.complain(err)
	}
	return a.code
}

// errStopped is why a context ends after an interrupt.
var errStopped = errors.New("stopped by the user")

// watch turns the first signal into a clean stop and the second into an end.
func watch(p Process, cancel context.CancelCauseFunc, done <-chan struct{}) {
	for stops := 0; ; stops++ {
		select {
		case <-done:
			return
		case <-p.Signals:
			if stops > 0 {
				fmt.Fprintln(p.Err, "stopped at once; calrun resume goes on")
				os.Exit(pipeline.ExitInterrupted)
			}
			fmt.Fprintln(p.Err, "stopping cleanly; once more stops at once")
			cancel(errStopped)
		}
	}
}

// app is one call of the command.
type app struct {
	Process
	kinds *pipeline.Kinds
	mask  *pipeline.Mask // stands before Out and Err
	json  bool
	dir   string // --dir
	code  int

	noHelp error // why there is no help, which cobra has no place for
}

// root is the command with all its verbs.
func (a *app) root() *cobra.Command {
	var askedVersion bool
	c := &cobra.Command{
		Use:   "calrun",
		Short: "Compare a simulator of LLM serving with a real engine",
		Long: `calrun measures an engine, simulates the same requests, compares the two,
judges the difference, applies a remedy where the plan has one, and ends with
a verdict that another person can reproduce. A plan (YAML) says all of it.

Exit codes: 0 pass; 1 a gate failed for good; 2 the plan or the command line is
wrong; 3 a step could not work; 4 inconclusive; 5 a verification did not match;
130 interrupted.`,
		Example: `  calrun run plans/quickstart.yaml      measure, simulate, compare, judge
  calrun plan plans/quickstart.yaml     what that would do, before it does it
  calrun show                           the newest run
  calrun report latest -o report.html   its page`,
		SilenceErrors: true, SilenceUsage: true,
		Args: cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			switch {
			case len(args) > 0:
				return noVerb(c, args[0])
			case askedVersion:
				return a.tellVersion()
			}
			return c.Help()
		},
	}
	c.Flags().BoolVar(&askedVersion, "version", false, "say which calrun this is")
	c.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usageError{fmt.Errorf("%w (%s --help lists the flags)", err, c.CommandPath())}
	})
	c.CompletionOptions.HiddenDefaultCmd = true
	c.SetHelpCommand(helpVerb())
	help := c.HelpFunc()
	c.SetHelpFunc(func(asked *cobra.Command, given []string) {
		if rest := asked.Flags().Args(); asked == c && len(rest) > 0 {
			a.noHelp = noVerb(c, rest[0])
			return
		}
		help(asked, given)
	})
	c.PersistentFlags().BoolVar(&a.json, "json", false, "print one JSON document on standard output")
	c.PersistentFlags().StringVar(&a.dir, "dir", "", "folder of runs (default: .calrun beside the plan)")
	for _, g := range []struct {
		title string
		verbs []*cobra.Command
	}{
		{"From a plan to a verdict", []*cobra.Command{a.initVerb(), a.probeVerb(), a.validateVerb(), a.planVerb(), a.runVerb(), a.resumeVerb()}},
		{"What a run was", []*cobra.Command{a.showVerb(), a.historyVerb(), a.reportVerb(), a.compareVerb(), a.whyVerb(), a.eventsVerb(), a.verifyVerb()}},
		{"Kept and handed on", []*cobra.Command{a.acceptVerb(), a.reproduceVerb(), a.packVerb(), a.unpackVerb(), a.exportVerb(), a.gcVerb()}},
		{"Parts and words", []*cobra.Command{a.kindsVerb(), a.schemaVerb(), a.stepVerb(), a.importVerb(), a.emulateVerb(), a.selftestVerb(), a.versionVerb()}},
	} {
		c.AddGroup(&cobra.Group{ID: g.title, Title: g.title + ":"})
		for _, verb := range g.verbs {
			verb.GroupID = g.title
			c.AddCommand(verb)
		}
	}
	c.SetHelpCommandGroupID("Parts and words")
	return c
}

// helpVerb explains a verb, or the whole command.
func helpVerb() *cobra.Command {
	return &cobra.Command{
		Use:   "help [VERB]",
		Short: "Explain a verb",
		RunE: func(c *cobra.Command, given []string) error {
			verb, rest, err := c.Root().Find(given)
			if err != nil || len(rest) > 0 {
				return noVerb(c.Root(), given[0])
			}
			return verb.Help()
		},
	}
}

// noVerb is the error of a verb that root does not have.
func noVerb(root *cobra.Command, name string) error {
	var known []string
	for _, verb := range root.Commands() {
		if verb.IsAvailableCommand() {
			known = append(known, verb.Name())
		}
	}
	return usageError{fmt.Errorf("there is no verb %q%s (calrun --help lists them)", name, didYouMean(name, known))}
}

// didYouMean is a question to append to an error, empty if nothing known is
// near to what was written.
func didYouMean(written string, known []string) string {
	if near := suggest.DidYouMean(written, known); near != "" {
		return "; " + near
	}
	return ""
}

// usageError is a command line, or a plan, that is wrong.
type usageError struct{ error }

// Unwrap gives the error inside.
func (e usageError) Unwrap() error { return e.error }

// complain says what went wrong and returns the exit code of its class.
func (a *app) complain(err error) int {
	code := pipeline.ExitError
	var usage usageError
	switch {
	case errors.As(err, &usage), errors.Is(err, pipeline.ErrInput), errors.Is(err, pipeline.ErrRefused):
		code = pipeline.ExitUsage
	case errors.Is(err, pipeline.ErrChanged):
		code = pipeline.ExitMismatch
	case errors.Is(err, errStopped), errors.Is(err, context.Canceled):
		code = pipeline.ExitInterrupted
	}
	if a.json {
		doc := map[string]any{"calrun": "v1", "exit": code, "error": err.Error()}
		if ps := problemsIn(err); ps != nil {
			doc["problems"] = ps
		}
		if werr := a.print(doc); werr == nil {
			return code
		}
	}
	fmt.Fprintln(a.Err, "calrun: "+err.Error())
	return code
}

// problemsIn are the problems of a plan that an error holds.
func problemsIn(err error) []pipeline.Problem {
	var all *multierror.Error
	if !errors.As(err, &all) {
		return nil
	}
	var out []pipeline.Problem
	for _, e := range all.Errors {
		var p pipeline.Problem
		if errors.As(e, &p) {
			out = append(out, p)
		}
	}
	return out
}

// args wraps a rule on arguments so that breaking it is the caller's error.
func args(rule cobra.PositionalArgs) cobra.PositionalArgs {
	return func(c *cobra.Command, given []string) error {
		if err := rule(c, given); err != nil {
			if len(given) == 0 {
				return usageError{fmt.Errorf("%s wants an argument; use calrun %s", c.Name(), c.Use)}
			}
			return usageError{fmt.Errorf("%s does not take these arguments: %s; use calrun %s", c.Name(), strings.Join(given, " "), c.Use)}
		}
		return nil
	}
}
