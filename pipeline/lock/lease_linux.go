package lock

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"calrun/internal/failpoint"

	"golang.org/x/sys/unix"
)

// patience is how long a killed process may take to go: a GPU's memory is
// given back before it does.
const patience = 30 * time.Second

// calm is how often in a row nobody must be found, a moment apart: while a
// process becomes another program the system shows it without environment.
const calm = 3

// end kills what is left of the lease's processes and waits until it is gone,
// and its guard, which kills what does not carry the attempt's name.
func (r leaseRecord) end() error {
	if r.Boot != boot() {
		return nil
	}
	deadline := time.Now().Add(patience)
	for nobody := 0; ; time.Sleep(10 * time.Millisecond) {
		left, guarded := r.left(), r.guarded()
		if nobody++; len(left) > 0 || guarded {
			nobody = 0
		}
		if nobody == calm {
			return nil
		}
		if nobody == 0 && time.Now().After(deadline) {
			return fmt.Errorf("process %d, which a death of calrun left at work for %s, does not end when it is killed; "+
				"end it and resume", append(left, r.Guard)[0], r.Mark)
		}
		for _, pid := range left {
			failpoint.At("lease.kill")
			if err := r.kill(pid); err != nil {
				return fmt.Errorf("process %d, which a death of calrun left at work for %s, cannot be killed: %w; "+
					"end it and resume", pid, r.Mark, err)
			}
		}
	}
}

// guarded says whether the lease's guard is at work. One whose parent lives
// does nothing.
func (r leaseRecord) guarded() bool {
	start, parent, ok := stat(r.Guard)
	return ok && start == r.Start && parent != os.Getpid()
}

// left are the processes of the lease that still run.
func (r leaseRecord) left() []int {
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil
	}
	var out []int
	for _, dir := range dirs {
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err == nil && pid != os.Getpid() && r.owns(pid) {
			out = append(out, pid)
		}
	}
	return out
}

// owns says whether a process works for the lease: it carries the attempt's
// name.
func (r leaseRecord) owns(pid int) bool {
	if _, _, ok := stat(pid); !ok {
		return false
	}
	env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	return err == nil && bytes.Contains(append([]byte{0}, env...), []byte("\x00"+markName+"="+r.Mark+"\x00"))
}

// kill kills a process of the lease. It is held by a descriptor while it is
// looked at once more, so that nobody can get its number in between.
func (r leaseRecord) kill(pid int) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	if !r.owns(pid) {
		return nil
	}
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return err
	}
	return nil
}

// stat reads when a process started, in ticks since the boot, and its parent.
// A zombie does not run.
func stat(pid int) (start uint64, parent int, ok bool) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, 0, false
	}
	// The second field is the name, in brackets, and may hold anything.
	fields := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
	if len(fields) < 20 || fields[0] == "Z" || fields[0] == "X" {
		return 0, 0, false
	}
	parent, err = strconv.Atoi(fields[1])
	start, err2 := strconv.ParseUint(fields[19], 10, 64)
	return start, parent, err == nil && err2 == nil
}

// boot names the machine's present life.
var boot = sync.OnceValue(func() string {
	data, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
})
