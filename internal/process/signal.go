//go:build unix

package process

import "syscall"

// The errors of kill mean that nobody is left to get the signal.

func terminateGroup(pid int) { _ = syscall.Kill(-pid, syscall.SIGTERM) }

func killGroup(pid int) { _ = syscall.Kill(-pid, syscall.SIGKILL) }
