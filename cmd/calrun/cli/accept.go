package cli

import (
	"errors"
	"fmt"
	"path/filepath"

	"calrun/pipeline"

	"github.com/spf13/cobra"
)

// acceptVerb writes the lock and the pack of a run.
func (a *app) acceptVerb() *cobra.Command {
	var verdict string
	var large bool
	c := &cobra.Command{
		Use:   "accept RUN [--verdict fail|inconclusive] [--large]",
		Short: "Write the lock and the pack of a run beside its plan",
		Long: `Accept a finished run as what its plan stands for: write <plan>.lock.yaml, what the
run was made of and what it found (readable in a git diff), and <plan>.pack, what
calrun reproduce needs from a fresh clone: what was measured, the profiles, what
programs from outside made, the journal. Both belong into git beside the plan.

Only a run that passed is accepted, unless --verdict names the one that it has. The
lock goes on with the history of the lock that is there: calrun compare on it shows
the drift. Digests prove that nothing was changed by mistake, not who wrote it.`,
		Example: "  calrun accept latest\n  calrun accept 20261124-0930 --verdict fail",
		Args:    args(cobra.ExactArgs(1)),
		RunE: func(_ *cobra.Command, given []string) error {
			if verdict != "" && verdict != string(pipeline.Fail) && verdict != string(pipeline.Inconclusive) {
				return usageError{fmt.Errorf("--verdict %s: a run that is accepted without having passed has the verdict fail or inconclusive", verdict)}
			}
			store, id, err := a.find(given)
			if err != nil {
				return err
			}
			out, err := store.Accept(id, pipeline.AcceptOptions{
				Kinds: a.kinds, Verdict: pipeline.Verdict(verdict), Large: large, Page: a.pageDigest,
			})
			if err != nil {
				return err
			}
			if a.json {
				return a.print(map[string]any{
					"calrun": "v1", "run": id, "verdict": out.Lock.Verdict, "lock": out.LockFile,
					"pack": out.PackFile, "bytes": out.Pack.Size, "accepted": len(out.Lock.History),
				})
			}
			_, err = fmt.Fprintf(a.Out, "accepted run %s (%s), number %d of its plan\n%s\n%s  %s\n", id, out.Lock.Verdict,
				len(out.Lock.History), relative(out.LockFile), relative(out.PackFile), byteCount(out.Pack.Size))
			return err
		},
	}
	c.Flags().StringVar(&verdict, "verdict", "", "accept a run that has this verdict instead of pass")
	c.Flags().BoolVar(&large, "large", false, fmt.Sprintf("also a pack of more than %d MB", pipeline.PackLimit>>20))
	return c
}

// pageDigest is the digest of a run's page without its provenance.
func (a *app) pageDigest(past *pipeline.Past) (string, error) { return a.page(past).Digest() }

// reproduceVerb checks an accepted run.
func (a *app) reproduceVerb() *cobra.Command {
	var large, engine, rerun bool
	var margin float64
	c := &cobra.Command{
		Use:   "reproduce LOCK|RUN [--engine | --rerun [--margin X]]",
		Short: "Check an accepted run: run again what is exact, compare every digest",
		Long: `Check an accepted run from its lock and the plan and pack beside it, as a fresh clone
has them: no engine, no simulator that is not calrun's own, no network. Exact and
seeded steps run again with what was measured, decided and set in the run (no route
is asked again), gates are judged again, and every digest down to the report's is
compared. A step whose program is not here, or is another one, is checked by digest
and called not re-run; so is what was measured. With --engine the engine of each
measurement is asked what it is: another one than then makes the run STALE, one that
does not answer leaves it open.

With --rerun what was measured is measured again as well, on the same engine, and each
cell (TTFT, TPOT, E2E: P50, P90, P95, P99, mean; throughput) is held against the
recorded repeats by two one-sided t-tests at 5 %: equivalent if the 90 % interval of
again/recorded lies inside 1/(1+margin) to 1+margin. Units are seeds (paired), repeats
of a replay, requests of a probe; less than 3 seeds or repeats decide nothing. The
measurement is equivalent if all medians, means and throughputs are, and different if
one cell is, tails included, by an interval that is wide enough for all cells together.

Exit codes: 0 all the same, or equivalent; 5 something differs (the first field or the
worst cell is named) or is stale; 4 nothing differs, but an engine could not be asked or
equivalence not be shown; 2 the command line is wrong; 3 it could not be checked.`,
		Example: "  calrun reproduce plans/plan.lock.yaml\n  calrun reproduce latest --json\n  calrun reproduce latest --rerun --margin 0.05",
		Args:    args(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, given []string) error {
			if !(margin > 0 && margin < 10) {
				return usageError{fmt.Errorf("--margin %g: how far a new measurement may be from the recorded one, above 0 and below 10; 0.1 is 10 %%", margin)}
			}
			if c.Flags().Changed("margin") && !rerun {
				return usageError{errors.New("--margin is for --rerun: without it nothing is measured")}
			}
			opt := pipeline.ReproduceOptions{
				Kinds: a.kinds, Log: a.logger(a.Err), Page: a.pageDigest, Limit: unpackLimit, Engine: engine, Rerun: rerun, Margin: margin,
			}
			if large {
				opt.Limit = 1 << 60
			}
			if !a.json {
				opt.Observe = func(c pipeline.Check) { a.tellCheck(c) }
			}
			out, err := a.reproduce(c, given[0], opt)
			if err != nil {
				return err
			}
			word := "REPRODUCED"
			switch {
			case !out.Match:
				word, a.code = "DIFFERENT", pipeline.ExitMismatch
			case out.Unsure:
				word, a.code = "INCONCLUSIVE", pipeline.ExitInconclusive
			}
			if a.json {
				return a.print(struct {
					Calrun string `json:"calrun"`
					Exit   int    `json:"exit"`
					*pipeline.Reproduction
				}{"v1", a.code, out})
			}
			_, err = fmt.Fprintf(a.Out, "%s  run %s of %s, verdict %s\n", word, out.Run, out.Plan, out.Verdict)
			return err
		},
	}
	c.Flags().BoolVar(&engine, "engine", false, "ask the engines of measured steps whether they are still the same")
	c.Flags().BoolVar(&rerun, "rerun", false, "measure again, and judge whether the result is equivalent to the recorded one")
	c.Flags().Float64Var(&margin, "margin", 0.1, "with --rerun: how far again/recorded may be from 1; 0.1 allows 10 %")
	c.Flags().BoolVar(&large, "large", false, fmt.Sprintf("also a pack that unpacks to more than %d MB", unpackLimit>>20))
	return c
}

func (a *app) reproduce(c *cobra.Command, name string, opt pipeline.ReproduceOptions) (*pipeline.Reproduction, error) {
	if pipeline.IsLock(name) {
		return pipeline.Reproduce(c.Context(), name, opt)
	}
	if ext := filepath.Ext(name); ext == ".yaml" || ext == ".yml" || ext == ".pack" {
		return nil, usageError{fmt.Errorf("%s is no lock of an accepted run; that of a plan is beside it and ends in .lock.yaml", name)}
	}
	store, id, err := a.find([]string{name})
	if err != nil {
		return nil, err
	}
	return store.ReproduceRun(c.Context(), id, opt)
}

// tellCheck prints one check for people.
func (a *app) tellCheck(c pipeline.Check) {
	line := fmt.Sprintf("%-11s %s", c.Finding, c.What)
	if c.Note != "" {
		line += "  (" + c.Note + ")"
	}
	fmt.Fprintln(a.Out, line)
	for _, d := range c.Changed {
		fmt.Fprintf(a.Out, "            %s\n", d)
	}
	if c.First == nil || c.Changed != nil {
		return
	}
	more := ""
	if c.Fields > 1 {
		more = fmt.Sprintf("  (the first of %d fields)", c.Fields)
	}
	fmt.Fprintf(a.Out, "            %s%s\n", c.First, more)
}
