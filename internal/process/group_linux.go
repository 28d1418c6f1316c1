package process

import (
	"os/exec"
	"syscall"
)

// isolate puts the child into a group (0: one of its own) and ties its life to
// the thread that starts it.
func isolate(cmd *exec.Cmd, group int) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pgid: group, Pdeathsig: syscall.SIGKILL}
}
