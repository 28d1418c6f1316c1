package vidur

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"calrun/internal/process"
	"calrun/internal/trace"
)

// Simulator is a Vidur that is ready: an interpreter, a setup, and predictors
// trained for both. Several runs of it may go on at once.
type Simulator struct {
	Python Python
	Setup  Setup

	dir   string // of the predictors
	paths Paths  // those of the predictors, relative to dir
}

// Result is one simulation.
type Result struct {
	Rows  []trace.Row
	Stats Stats
}

// The files that a run leaves in its folder.
const (
	TraceFile   = "trace.csv"   // as Vidur was given it
	CommandFile = "command.txt" // as it was called
	LogFile     = "vidur.log"   // what it said
	outputDir   = "out"
)

// Key is all that decides what [Simulator.Run] yields for these requests, as a
// line for people.
func (s *Simulator) Key(reqs []trace.Request, alone bool) string {
	h := sha256.New()
	fmt.Fprintln(h, "front end", s.Setup.FrontEnd) // added to what Vidur says of requests alone
	for i, at := range arrivals(reqs, s.Setup.FrontEnd, alone) {
		fmt.Fprintf(h, "%d %d %d %d\n", reqs[i].Due, at, reqs[i].Prompt, reqs[i].Output)
	}
	asked := hex.EncodeToString(h.Sum(nil))
	h.Reset()
	fmt.Fprintln(h, CommandLine(s.Setup.Args(s.Python.Dialect, s.paths)))
	how := "together"
	if alone {
		how = "each alone"
	}
	return fmt.Sprintf("%s, adapter %s, predictors %s, command %s: %d requests %s, %s", s.Python, head(strings.TrimPrefix(Digest(), "sha256:")), strings.TrimPrefix(filepath.Base(s.dir), predictorsPrefix), head(hex.EncodeToString(h.Sum(nil))), len(reqs), head(asked), how)
}

// Run simulates requests; alone, each on an idle engine. Everything that
// Vidur was given and said is kept in dir. An error that is a [Crash] is a
// result of the simulation; any other is not.
func (s *Simulator) Run(ctx context.Context, dir string, reqs []trace.Request, alone bool) (*Result, error) {
	release, err := share(ctx, s.dir+lockSuffix)
	if err != nil {
		return nil, fmt.Errorf("run Vidur: %w", err)
	}
	defer release()
	if _, err := os.Stat(s.dir); err != nil {
		return nil, &Trouble{"the trained predictors have been removed from the cache, by another run that needed room; try again"}
	}
	return s.run(ctx, dir, reqs, alone)
}

func (s *Simulator) run(ctx context.Context, dir string, reqs []trace.Request, alone bool) (*Result, error) {
	if len(reqs) == 0 {
		return &Result{}, nil // Vidur ends with code 0 and a table without rows
	}
	if err := unclipped(reqs, s.Setup); err != nil {
		return nil, &Crash{err.Error()}
	}
	asked, back := reqs, []int(nil)
	if alone {
		asked, back = distinct(reqs)
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("run Vidur: %w", err)
	}
	if err := writeTrace(filepath.Join(dir, TraceFile), s.Python.Dialect, asked, arrivals(asked, s.Setup.FrontEnd, alone)); err != nil {
		return nil, err
	}
	paths := s.paths
	paths.Trace, paths.Output = filepath.Join(dir, TraceFile), filepath.Join(dir, outputDir)
	out, err := call(ctx, s.Python, s.Setup.program(), s.Setup.Args(s.Python.Dialect, paths), s.dir, dir)
	if err != nil {
		return nil, err
	}
	got, stats, err := accept(out, s.Setup, asked)
	if err != nil {
		return nil, &Crash{err.Error()}
	}
	res := &Result{Rows: make([]trace.Row, len(reqs)), Stats: stats}
	for i, r := range reqs {
		seen, j := r.Due+s.Setup.FrontEnd, i
		if alone {
			j = back[i]
		}
		if alone && got[j].last >= apart {
			return nil, &Crash{fmt.Sprintf("request %d takes %v, and requests that have the engine to themselves are %v apart", i, got[j].last, apart)}
		}
		res.Rows[i] = trace.Row{
			Request: r, Sent: r.Due, First: seen + got[j].first, Last: seen + got[j].last,
			Prompted: r.Prompt, Tokens: r.Output, FirstTokens: 1,
		}
		res.Stats.End = max(res.Stats.End, res.Rows[i].Last)
	}
	return res, keep(out, dir)
}

// keep moves the files that others may want to read into dir, and drops the
// rest of Vidur's output.
func keep(out, dir string) error {
	for _, name := range []string{configFile, requestsFile} {
		if err := os.Rename(filepath.Join(out, name), filepath.Join(dir, name)); err != nil {
			return fmt.Errorf("keep Vidur's output: %w", err)
		}
	}
	if err := os.RemoveAll(filepath.Join(dir, outputDir)); err != nil {
		return fmt.Errorf("keep Vidur's output: %w", err)
	}
	return nil
}

// call runs Vidur in the folder work and keeps command line and log in dir,
// which also has its output. It returns the folder that Vidur made there.
func call(ctx context.Context, py Python, program, args []string, work, dir string) (out string, err error) {
	argv := slices.Concat([]string{py.Exe}, program, args)
	if err := os.WriteFile(filepath.Join(dir, CommandFile), []byte(script(argv, work, dir)), 0o644); err != nil {
		return "", fmt.Errorf("run Vidur: %w", err)
	}
	log, err := os.Create(filepath.Join(dir, LogFile))
	if err != nil {
		return "", fmt.Errorf("run Vidur: %w", err)
	}
	defer log.Close()
	stderr := &text{to: log}
	err = process.Run(ctx, process.Cmd{Args: argv, Dir: work, Env: environment(), Stdout: log, Stderr: stderr})
	var exit *process.ExitError
	switch {
	case ctx.Err() != nil:
		return "", ctx.Err()
	case errors.As(err, &exit):
		return "", explain(exit.Code, stderr.b.String())
	case err != nil:
		return "", fmt.Errorf("run Vidur: %w", err)
	}
	return only(filepath.Join(dir, outputDir))
}

// script is a call for people to repeat, from a copy of the folder dir: where
// that lies now is not where it will be read.
func script(argv []string, work, dir string) string {
	out := slices.Clone(argv)
	for i, arg := range out {
		if rel, ok := strings.CutPrefix(arg, dir+string(filepath.Separator)); ok {
			out[i] = `"$here"/` + rel
		} else {
			out[i] = CommandLine([]string{arg})
		}
	}
	return "here=$PWD\ncd " + CommandLine([]string{work}) + "\nHF_HUB_OFFLINE=1 WANDB_MODE=disabled " + strings.Join(out, " ") + "\n"
}

// only is the one folder below dir, which Vidur named by the time of day.
func only(dir string) (string, error) {
	all, err := os.ReadDir(dir)
	if err != nil {
		return "", &Crash{"Vidur ended with exit code 0 and wrote nothing: " + err.Error()}
	}
	if len(all) != 1 {
		return "", &Crash{fmt.Sprintf("Vidur left %d folders where one was expected", len(all))}
	}
	return filepath.Join(dir, all[0].Name()), nil
}

// text keeps what is written and passes it on.
type text struct {
	b  strings.Builder
	to io.Writer
}

func (t *text) Write(p []byte) (int, error) {
	t.b.Write(p)
	return t.to.Write(p)
}
