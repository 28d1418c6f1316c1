package process

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestRunEnds(t *testing.T) {
	tests := []struct {
		name, script, want string // want is a piece of the error, or empty
	}{
		{"success", "echo out; echo err >&2", ""},
		{"the code and the last lines are in the error", "echo reason >&2; exit 3", "exit status 3; its last lines:\nreason"},
		{"silence is said", "exit 4", "wrote nothing to stderr"},
		{"a signal is said", "kill -9 $$", "signal: killed"},
		{"a child that leaves a grandchild with the pipes open ends", "sleep 1000 & exit 0", ""},
		{"only the last lines are repeated", "for i in $(seq 100); do echo line $i >&2; done; exit 1", "line 91\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			err := Run(t.Context(), Cmd{Args: []string{"sh", "-c", tt.script}, Stdout: &out, Grace: 100 * time.Millisecond})
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func TestStartRefuses(t *testing.T) {
	if _, err := Start(t.Context(), Cmd{Args: []string{"no-such-program-anywhere"}}); err == nil {
		t.Error("a program that is not there was started")
	}
	if _, err := Start(t.Context(), Cmd{}); err == nil {
		t.Error("no command was started")
	}
}

// A group that ignores SIGTERM is killed, grandchildren included.
func TestStopKillsTheGroup(t *testing.T) {
	r, w := io.Pipe()
	ctx, cancel := context.WithCancel(t.Context())
	p, err := Start(ctx, Cmd{
		Args:   []string{"sh", "-c", "trap '' TERM; sh -c 'echo $$; while :; do sleep 1; done' & wait; wait"},
		Stdout: w, Grace: 50 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(r).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	grandchild, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatalf("the grandchild said %q", line)
	}
	cancel()
	var exit *ExitError
	if err := p.Wait(); !errors.As(err, &exit) {
		t.Errorf("got %v, want how the child was killed", err)
	}
	gone(t, grandchild)
}

// Neither a child nor what it has started may outlive a calrun that is
// killed: the test kills a process that holds a child by this package and
// sees them go.
func TestTreeDiesWithParent(t *testing.T) {
	if script := os.Getenv("PROCESS_TEST_PARENT"); script != "" {
		ctx := WithLease(context.Background(), lease{env: "PROCESS_TEST_ATTEMPT=" + os.Getenv("PROCESS_TEST_MARK")})
		// Another's end, and a guard that somebody has killed, must not matter.
		for range 2 {
			_ = Run(ctx, Cmd{Args: []string{"true"}})
			_ = standing.cmd.Process.Kill()
			for running(standing.cmd.Process.Pid) { // until then a word to it is lost
				runtime.Gosched()
			}
			_ = Run(context.Background(), Cmd{Args: []string{"true"}})
		}
		_ = Run(ctx, Cmd{Args: []string{"sh", "-c", script}, Stdout: os.Stdout})
		return
	}
	for name, script := range map[string]string{
		"one without environment":           "(exec env -i sh -c 'echo $$; exec sleep 1000' &) ; exec sleep 1000",
		"the child":                         "echo $$; exec sleep 1000",
		"an engine behind a script":         "sh -c 'echo $$; exec sleep 1000' & wait",
		"one whose script has ended itself": "(sh -c 'echo $$; exec sleep 1000' &) ; exec sleep 1000",
		"one in a session of its own":       "(setsid sh -c 'echo $$; exec sleep 1000' &) ; exec sleep 1000",
	} {
		t.Run(name, func(t *testing.T) {
			parent := exec.Command(os.Args[0], "-test.run=TestTreeDiesWithParent$")
			parent.Env = append(os.Environ(), "PROCESS_TEST_PARENT="+script, "PROCESS_TEST_MARK="+filepath.Join(t.TempDir(), "an Á\\t empt"))
			out, err := parent.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := parent.Start(); err != nil {
				t.Fatal(err)
			}
			line, err := bufio.NewReader(out).ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			pid, err := strconv.Atoi(strings.TrimSpace(line))
			if err != nil {
				t.Fatalf("the process said %q", line)
			}
			if err := parent.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			gone(t, pid)
			_ = parent.Wait()
		})
	}
}

// lease is a name and open files.
type lease struct {
	env   string
	files []*os.File
}

func (lease) Hold(int) (func(bool), error) { return func(bool) {}, nil }
func (l lease) Env() string                { return l.env }
func (l lease) Files() []*os.File          { return l.files }

// A group is lent to the next child when its last one has ended, with nobody
// left in it.
func TestGroupIsLentAgain(t *testing.T) {
	first, err := Start(t.Context(), Cmd{Args: []string{"sh", "-c", "sleep 1000 & exit 0"}, Grace: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Wait(); err != nil {
		t.Fatal(err)
	}
	second, err := Start(t.Context(), Cmd{Args: []string{"sleep", "1000"}})
	if err != nil {
		t.Fatal(err)
	}
	other, err := Start(t.Context(), Cmd{Args: []string{"sleep", "1000"}})
	if err != nil {
		t.Fatal(err)
	}
	if second.group != first.group || other.group == first.group {
		t.Errorf("the groups %d, then %d and %d at once", first.group, second.group, other.group)
	}
	first.signal(killGroup) // it is not the first one's any more
	other.Stop()
	if !running(second.cmd.Process.Pid) {
		t.Error("the end of one child was another's")
	}
	second.Stop()
}

// Files that are lent for the life of a child's tree, as locks are, nobody has
// open afterwards, though the next child's guard stays.
func TestLentFilesComeBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	open := func() (*os.File, error) {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		return f, syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	}
	f, err := open()
	if err != nil {
		t.Fatal(err)
	}
	ctx := WithLease(t.Context(), lease{files: []*os.File{f}})
	p, err := Start(ctx, Cmd{Args: []string{"sh", "-c", "exec 3>&-; exec sleep 1000"}}) // a program may close what it was not told of
	if err != nil {
		t.Fatal(err)
	}
	if err := Run(t.Context(), Cmd{Args: []string{"true"}}); err != nil {
		t.Fatal(err)
	}
	f.Close()
	if again, err := open(); err == nil {
		t.Error("the lock is free although the child lives")
		again.Close()
	}
	p.Stop()
	again, err := open()
	if err != nil {
		t.Errorf("the child has ended, and the lock is held: %v", err)
	}
	again.Close()
}

// gone waits until the kernel has carried a kill out.
func gone(t *testing.T, pid int) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); running(pid); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("process %d still runs", pid)
		}
	}
}

// running says whether a process is there and not a zombie that nobody has
// waited for yet.
func running(pid int) bool {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(rest, "Z")
}
