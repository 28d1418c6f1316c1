//go:build unix && !linux

package process

import (
	"os/exec"
	"syscall"
)

// isolate puts the child into a group (0: one of its own). Only Linux can tie
// its life to the parent's.
func isolate(cmd *exec.Cmd, group int) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pgid: group}
}
