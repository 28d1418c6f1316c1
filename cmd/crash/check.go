package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"calrun/pipeline"
)

// victim is who is killed.
type victim string

const (
	alone victim = "itself alone"
	child victim = "a step's program alone"
	group victim = "all at once"
)

// at is the name of the line of the table.
func (v victim) at() string { return ", at random times, " + string(v) }

// kill kills, and says whether a child was there to be killed: whether calrun
// itself was is known from how it ends.
func (v victim) kill(pid int) (hit bool) {
	children := childrenOf(pid)
	for v == child && !slices.ContainsFunc(children, program) && running(pid) { // between two programs
		time.Sleep(time.Millisecond)
		children = childrenOf(pid)
	}
	switch v { // it may have ended
	case alone:
		_ = syscall.Kill(pid, syscall.SIGKILL)
	case group:
		for _, it := range children { // before it notices anything
			if guard(it) {
				_ = syscall.Kill(it, syscall.SIGKILL)
			}
		}
		_ = syscall.Kill(-pid, syscall.SIGKILL)
	}
	for _, it := range children {
		switch {
		case v == child && running(it):
			is := program(it) // the guard is killed with it, and another has to stand in
			hit = syscall.Kill(it, syscall.SIGKILL) == nil && is || hit
		case v == group:
			_ = syscall.Kill(-it, syscall.SIGKILL) // it leads no group, or has ended
		}
	}
	return hit
}

// running says whether a process is there and no zombie.
func running(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return rest != "" && !strings.ContainsRune("ZX", rune(rest[0]))
}

// guard says whether a child of calrun is a guard: who ends the others when
// calrun dies.
func guard(pid int) bool {
	args, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return err == nil && strings.Contains(string(args), "\x00calrun-guard\x00")
}

// program says whether a child of calrun is a step's program: no guard, and no
// dead one that keeps a group's number.
func program(pid int) bool { return running(pid) && !guard(pid) }

// mourning is how long what a step has started may outlive calrun.
const mourning = 5 * time.Second

// orphans waits for what the steps have started to end with calrun, without
// a resume, and says what did not.
func (c *trial) orphans() (out []string) {
	lists, _ := filepath.Glob(filepath.Join(c.home, "pids-*"))
	for _, list := range lists {
		data, err := os.ReadFile(list)
		if err != nil {
			continue
		}
		for word := range strings.FieldsSeq(string(data)) {
			pid, err := strconv.Atoi(word)
			for deadline := time.Now().Add(mourning); err == nil && running(pid); time.Sleep(time.Millisecond) {
				if time.Now().After(deadline) {
					out = append(out, fmt.Sprintf("process %d of %s outlives calrun", pid, filepath.Base(list)))
					break
				}
			}
		}
	}
	return out
}

// childrenOf lists the children of all threads of a process.
func childrenOf(pid int) (out []int) {
	lists, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		return nil
	}
	for _, list := range lists {
		data, err := os.ReadFile(list)
		if err != nil {
			continue
		}
		for word := range strings.FieldsSeq(string(data)) {
			if child, err := strconv.Atoi(word); err == nil {
				out = append(out, child)
			}
		}
	}
	return out
}

// faults are what is wrong with a run that was killed and is finished.
func (c *trial) faults(ctx context.Context) (out []string) {
	past, err := c.past()
	if err != nil {
		return []string{err.Error()}
	}
	if past.State.Exit != pipeline.ExitPass {
		out = append(out, fmt.Sprintf("it ends with exit code %d: %v", past.State.Exit, past.State.Reasons))
	}
	if data, err := os.ReadFile(filepath.Join(c.home, "violations")); err == nil {
		c.b.note(func() { c.r.half += strings.Count(string(data), "half a file") })
		out = append(out, strings.TrimSpace(string(data)))
	}
	again := twice(past)
	c.b.note(func() { c.r.again += len(again) })
	out = append(out, again...)
	for path, digest := range c.parts {
		if now, err := pipeline.DigestPath(path); err != nil || now != digest {
			out = append(out, fmt.Sprintf("part %s has changed (%v)", filepath.Base(path), err))
		}
	}
	out = append(out, c.objects()...)
	want := c.s.found
	if c.s.measured {
		if want, err = c.undisturbed(ctx, past.State.Run); err != nil {
			return append(out, err.Error())
		}
	}
	if got := results(past); !maps.Equal(got, want) {
		out = append(out, fmt.Sprintf("found %v, undisturbed %v", got, want))
	}
	return out
}

// undisturbed is what a run finds in the same measurement with nobody in the
// way, and an empty store beside it.
func (c *trial) undisturbed(ctx context.Context, from string) (map[string]string, error) {
	cmd, out := c.command(ctx, "run")
	cmd.Args = append(cmd.Args, "--from", from)
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("run --from: %w: %.300s", err, out)
	}
	past, err := c.past()
	if err != nil {
		return nil, err
	}
	return results(past), nil
}

// twice lists what was executed again after it was finished.
func twice(past *pipeline.Past) (out []string) {
	done := map[string]bool{}
	for _, e := range past.Events {
		switch e.Type {
		case pipeline.EventStarted:
			if done[e.Step] {
				out = append(out, e.Step+" was executed again after it was finished")
			}
		case pipeline.EventDone, pipeline.EventPart:
			name := e.Step
			if e.Part != nil {
				name += " part " + e.Part.Key
			}
			if done[name] {
				out = append(out, name+" was finished twice")
			}
			done[name] = true
		}
	}
	return out
}

// objects holds every object against its name, and looks for what deaths left.
func (c *trial) objects() (out []string) {
	paths, err := filepath.Glob(filepath.Join(c.home, ".calrun/objects/sha256/*/*"))
	if err != nil || len(paths) == 0 {
		return []string{fmt.Sprintf("no objects: %v", err)}
	}
	for _, path := range paths {
		name := strings.TrimSuffix(filepath.Base(path), ".tree")
		if digest, err := pipeline.DigestPath(path); err != nil || !strings.HasSuffix(digest, name) {
			out = append(out, fmt.Sprintf("object %s holds %s (%v)", name, digest, err))
		}
	}
	for _, pattern := range []string{"runs/*/parts/*/.staging-*", "runs/*/artefacts/.staging-*", "runs/*/*/*.attempt-*/out.txt", "objects/staging/*"} {
		if left, _ := filepath.Glob(filepath.Join(c.home, ".calrun", pattern)); len(left) > 0 {
			out = append(out, fmt.Sprintf("left behind: %v", left))
		}
	}
	return out
}
