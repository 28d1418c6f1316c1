//go:build unix

package process

import (
	"os"
	"os/exec"
	"strconv"
	"syscall"
)

// guard is a shell that outlives calrun by a moment: it waits for word from
// calrun, and if calrun dies without giving it kills the group. The system
// ties the child's life to calrun's (where it can), but not that of what the
// child has started: an engine behind a script would stay, and keep its port
// and its memory.
type guard struct {
	cmd  *exec.Cmd
	word *os.File // calrun's end; the system closes it however calrun dies
}

// guardScript gets the group's id. The end of its input without a line is
// calrun's death.
const guardScript = `read -r word || kill -s KILL -- "-$1"`

// guarded starts the guard of a group. Without a shell there is none, and nil
// is returned.
func guarded(group int) *guard {
	r, w, err := os.Pipe()
	if err != nil {
		return nil
	}
	defer r.Close()
	cmd := exec.Command("sh", "-c", guardScript, "sh", strconv.Itoa(group))
	cmd.Stdin, cmd.Dir = r, "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // ^C in the terminal is not for it
	if err := cmd.Start(); err != nil {
		_ = w.Close()
		return nil
	}
	return &guard{cmd, w}
}

// dismiss ends the guard: its group has ended.
func (g *guard) dismiss() {
	if g == nil {
		return
	}
	_, _ = g.word.WriteString("over\n") // a guard that is gone needs no word
	_ = g.word.Close()
	_ = g.cmd.Wait()
}
