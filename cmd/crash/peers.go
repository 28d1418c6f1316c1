package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// peer is another runner of the same three steps, and how it is called.
type peer struct {
	name  string
	call  []string
	mend  [][]string // what its manual says to do when it refuses to go on, in turn
	kills int
}

// peerKills is how often a runner is killed in either way; Snakemake takes
// seconds for what the others take a moment.
const peerKills = 40

// peers are the runners beside calrun; their programs are looked up in PATH.
var peers = []peer{
	{"make", []string{"make", "-s"}, nil, peerKills},
	{"ninja", []string{"ninja", "--quiet"}, nil, peerKills},
	{"go-task", []string{"task", "--silent"}, nil, peerKills},
	{"Snakemake", []string{"snakemake", "-c1", "-q"}, [][]string{
		{"snakemake", "-c1", "-q", "--unlock"}, {"snakemake", "-c1", "-q", "--rerun-incomplete"},
	}, peerKills / 4},
}

// beside kills the other runners, alone and with all that they have started,
// at random times and calls them again. What they do is counted and is no
// violation.
func (b *bench) beside(ctx context.Context) error {
	for _, p := range peers {
		if _, err := exec.LookPath(p.call[0]); err != nil {
			return fmt.Errorf("%s: %w; make crash-peers installs it", p.name, err)
		}
		home, err := b.folder("peers")
		if err != nil {
			return err
		}
		began := time.Now()
		if out, err := p.command(ctx, home, p.call).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", p.name, err, out)
		}
		took := time.Since(began)
		for _, v := range []victim{alone, group} {
			r := b.add(p.name + v.at())
			b.each(ctx, 5*p.kills, func(i int, rnd *rand.Rand) {
				enough := false
				if b.note(func() { enough = r.kills >= p.kills }); enough {
					return
				}
				if err := b.peerCase(ctx, p, v, r, time.Duration(rnd.Float64()*float64(took))); err != nil {
					b.note(func() { r.violations = append(r.violations, err.Error()) })
				}
			})
			b.say(r)
		}
	}
	return nil
}

// peerCase kills a runner once and lets it go on.
func (b *bench) peerCase(ctx context.Context, p peer, v victim, r *row, at time.Duration) error {
	home, err := b.folder("peers")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(home) }()
	cmd := p.command(ctx, home, p.call)
	if err := cmd.Start(); err != nil {
		return err
	}
	time.Sleep(at)
	v.kill(cmd.Process.Pid)
	if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() != -1 {
		return nil // it ended before it was killed
	}
	err = p.command(ctx, home, p.call).Run()
	called, manual := 1, 0
	for _, mend := range p.mend {
		if err == nil {
			break
		}
		manual++
		if err = p.command(ctx, home, mend).Run(); err == nil && mend[len(mend)-1] == "--unlock" {
			called++
			err = p.command(ctx, home, p.call).Run()
		}
	}
	half, again := peerFaults(home)
	b.note(func() {
		r.kills++
		r.resume += called
		r.manual += manual
		r.half += half
		r.again += again
	})
	if err != nil {
		return fmt.Errorf("%s does not go on: %w", p.name, err)
	}
	return nil
}

// peerFaults counts half files that were taken for whole ones, and steps that
// ran again after their end.
func peerFaults(home string) (half, again int) {
	for _, step := range []string{"make", "fold", "last"} {
		data, err := os.ReadFile(filepath.Join(home, step+".txt"))
		if err != nil || strings.Count(string(data), "\n") != 1000 {
			half = 1
		}
	}
	if _, err := os.Stat(filepath.Join(home, "violations")); err == nil {
		half = 1
	}
	diary, err := os.ReadFile(filepath.Join(home, "diary"))
	if err != nil {
		return half, 0
	}
	ended := map[string]bool{}
	for line := range strings.SplitSeq(string(diary), "\n") {
		word, step, _ := strings.Cut(line, " ")
		if word == "start" && ended[step] {
			again = 1
		}
		ended[step] = ended[step] || word == "end"
	}
	return half, again
}

// command is a call of the runner, in a group of its own.
func (p peer) command(ctx context.Context, home string, call []string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, call[0], call[1:]...)
	cmd.Dir = home
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = 10 * time.Second
	return cmd
}
