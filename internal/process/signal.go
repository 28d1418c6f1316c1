//go:build unix

package process

import "syscall"

// The errors of kill mean that nobody is left to get the signal.

func terminateGroup(group int) { _ = syscall.Kill(-group, syscall.SIGTERM) }

func killGroup(group int) { _ = syscall.Kill(-group, syscall.SIGKILL) }
