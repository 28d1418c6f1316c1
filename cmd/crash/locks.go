package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// lockPlan holds a lock for a while and makes a folder that can be made once.
const lockPlan = `version: calrun/v1
name: locks
steps:
  hold:
    uses: exec
    locks: [gpu]
    with:
      command: [sh, -c, 'mkdir "$SHARED/held" || echo "two holders" >>"$SHARED/violations"; echo $NUMBER $(date +%s%N) >>"$SHARED/served"; sleep 0.3; rmdir "$SHARED/held"; echo "{\"n\": 1}"']
      env: {SHARED: "@SHARED", NUMBER: "@NUMBER"}
      result: {n: float}
  verdict:
    uses: gate
    of: hold
    assert: {one: n == 1}
`

// crowd is how many processes want the lock at once.
const crowd = 8

// queuePlaces are the places that only one who waits for a lock meets.
var queuePlaces = []string{"lock.draw", "lock.drawn"}

// locks lets processes in folders of their own want one lock. The first holder
// is killed: the lock must be the next one's within a second, and the others
// must be served in the order in which they came.
func (b *bench) locks(ctx context.Context) error {
	r := b.add(fmt.Sprintf("%d processes want one lock", crowd))
	shared, err := os.MkdirTemp(b.dir, "locks-*")
	if err != nil {
		return err
	}
	queue := filepath.Join(shared, "locks", "gpu.queue")
	var crowded []*exec.Cmd
	for i := range crowd {
		home := filepath.Join(shared, strconv.Itoa(i))
		plan := strings.NewReplacer("@SHARED", shared, "@NUMBER", strconv.Itoa(i)).Replace(lockPlan)
		if i == 0 {
			plan = strings.Replace(plan, "sleep 0.3", "sleep 600", 1)
		}
		if err := os.MkdirAll(home, 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(home, "plan.yaml"), []byte(plan), 0o644); err != nil {
			return err
		}
		cmd := exec.CommandContext(ctx, b.bin, "run", "plan.yaml")
		cmd.Dir, cmd.Env = home, append(os.Environ(), "CALRUN_LOCKS="+filepath.Join(shared, "locks"))
		if i == 1 { // two that die as they come keep nobody waiting
			for _, name := range queuePlaces {
				dead := exec.CommandContext(ctx, b.bin, "run", "plan.yaml")
				dead.Dir, dead.Env = home, append(cmd.Env, "CALRUN_FAIL="+name)
				if err := dead.Run(); err == nil || dead.ProcessState.ExitCode() != -1 {
					r.violations = append(r.violations, fmt.Sprintf("place %s was not reached: %v", name, err))
				}
				r.kills, r.places = r.kills+1, r.places+1
			}
		}
		if err := cmd.Start(); err != nil {
			return err
		}
		crowded = append(crowded, cmd)
		// It is there when it holds the lock, or has a ticket: the name says whose.
		mine := filepath.Join(queue, fmt.Sprintf("[0-9]*-%d-*", cmd.Process.Pid))
		for deadline := time.Now().Add(time.Minute); ctx.Err() == nil; time.Sleep(5 * time.Millisecond) {
			if i == 0 {
				mine = filepath.Join(shared, "served")
			}
			if there, _ := filepath.Glob(mine); len(there) > 0 {
				break
			}
			if time.Now().After(deadline) {
				return fmt.Errorf("process %d does not come to the lock", i)
			}
		}
	}
	// The last but one dies in the queue, then the holder; its marker goes with it.
	for _, i := range []int{crowd - 2, 0} {
		if i == 0 {
			_ = os.Remove(filepath.Join(shared, "held"))
		}
		if err := crowded[i].Process.Signal(syscall.SIGKILL); err != nil {
			return err
		}
		r.kills++
	}
	freed := time.Now()
	for _, cmd := range crowded {
		_ = cmd.Wait() // what was served is looked at
	}
	r.violations = append(r.violations, served(shared, freed)...)
	b.say(r)
	return nil
}

// served holds what the processes wrote against the law.
func served(shared string, freed time.Time) (out []string) {
	if data, err := os.ReadFile(filepath.Join(shared, "violations")); err == nil {
		out = append(out, strings.TrimSpace(string(data)))
	}
	data, err := os.ReadFile(filepath.Join(shared, "served"))
	if err != nil {
		return append(out, err.Error())
	}
	var order []string
	for n, line := range strings.Split(strings.TrimSpace(string(data)), "\n") {
		number, at, _ := strings.Cut(line, " ")
		order = append(order, number)
		if ns, err := strconv.ParseInt(at, 10, 64); n == 1 && err == nil {
			took := time.Unix(0, ns).Sub(freed)
			fmt.Printf("the lock was the next one's %s after its holder's death\n", took.Round(time.Millisecond))
			if took > time.Second {
				out = append(out, fmt.Sprintf("the lock was freed %s after its holder's death", took))
			}
		}
	}
	if want := []string{"0", "1", "2", "3", "4", "5", "7"}; !slices.Equal(order, want) {
		out = append(out, fmt.Sprintf("served in the order %v, they came in the order %v", order, want))
	}
	return out
}
