//go:build unix && !linux

package process

import (
	"os/exec"
	"syscall"
)

// isolate gives the child a group of its own. Only Linux can tie its life to
// the parent's.
func isolate(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
}
