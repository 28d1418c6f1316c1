//go:build unix

package process

import (
	"os/exec"
	"sync"
	"syscall"
)

// groups are process groups that are known before they have a child, so that
// there is no moment at which calrun can die and leave one that nobody knows.
//
// A group has its number from the process that began it, and keeps it as long
// as that one is not waited for: a dead one takes up a number and nothing
// else, and killing the group does not end it. So the groups are lent, one
// child after the other.
type groups struct {
	mu   sync.Mutex
	idle []int
}

// lent are the groups of this process.
var lent groups

// take lends a group in which nobody lives; 0 if none can be made, as without
// a shell.
func (g *groups) take() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	if n := len(g.idle); n > 0 {
		group := g.idle[n-1]
		g.idle = g.idle[:n-1]
		return group
	}
	cmd := exec.Command("sh", "-c", ":")
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if cmd.Start() != nil {
		return 0
	}
	return cmd.Process.Pid // and nobody ever waits for it
}

// give takes a group back that was killed.
func (g *groups) give(group int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.idle = append(g.idle, group)
}
