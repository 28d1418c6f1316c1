//go:build unix

package process

import (
	"errors"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// guard is a shell that outlives calrun by a moment. It is told what is at
// work before that is, and if calrun dies meanwhile it kills that. The system
// ties the child's life to calrun's (where it can), but not that of what the
// child has started: an engine behind a script would stay, and keep its port
// and its memory. What left its group for one of its own is found by the
// variable of its lease, where the system shows the environment of a process.
type guard struct {
	inherits []*os.File

	mu   sync.Mutex
	work []ward
	cmd  *exec.Cmd // nil: not started yet
	word *os.File  // calrun's end of the guard's input; the system closes it however calrun dies
}

// ward is what a guard watches over: a group, and the variable that those of
// it carry who left it; empty if they carry none.
type ward struct {
	group int
	env   string
}

// standing is the guard of this process, from its first child to its own end:
// a guard for each child would cost as much as a short child does.
var standing guard

// guardWith is the guard for a child that inherits these files. One that is
// to keep them open until the child's tree is dead, and no longer, cannot be
// the standing one.
func guardWith(files []*os.File) *guard {
	if len(files) == 0 {
		return &standing
	}
	return &guard{inherits: files}
}

// separator stands between the fields of a line that the guard reads.
const separator = "\x1f"

// guardScript takes no notice of what its group is told. Each line is all
// that is at work: the groups, and the variables behind a separator, $1 each.
// At the end of its input the last whole line counts; if it is empty there is
// nothing to do.
//
// It looks until nobody is found three times in a row: one may have started
// another while it looked, and for a moment in which a process becomes another
// program the system shows it without environment. One that does not die, as
// long as it gives back the memory of a card, is waited for, but not for ever.
const guardScript = `trap '' TERM INT HUP
while IFS= read -r line; do work=$line; done
[ -n "$work" ] || exit 0
set -f
IFS=$1
set -- $work
groups=$1
shift
IFS='
'
marks="$*"
set +f
all() { IFS='|'; for g in $groups; do kill -s KILL -- "-$g"; done; IFS='
'; }
n=0 calm=0
while [ $n -lt 700 ] && [ $calm -lt 3 ]; do
	[ $n = 0 ] || sleep 0.03
	all
	found=$(
		grep -lsE "\) [^ZX] [0-9]+ ($groups) " /proc/[0-9]*/stat
		[ -z "$marks" ] || grep -lszxF -e "$marks" /proc/[0-9]*/environ
	) # fails for each that just ended
	calm=$((calm + 1))
	for f in $found; do calm=0 f=${f#/proc/}; kill -s KILL "${f%%/*}"; done
	n=$((n + 1))
done 2>/dev/null`

// watch tells the guard of a ward that is about to begin, and returns the
// guard's process; 0 if there is none, as without a shell.
func (g *guard) watch(w ward) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.work = append(g.work, w)
	if g.tell() != nil && g.start() != nil {
		return 0
	}
	return g.cmd.Process.Pid
}

// over tells the guard that a group has ended. The standing one stays.
func (g *guard) over(group int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.work = slices.DeleteFunc(g.work, func(w ward) bool { return w.group == group })
	_ = g.tell() // one that is gone needs no word
	if g != &standing {
		g.leave()
	}
}

// tell writes down what is at work.
func (g *guard) tell() error {
	if g.word == nil {
		return os.ErrClosed
	}
	var groups, marks []string
	for _, w := range g.work {
		groups = append(groups, strconv.Itoa(w.group))
		// One with a line's end would be two patterns to grep: either might fit a stranger.
		if w.env != "" && !strings.ContainsAny(w.env, "\n"+separator) && !slices.Contains(marks, w.env) {
			marks = append(marks, w.env)
		}
	}
	line := strings.Join(append([]string{strings.Join(groups, "|")}, marks...), separator)
	_, err := g.word.WriteString(line + "\n")
	return err
}

// start starts the shell, anew if somebody has killed it, and tells it.
func (g *guard) start() error {
	g.leave()
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	cmd := exec.Command("sh", "-c", guardScript, "calrun-guard", separator)
	cmd.Stdin, cmd.Dir, cmd.ExtraFiles = r, "/", g.inherits
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // ^C in the terminal is not for it
	if err := cmd.Start(); err != nil {
		return errors.Join(err, w.Close())
	}
	g.cmd, g.word = cmd, w
	return g.tell()
}

// leave waits for the guard's end, which has nothing to do any more.
func (g *guard) leave() {
	if g.cmd == nil {
		return
	}
	_ = g.word.Close()
	_ = g.cmd.Wait()
	g.cmd, g.word = nil, nil
}
