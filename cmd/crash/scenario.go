package main

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"calrun/pipeline"
)

//go:embed scenario
var files embed.FS

// scenario is a plan and what an undisturbed run of it finds.
type scenario struct {
	name     string
	measured bool              // its first step measures: only what follows from the same measurement can be the same
	seen     map[string]bool   // places that the undisturbed run reached
	found    map[string]string // step → digest of its result
	took     time.Duration
}

func (s *scenario) folder() string {
	if s.measured {
		return "hardware"
	}
	return "exact"
}

// reference runs a scenario undisturbed.
func (b *bench) reference(ctx context.Context, s *scenario) error {
	row := &row{what: s.name}
	c := b.open(s, row)
	if c == nil {
		return errors.New(strings.Join(row.violations, "; "))
	}
	defer c.close()
	seen := filepath.Join(c.home, "seen")
	began := time.Now()
	c.call(ctx, "run", "CALRUN_FAIL_SEEN="+seen)
	s.took = time.Since(began)
	if c.code != 0 {
		return fmt.Errorf("exit code %d: %s", c.code, c.said)
	}
	data, err := os.ReadFile(seen)
	if err != nil {
		return err
	}
	s.seen = map[string]bool{}
	for name := range strings.FieldsSeq(string(data)) {
		s.seen[name] = true
	}
	past, err := c.past()
	if err != nil {
		return err
	}
	s.found = results(past)
	return nil
}

// results are the digests of what the steps found; a measurement differs each
// time.
func results(past *pipeline.Past) map[string]string {
	out, measured := map[string]string{}, map[string]bool{}
	for _, e := range past.Events {
		switch {
		case e.Resolved != nil:
			measured[e.Step] = e.Resolved.Repeat == pipeline.Measured.String()
			if e.Resolved.Result != nil && !measured[e.Step] {
				out[e.Step] = e.Resolved.Result.Digest
			}
		case e.Type == pipeline.EventDone && !measured[e.Step]:
			out[e.Step] = e.Result.Digest
		}
	}
	return out
}

// trial is one run of a scenario, however often it is killed.
type trial struct {
	b     *bench
	s     *scenario
	r     *row
	home  string
	code  int    // of the last call; -1 after a signal
	said  string // by the last call
	parts map[string]string
}

// open makes a folder with the scenario's files; after an error it is nil.
func (b *bench) open(s *scenario, r *row) *trial {
	c := &trial{b: b, s: s, r: r, parts: map[string]string{}}
	var err error
	if c.home, err = b.folder(s.folder()); err != nil {
		c.violated(err.Error())
		return nil
	}
	return c
}

// folder makes a folder with the files of a folder of scenario.
func (b *bench) folder(of string) (string, error) {
	home, err := os.MkdirTemp(b.dir, "case-*")
	if err != nil {
		return "", err
	}
	sub, err := fs.Sub(files, "scenario/"+of)
	return home, errors.Join(err, os.CopyFS(home, sub))
}

func (c *trial) violated(what string) {
	c.b.note(func() { c.r.violations = append(c.r.violations, what) })
}

// close removes the folder; files in it are read-only, their folders are not.
func (c *trial) close() { _ = os.RemoveAll(c.home) }

// command is calrun, in a group of its own.
func (c *trial) command(ctx context.Context, verb string, env ...string) (*exec.Cmd, *bytes.Buffer) {
	args := []string{verb}
	if verb == "run" {
		args = append(args, "plan.yaml")
	}
	cmd := exec.CommandContext(ctx, c.b.bin, args...)
	var out bytes.Buffer
	cmd.Dir, cmd.Stdout, cmd.Stderr = c.home, &out, &out
	cmd.Env = append(append(os.Environ(), "CALRUN_LOCKS="+filepath.Join(c.home, "locks")), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = 10 * time.Second
	return cmd, &out
}

// call calls calrun once and says whether it was killed.
func (c *trial) call(ctx context.Context, verb string, env ...string) bool {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	cmd, out := c.command(ctx, verb, env...)
	return c.ended(cmd.Run(), cmd, out)
}

// dieInStep kills calrun and the group of a step once its program says that it
// runs, so that nobody is left to end what went to a group of its own.
func (c *trial) dieInStep(ctx context.Context) {
	cmd, out := c.command(ctx, "run")
	if err := cmd.Start(); err != nil {
		c.violated(err.Error())
		return
	}
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if _, err := os.Stat(filepath.Join(c.home, "pids-make")); err == nil {
			break
		}
	}
	group.kill(cmd.Process.Pid)
	c.ended(cmd.Wait(), cmd, out)
}

// ended takes down how a call ended.
func (c *trial) ended(err error, cmd *exec.Cmd, out *bytes.Buffer) bool {
	c.said, c.code = out.String(), -1
	if cmd.ProcessState == nil {
		c.violated(fmt.Sprintf("calrun: %v", err))
		return false
	}
	c.code = cmd.ProcessState.ExitCode()
	status, _ := cmd.ProcessState.Sys().(syscall.WaitStatus)
	killed := status.Signaled() && status.Signal() == syscall.SIGKILL
	if killed {
		c.b.note(func() { c.r.kills++ })
		c.keep()
	}
	return killed
}

// next is the verb that goes on: a run that died before its first event is
// not there.
func (c *trial) next() string {
	if _, err := c.past(); err != nil {
		return "run"
	}
	return "resume"
}

// past reads the newest run that was opened.
func (c *trial) past() (*pipeline.Past, error) {
	store, err := pipeline.OpenStore(filepath.Join(c.home, ".calrun"))
	if err != nil {
		return nil, err
	}
	ids, err := store.Runs()
	if err != nil {
		return nil, err
	}
	for i := len(ids) - 1; i >= 0; i-- {
		past, err := store.ReadRun(ids[i])
		if !errors.Is(err, pipeline.ErrUnopened) {
			return past, err
		}
	}
	return nil, pipeline.ErrUnopened
}

// finish resumes until the run is closed and holds the outcome against the
// undisturbed one.
func (c *trial) finish(ctx context.Context, how string) {
	for calls := 0; ; calls++ {
		past, err := c.past()
		if err == nil && !past.State.Unfinished() {
			break
		}
		if err != nil && !errors.Is(err, pipeline.ErrUnopened) || calls > 5 || ctx.Err() != nil {
			c.violated(fmt.Sprintf("%s: not resumed after %d calls: %v: %.500s", how, calls, err, c.said))
			return
		}
		c.b.note(func() { c.r.resume++ })
		c.call(ctx, c.next())
	}
	for _, v := range c.faults(ctx) {
		c.violated(how + ": " + v)
	}
}

// keep takes down what finished parts hold.
func (c *trial) keep() {
	past, err := c.past()
	if err != nil {
		return
	}
	for _, e := range past.Events {
		if e.Part == nil {
			continue
		}
		path := filepath.Join(past.Dir(), "parts", e.Step, e.Part.ID)
		if digest, err := pipeline.DigestPath(path); err == nil && c.parts[path] == "" {
			c.parts[path] = digest
		}
	}
}

// anytime kills at random times until so many deaths have been. A kill that
// comes when its victim has ended does not count.
func (b *bench) anytime(ctx context.Context, s *scenario, v victim, kills int) {
	r := b.add(s.name + v.at())
	missed := 0
	b.each(ctx, 5*kills, func(i int, rnd *rand.Rand) {
		enough := false
		if b.note(func() { enough = r.kills >= kills }); enough {
			return
		}
		c := b.open(s, r)
		if c == nil {
			return
		}
		defer c.close()
		at := time.Duration(rnd.Float64() * float64(s.took))
		cmd, out := c.command(ctx, "run")
		if err := cmd.Start(); err != nil {
			c.violated(err.Error())
			return
		}
		time.Sleep(at)
		hit := v.kill(cmd.Process.Pid)
		how := fmt.Sprintf("case %d, %s killed after %s", i, v, at.Round(time.Millisecond))
		switch died := c.ended(cmd.Wait(), cmd, out); {
		case died && v == alone:
			for _, left := range c.orphans() {
				c.violated(how + ": " + left)
			}
		case died: // and was counted
		case hit && v == child:
			b.note(func() { r.kills++ })
		default:
			b.note(func() { missed++ })
			return
		}
		c.finish(ctx, how)
	})
	if r.kills < kills && ctx.Err() == nil {
		r.violations = append(r.violations, fmt.Sprintf("%d kills, %d were asked for", r.kills, kills))
	}
	b.say(r)
	fmt.Printf("  %d more came too early or too late\n", missed)
}
