//go:build unix

package process

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
)

// guard is a shell that leads the child's group and outlives calrun by a
// moment: it waits for word from calrun, and if calrun dies without giving it
// kills the group. The system ties the child's life to calrun's (where it
// can), but not that of what the child has started: an engine behind a script
// would stay, and keep its port and its memory. What left the group for one of
// its own is found by the variable of its lease, where the system shows the
// environment of a process. The guard is there before the child is, so that
// there is no moment at which calrun can die and leave a tree.
type guard struct {
	cmd  *exec.Cmd
	word *os.File // calrun's end; the system closes it however calrun dies
}

// guardScript takes no notice of what its group is told. The end of its input
// without a line is calrun's death. It looks until nobody is found three times
// in a row: one may have started another while it looked, and for a moment in
// which a process becomes another program the system shows it without
// environment. One that cannot be killed must not keep it. The guard itself
// does not carry the variable, $1.
const guardScript = `trap '' TERM INT HUP
read -r word && exit
n=0 calm=0
while [ -n "$1" ] && [ $n -lt 50 ] && [ $calm -lt 3 ]; do
	[ $calm = 0 ] || sleep 0.03
	found=$(grep -lszxF -e "$1" /proc/[0-9]*/environ) # fails for each that just ended
	calm=$((calm + 1))
	for f in $found; do calm=0 f=${f#/proc/}; kill -s KILL "${f%/environ}"; done
	n=$((n + 1))
done 2>/dev/null
kill -s KILL -- "-$$"`

// newGuard starts the guard of a group that is to be, whose processes carry
// the variable env if it is not empty. Without a shell there is none, and nil
// is returned.
func newGuard(inherits []*os.File, env string) *guard {
	if strings.Contains(env, "\n") {
		env = "" // two patterns to grep: either might fit a stranger
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil
	}
	defer r.Close()
	cmd := exec.Command("sh", "-c", guardScript, "calrun-guard", env)
	cmd.Stdin, cmd.Dir, cmd.ExtraFiles = r, "/", inherits
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // ^C in the terminal is not for it
	if err := cmd.Start(); err != nil {
		_ = w.Close()
		return nil
	}
	return &guard{cmd, w}
}

// group is the group that the guard leads; without a guard the child leads its
// own, which is written 0 until it has one.
func (g *guard) group() int {
	if g == nil {
		return 0
	}
	return g.cmd.Process.Pid
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
