package lock

import (
	"bufio"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// spawn starts a shell that leads a group, and returns when it runs.
func spawn(t *testing.T, script string, env ...string) (pid int, ended <-chan error) {
	t.Helper()
	cmd := exec.Command("sh", "-c", script)
	cmd.Env = append(os.Environ(), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	end := make(chan error, 1)
	go func() { end <- cmd.Wait() }()
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	return cmd.Process.Pid, end
}

// What works for a dead attempt is ended, wherever it went, and whoever ends
// the rest of it is waited for; what only has the number of one is not.
func TestEnd(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux says which processes there are")
	}
	dir := filepath.Join(t.TempDir(), "leases")
	l := &Lease{In: &Leases{Dir: dir}, Mark: filepath.Join(dir, "step.attempt-1")}
	// As if its calrun had died, the guard is another's child, and has work to do yet.
	middle := exec.Command("sh", "-c", "(exec sleep 0.2) & echo $!")
	middle.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := middle.Output()
	if err != nil {
		t.Fatal(err)
	}
	guard, err := strconv.Atoi(strings.TrimSpace(string(out)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Hold(guard); err != nil {
		t.Fatal(err)
	}
	marked, markedEnded := spawn(t, "echo; exec sleep 1000", l.Env()) // in a group of its own
	stranger, _ := spawn(t, "echo; exec sleep 1000", markName+"="+l.Mark+"1")
	start, _, _ := stat(stranger)
	recycled, err := json.Marshal(leaseRecord{Boot: boot(), Guard: stranger, Start: start - 1, Mark: "nobody"})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "recycled"), recycled, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := End(dir); err != nil {
		t.Fatal(err)
	}
	<-markedEnded
	for _, pid := range []int{guard, marked} {
		if _, _, ok := stat(pid); ok {
			t.Errorf("process %d still runs", pid)
		}
	}
	if _, _, ok := stat(stranger); !ok {
		t.Error("a process that has got the number of another was killed, or waited for")
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

// A lease that is released names nobody, and its file is the next one's.
func TestALeaseThatIsReleased(t *testing.T) {
	leases := &Leases{Dir: filepath.Join(t.TempDir(), "leases")}
	for _, mark := range []string{"a long name", "x"} {
		release, err := (&Lease{In: leases, Mark: mark}).Hold(os.Getpid())
		if err != nil {
			t.Fatal(err)
		}
		files, err := os.ReadDir(leases.Dir)
		if err != nil || len(files) != 1 {
			t.Fatalf("files: %v, %v", files, err)
		}
		var got leaseRecord
		path := filepath.Join(leases.Dir, files[0].Name())
		if data, err := os.ReadFile(path); err != nil || json.Unmarshal(data, &got) != nil || got.Mark != mark {
			t.Errorf("the lease says %s, %v", data, err)
		}
		release(true)
		if data, err := os.ReadFile(path); err != nil || len(data) != 0 {
			t.Errorf("the lease that is released says %s, %v", data, err)
		}
	}
	leases.Close()
	if left, err := os.ReadDir(leases.Dir); err != nil || len(left) != 0 {
		t.Errorf("left: %v, %v", left, err)
	}
	var none *Lease
	if _, err := none.Hold(1); err != nil || none.Env() != "" || none.Files() != nil {
		t.Errorf("no lease: %v", err)
	}
}

// A file that a lease cannot be written to is not lent again.
func TestALeaseThatCannotBeWritten(t *testing.T) {
	leases := &Leases{Dir: t.TempDir()}
	path := filepath.Join(leases.Dir, "full")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path) // for reading: as a disk that is full, it takes nothing
	if err != nil {
		t.Fatal(err)
	}
	leases.idle = []*os.File{f}
	if _, err := (&Lease{In: leases, Mark: "x"}).Hold(0); err == nil {
		t.Error("a lease that nobody can read is held")
	}
	if left, err := os.ReadDir(leases.Dir); err != nil || len(left) != 0 || len(leases.idle) != 0 {
		t.Errorf("left: %v, %v, %d idle", left, err, len(leases.idle))
	}
}
