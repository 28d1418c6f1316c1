package process

import (
	"os/exec"
	"syscall"
)

// isolate gives the child a group of its own and ties its life to the thread
// that starts it.
func isolate(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
