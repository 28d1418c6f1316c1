// Package process runs a child process together with its whole tree: in a
// process group of its own, told to stop and then killed as one, and not
// outliving calrun, however that ends.
//
// [Start] starts a [Cmd]; [Run] starts it and waits.
package process

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"calrun/internal/failpoint"
)

// Cmd is what to run.
type Cmd struct {
	Args   []string // argv; the first is looked up in PATH
	Dir    string
	Env    []string      // the whole environment; nil is the parent's
	Stdin  io.Reader     // nil is empty
	Stdout io.Writer     // nil is thrown away
	Stderr io.Writer     // nil is thrown away; its last lines are kept for the error all the same
	Grace  time.Duration // between SIGTERM and SIGKILL; 0 is 5 s
}

// Process is a child that runs, or has run.
type Process struct {
	cmd   *exec.Cmd
	group int // of the child and all that it starts
	grace time.Duration
	tail  *tail
	done  chan struct{}
	err   error

	stopping sync.Once
	mu       sync.Mutex
	gone     bool // the group has ended
}

// defaultGrace is how long a child may take to end after it was asked to.
const defaultGrace = 5 * time.Second

// Start starts the child. When ctx ends its group gets SIGTERM, and SIGKILL
// after the grace. The group dies with calrun too, however that ends.
func Start(ctx context.Context, c Cmd) (*Process, error) {
	if len(c.Args) == 0 {
		return nil, errors.New("start a process: no command is given")
	}
	p := &Process{grace: c.Grace, tail: &tail{to: c.Stderr}, done: make(chan struct{})}
	if p.grace <= 0 {
		p.grace = defaultGrace
	}
	p.cmd = exec.Command(c.Args[0], c.Args[1:]...)
	p.cmd.Dir, p.cmd.Env, p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = c.Dir, c.Env, c.Stdin, c.Stdout, p.tail
	// A grandchild that keeps the pipes open must not keep Wait from ending.
	p.cmd.WaitDelay = p.grace
	started := make(chan error)
	go p.live(p.leased(ctx), started)
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", c.Args[0], plain(err))
	}
	go p.watch(ctx)
	return p, nil
}

// Run starts the child and waits for its end. The error of a child that was
// stopped because ctx ended wraps ctx's.
func Run(ctx context.Context, c Cmd) error {
	p, err := Start(ctx, c)
	if err != nil {
		return err
	}
	err = p.Wait()
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("%w: %w", ctx.Err(), err)
	}
	return err
}

// live holds the thread that forks the child for as long as the child lives:
// the signal that a child gets at its parent's death is sent when that thread
// ends, not when the process does.
func (p *Process) live(lease Lease, started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	leave, err := p.enter(lease)
	if err == nil {
		failpoint.At("spawn.leased")
		err = p.cmd.Start()
		failpoint.At("spawn.started")
	}
	if err != nil {
		leave(true)
		started <- err
		return
	}
	if p.group == 0 {
		p.group = p.cmd.Process.Pid
	}
	started <- nil
	err = p.cmd.Wait()
	if errors.Is(err, exec.ErrWaitDelay) {
		err = nil // the child itself ended well
	}
	failpoint.At("spawn.ended")
	p.signal(killGroup) // what it left behind
	failpoint.At("spawn.cleared")
	leave(err == nil)
	p.err = p.explain(err)
	close(p.done)
}

// enter finds the group that the child will be in, and tells of it whoever
// has to know before it is there. What it returns is to be called when the
// group has ended, or if the child never was.
func (p *Process) enter(lease Lease) (leave func(well bool), err error) {
	failpoint.At("spawn.guard")
	group, release := lent.take(), func(bool) {}
	guard, pid := guardWith(p.cmd.ExtraFiles), 0
	if group != 0 {
		pid = guard.watch(ward{group, mark(lease)})
	}
	failpoint.At("spawn.guarded")
	isolate(p.cmd, group)
	p.group = group
	leave = func(well bool) {
		release(well)
		if group == 0 {
			return
		}
		p.mu.Lock()
		p.gone = true
		p.mu.Unlock()
		guard.over(group)
		lent.give(group)
	}
	if lease == nil {
		return leave, nil
	}
	held, err := lease.Hold(pid)
	if err == nil {
		release = held
	}
	return leave, err
}

// signal signals the group, unless another child may have it by now.
func (p *Process) signal(send func(group int)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.gone {
		send(p.group)
	}
}

// watch stops the child when ctx ends.
func (p *Process) watch(ctx context.Context) {
	select {
	case <-p.done:
	case <-ctx.Done():
		p.Stop()
	}
}

// Done is closed when the child has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Wait waits for the end. A child that ended with a code other than 0, or by
// a signal, is an [ExitError] with the last lines that it wrote to stderr.
func (p *Process) Wait() error {
	<-p.done
	return p.err
}

// Stop asks the group to end, kills what is left of it after the grace, and
// waits for the child's end. It may be called more than once.
func (p *Process) Stop() {
	p.stopping.Do(func() {
		select {
		case <-p.done:
			return
		default:
		}
		p.signal(terminateGroup)
		timer := time.NewTimer(p.grace)
		defer timer.Stop()
		select {
		case <-p.done:
		case <-timer.C:
			p.signal(killGroup)
		}
	})
	<-p.done
}

// ExitError is a child that did not end well.
type ExitError struct {
	Name  string // of the program
	State string // "exit status 3", "signal: killed"
	Code  int    // -1 after a signal
	Lines string // the last lines of its stderr
}

func (e *ExitError) Error() string {
	if e.Lines == "" {
		return fmt.Sprintf("%s ended with %s and wrote nothing to stderr", e.Name, e.State)
	}
	return fmt.Sprintf("%s ended with %s; its last lines:\n%s", e.Name, e.State, e.Lines)
}

func (p *Process) explain(err error) error {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return err
	}
	return &ExitError{
		Name: filepath.Base(p.cmd.Path), State: exit.Error(), Code: exit.ExitCode(), Lines: p.tail.lines(),
	}
}

// plain shortens the errors of a program that is not there.
func plain(err error) error {
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, os.ErrNotExist) {
		return errors.New("there is no such program in PATH, or its folder is missing: " + err.Error())
	}
	return err
}

// tail passes what is written on and keeps the end of it.
type tail struct {
	to io.Writer

	mu  sync.Mutex
	end []byte
}

// tailBytes and tailLines bound what an error repeats of a child's stderr.
const (
	tailBytes = 4 << 10
	tailLines = 10
)

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	t.end = append(t.end, p...)
	if len(t.end) > tailBytes {
		t.end = append([]byte(nil), t.end[len(t.end)-tailBytes:]...)
	}
	t.mu.Unlock()
	if t.to == nil {
		return len(p), nil
	}
	return t.to.Write(p)
}

func (t *tail) lines() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	lines := strings.Split(strings.TrimSpace(string(t.end)), "\n")
	if len(lines) > tailLines {
		lines = lines[len(lines)-tailLines:]
	}
	return strings.Join(lines, "\n")
}
