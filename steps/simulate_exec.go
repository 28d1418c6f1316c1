package steps

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"calrun/internal/engine"
	"calrun/internal/process"
	"calrun/internal/simulator"
	"calrun/internal/trace"
	"calrun/pipeline"
)

// ownProgram names a simulator of the user's.
const ownProgram = "exec"

// ForeignSimulator is a program that simulates: any that reads a folder and
// writes another. It is called once for each run of a point, with its own
// arguments and two more, IN and OUT:
//
//	IN/simulate.json                   {"calrun": "v1", "params", "deployment", "engine", "input", "profiles"}
//	IN/points.json                     [{"name", "group", "rate_rps", "seeds"}]
//	IN/points/NAME/SEED/trace.csv      arrived_at,num_prefill_tokens,num_decode_tokens
//	OUT/points/NAME/SEED/requests.jsonl
//
// params has every parameter that calrun decided, deployment what the plan
// says, engine what the engine states, input what the plan gives the program
// alone, profiles the folder of the profiles (absent if the plan names none).
// Each line of requests.jsonl is one request of the trace, in its order:
//
//	{"id": 0, "first_s": 0.21, "last_s": 1.7}
//	{"id": 1, "error": "its prompt is longer than the cache"}
//
// id is the row of the trace, from 0; first_s and last_s are when its first
// and its last token are there, in seconds from the zero of arrived_at. due_s,
// prompt_tokens and output_tokens may be repeated and are then held against
// the trace. The requests of a probe (group "probe") each have the engine to
// themselves: they arrive so far apart that none waits.
//
// The same IN must give the same OUT; a program that draws random numbers
// seeds them with SEED. Exit code 0 is an answer, any other makes the run
// crashed, with the last lines of stderr as the reason.
type ForeignSimulator struct {
	Command []string          `yaml:"command" doc:"program and arguments; relative paths start at the plan. Two arguments are added. IN: a folder with simulate.json, points.json and points/NAME/SEED/trace.csv. OUT: where it writes points/NAME/SEED/requests.jsonl, a line {\"id\", \"first_s\", \"last_s\"} or {\"id\", \"error\"} for each row of the trace; times in seconds from the zero of arrived_at. Called once for each point and seed; examples/mg1 is one"`
	Env     map[string]string `yaml:"env" doc:"environment of the program, beside PATH, HOME, USER, LANG and TMPDIR"`
	Files   []string          `yaml:"files" doc:"files and folders that decide what it says, beside the program and those of its arguments that are files"`
	Input   json.RawMessage   `yaml:"input" doc:"anything; the program finds it in simulate.json under \"input\""`
	Timeout time.Duration     `yaml:"timeout" min:"0" doc:"of one run of the program; a point that takes longer is crashed. 0 is none but the step's"`
	AtOnce  int               `yaml:"at_once" key:"-" default:"1" min:"1" doc:"runs of the program at a time"`
}

// checkForeign says at load time what is missing.
func (s *Simulate) checkForeign(in pipeline.Static) (ps []pipeline.FieldProblem) {
	if s.Simulator != ownProgram {
		if len(s.Exec.Command) > 0 && !in.Dynamic("simulator") {
			ps = append(ps, pipeline.FieldProblem{Field: "exec", Message: "the simulator " + s.Simulator + " runs no program of yours", Suggest: "set simulator: exec, or leave exec out", Warning: true})
		}
		if s.Profiles.Path == "" && s.Profiles.Digest == "" && !in.Dynamic("profiles") {
			ps = append(ps, pipeline.FieldProblem{Field: "profiles", Message: "the simulator " + s.Simulator + " needs a profile", Suggest: "name the profiles; only simulator: exec can do without"})
		}
		return ps
	}
	if len(s.Exec.Command) == 0 && !in.Dynamic("exec.command") {
		ps = append(ps, noProgram("exec.command"))
	}
	return ps
}

func (s *Simulate) program() program {
	return program{command: s.Exec.Command, env: s.Exec.Env, files: s.Exec.Files, root: s.root}
}

// foreign simulates with a program of the user's: each run is a process and a
// durable part, so that finished ones outlive a crash of any other.
func (s *Simulate) foreign(ctx context.Context, rt *pipeline.Runtime, points []trace.Point, facts engine.Facts) (*simulation, error) {
	set, err := decide(s.Params, facts, s.Deployment)
	if err != nil {
		return nil, err
	}
	params := set.Params // what the embedded simulator alone decides is as the plan has it
	params.Scheduler, params.LookAhead, params.Graphs, params.Watermark = s.Params.Scheduler, s.Params.LookAhead, s.Params.Graphs, s.Params.Watermark
	f := foreignRuns{rt: rt, program: s.program(), timeout: s.Exec.Timeout, as: map[runKey]trace.Point{}}
	if f.path, err = f.program.find(); err != nil {
		return nil, err
	}
	id, err := f.program.identity()
	if err != nil {
		return nil, err
	}
	task := foreignTask{Calrun: "v1", Params: params, Deployment: s.Deployment, Engine: facts, Input: s.Exec.Input}
	profiles := ""
	if s.Profiles.Path != "" {
		if profiles, err = pipeline.DigestPath(s.Profiles.Path); err != nil {
			return nil, fmt.Errorf("the profiles: %w", err)
		}
	}
	name := strings.Join(append([]string{ownProgram}, s.Exec.Command...), " ") + " (" + digestHead(digestOf([]any{s.Exec.Command, id})) + ")"
	f.key = fmt.Sprintf("%s, environment and task %s", name, digestHead(digestOf([]any{s.Exec.Env, task, profiles, s.Exec.Timeout})))
	if profiles != "" { // where it lies decides nothing
		if task.Profiles, err = filepath.Abs(s.Profiles.Path); err != nil {
			return nil, fmt.Errorf("the profiles: %w", err)
		}
	}
	f.task = task
	for _, p := range points {
		for _, r := range p.Runs {
			key := sameRequests(r.Requests, p.Alone())
			if _, seen := f.as[key]; !seen {
				one := p
				one.Runs = []trace.Run{{Seed: r.Seed, Requests: spaced(r.Requests, p.Alone())}}
				f.as[key] = one
			}
		}
	}
	// One run that the machine ends does not call off the others: what they
	// finish is kept, and the next attempt has less to do.
	own := func(_ context.Context, reqs []trace.Request, alone bool) (trace.Run, simulator.Stats, error) {
		return f.run(ctx, reqs, alone)
	}
	out, stats, err := eachRun(ctx, points, max(1, s.Exec.AtOnce), own, rt.Progress)
	if err != nil {
		return nil, err
	}
	return &simulation{out, stats, params, nil, name, set.Doubts, nil}, nil
}

// foreignTask is simulate.json.
type foreignTask struct {
	Calrun     string          `json:"calrun"`
	Params     Params          `json:"params"`
	Deployment Deployment      `json:"deployment"`
	Engine     engine.Facts    `json:"engine"`
	Input      json.RawMessage `json:"input,omitempty"`
	Profiles   string          `json:"profiles,omitempty"`
}

// foreignRuns simulates runs with a program that is there.
type foreignRuns struct {
	rt      *pipeline.Runtime
	program program
	path    string // of the program
	key     string // of all that decides a result but the requests
	task    foreignTask
	timeout time.Duration
	as      map[runKey]trace.Point // what stands for runs of the same requests: one run of the first point that has them
}

// The content of a run's part, beside the files of the run itself.
const (
	foreignDir     = "exec"        // what the program was given and said
	foreignLog     = "log"         // its stdout and stderr
	foreignCommand = "command.txt" // as it was called
	taskFile       = "simulate.json"
)

// run simulates one run, or takes it from an earlier attempt.
func (f foreignRuns) run(ctx context.Context, reqs []trace.Request, alone bool) (trace.Run, simulator.Stats, error) {
	var stats simulator.Stats
	key := sameRequests(reqs, alone)
	point := f.as[key]
	name := fmt.Sprintf("%s: %s at %g requests/s, seed %d, %d requests %x", f.key, point.Name, point.Rate, point.Runs[0].Seed, len(reqs), key[:6])
	dir, _, err := f.rt.Part(name, func(dir string) error { return f.make(ctx, dir, point, reqs) })
	if err != nil {
		return trace.Run{}, stats, err
	}
	run, err := trace.ReadRun(dir)
	if err != nil {
		return run, stats, err
	}
	run.Requests = reqs // to the ID
	if run.State == trace.Crashed {
		f.rt.Log().Warn().Str("log", filepath.Join(dir, foreignDir, foreignLog)).Msg(run.Reason)
	}
	stats.End = run.Window
	return run, stats, nil
}

// make calls the program for one run of a point. reqs are the requests as they
// were asked, point has them as the program sees them.
func (f foreignRuns) make(ctx context.Context, dir string, point trace.Point, reqs []trace.Request) error {
	own := filepath.Join(dir, foreignDir)
	in, out := filepath.Join(own, "in"), filepath.Join(own, "out")
	for _, d := range []string{in, out} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return err
		}
	}
	if err := writeJSON(filepath.Join(in, taskFile), f.task); err != nil {
		return err
	}
	if err := trace.WritePoints(in, []trace.Point{point}); err != nil {
		return err
	}
	run := trace.Run{Requests: reqs, State: trace.OK}
	var crash *foreignCrash
	if err := f.call(ctx, own, in, out); errors.As(err, &crash) {
		run.State, run.Reason = trace.Crashed, crash.reason
	} else if err != nil {
		return err
	} else {
		asked := point.Runs[0]
		got, err := readForeign(filepath.Join(trace.RunDir(out, point.Name, asked.Seed), trace.RowsFile), asked.Requests)
		if err != nil {
			run.State, run.Reason = trace.Crashed, "what the program wrote is not to be believed: "+err.Error()
		} else {
			run.Rows, run.Window = got.on(reqs)
		}
	}
	return trace.WriteRun(dir, run)
}

// foreignCrash is a run that the program did not finish.
type foreignCrash struct{ reason string }

func (c *foreignCrash) Error() string { return c.reason }

// killed is the exit code with which a shell reports that its child was.
const killed = 128 + 9

// call calls the program and keeps its command line and what it printed.
func (f foreignRuns) call(ctx context.Context, own, in, out string) (err error) {
	args := append(append([]string{f.path}, f.program.command[1:]...), in, out)
	shown := append(append([]string{}, f.program.command...), in, out)
	if err := os.WriteFile(filepath.Join(own, foreignCommand), []byte(strings.Join(shown, " ")+"\n"), 0o644); err != nil {
		return err
	}
	log, err := os.Create(filepath.Join(own, foreignLog))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	limited := ctx
	if f.timeout > 0 {
		var cancel context.CancelFunc
		limited, cancel = context.WithTimeout(ctx, f.timeout)
		defer cancel()
	}
	err = process.Run(limited, process.Cmd{Args: args, Dir: f.program.root, Env: f.program.environment(nil), Stdout: log, Stderr: log})
	var exit *process.ExitError
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil && limited.Err() != nil:
		return &foreignCrash{fmt.Sprintf("the program did not end within %v (exec.timeout)", f.timeout)}
	case errors.As(err, &exit) && (exit.State == "signal: killed" || exit.Code == killed):
		return fmt.Errorf("%w; something on this machine killed it (was memory short?), so it says nothing of the simulation: give it room and resume", err)
	case errors.As(err, &exit):
		return &foreignCrash{exit.Error()}
	}
	return err
}
