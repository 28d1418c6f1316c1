package pipeline

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"calrun/pipeline/kind"
	"calrun/pipeline/state"
)

// A child of the test binary runs the plan and kills itself, as kill -9
// would, at the moment that the test names; then the test resumes the run.
// Nothing that was finished may run again, and what was finished keeps its
// bytes.
func TestKilledAnywhere(t *testing.T) {
	if dir := os.Getenv("CALRUN_TEST_CHILD"); dir != "" {
		child(dir, os.Getenv("CALRUN_TEST_KILL"))
		return
	}
	moments := []string{
		"begin hw", "part 1 hw", "part 2 hw", "end hw", "begin sim", "begin fix", // inside steps
		"opened 1", "round 1", "resolved 1", "started 1", "part 1", "part 2", "done 1", "judged 1",
		"routed 1", "done 3", "progress 1", "round 2", "judged 2", "progress 2", // between steps: after that event
	}
	for _, moment := range moments {
		t.Run(strings.ReplaceAll(moment, " ", "_"), func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			cmd := exec.Command(os.Args[0], "-test.run=^TestKilledAnywhere$")
			cmd.Env = append(os.Environ(), "CALRUN_TEST_CHILD="+b.dir, "CALRUN_TEST_KILL="+moment)
			out, err := cmd.CombinedOutput()
			if cmd.ProcessState.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
				t.Fatalf("the child was not killed: %v\n%s", err, out)
			}
			b.resumeKilled()
		})
	}
}

// child runs the small plan in a process of its own.
func child(dir, moment string) {
	kill := func() {
		if err := syscall.Kill(os.Getpid(), syscall.SIGKILL); err != nil {
			panic(err)
		}
		select {}
	}
	f := &fakes{calls: calls{filepath.Join(dir, "calls")}}
	f.hook = func(_ context.Context, rt *Runtime, where string) error {
		if where+" "+rt.Step() == moment {
			kill()
		}
		return nil
	}
	store, err := OpenStore(filepath.Join(dir, ".calrun"))
	if err != nil {
		panic(err)
	}
	seen := map[state.EventType]int{}
	r := &Runner{Kinds: f.kinds(), Store: store, Log: nolog, Locks: filepath.Join(dir, "locks"), Version: "test"}
	r.Observe = func(u Update) {
		if u.Event != nil {
			seen[u.Event.Type]++
			if fmt.Sprintf("%s %d", u.Event.Type, seen[u.Event.Type]) == moment {
				kill()
			}
		}
	}
	plan, problems := LoadBytes(filepath.Join(dir, "plan.yaml"), []byte(small), LoadOptions{Kinds: r.Kinds})
	if err := problems.Err(); err != nil {
		panic(err)
	}
	s, err := r.Run(context.Background(), plan, RunOptions{})
	fmt.Println("not killed:", err, mustJSON(s))
}

// resumeKilled resumes the only run there is and holds the outcome against
// what was finished before.
func (b *bench) resumeKilled() {
	b.t.Helper()
	ids, err := b.runner.Store.Runs()
	if err != nil || len(ids) != 1 {
		b.t.Fatalf("runs: %v, %v", ids, err)
	}
	before, err := b.runner.Store.ReadRun(ids[0])
	if err != nil {
		b.t.Fatal(err)
	}
	finished, parts := done(before.State), b.parts(ids[0])
	ran := b.fakes.calls.all()
	s := b.resume(ids[0])
	if s.Exit != ExitPass || len(s.Rounds) != 3 {
		b.t.Fatalf("exit %d after %d rounds: %v", s.Exit, len(s.Rounds), s.Reasons)
	}
	again := b.fakes.calls.all()[len(ran):]
	for name, n := range finished {
		total := 0
		for _, line := range again {
			if line == "run "+name {
				total++
			}
		}
		if most := map[string]int{"hw": 1, "sim": 3, "fix": 2}[name] - n; total > most {
			b.t.Errorf("%s was finished %d times and ran %d times more", name, n, total)
		}
	}
	for path, content := range parts {
		now, err := os.ReadFile(path)
		if err != nil || !bytes.Equal(now, content) {
			b.t.Errorf("part %s changed (%v)", path, err)
		}
	}
	for i := range 2 {
		if n := b.fakes.calls.count(fmt.Sprintf("part hw %d", i+1)); n > 1 && len(parts) > i {
			b.t.Errorf("part %d was made %d times", i+1, n)
		}
	}
	b.nothingLeft(ids[0])
}

func done(s *State) map[string]int {
	out := map[string]int{}
	for _, r := range s.Rounds {
		for name, st := range r.Steps {
			if st.Status == Done {
				out[name]++
			}
		}
		if r.Route != nil && r.Route.Remedy != nil && r.Route.Remedy.Status == Done {
			out[r.Route.Run]++
		}
	}
	return out
}

// parts are the files of all finished parts.
func (b *bench) parts(id string) map[string][]byte {
	paths, _ := filepath.Glob(filepath.Join(b.runner.Store.RunDir(id), "parts", "*", "[0-9a-f]*", "rows"))
	out := map[string][]byte{}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			b.t.Fatal(err)
		}
		out[path] = data
	}
	return out
}

// nothingLeft looks for what unfinished attempts leave.
func (b *bench) nothingLeft(id string) {
	b.t.Helper()
	dir := b.runner.Store.RunDir(id)
	for _, pattern := range []string{"parts/*/" + kind.StagingPrefix + "*", "*/*" + attemptMark + "*/data"} {
		if left, _ := filepath.Glob(filepath.Join(dir, pattern)); len(left) > 0 {
			b.t.Errorf("left behind: %v", left)
		}
	}
}

// A journal that ends anywhere, with a torn line behind it, is gone on with.
// The folders are those of the whole run: what is finished on the disk and
// not in the journal is adopted, never made twice.
func TestResumeFromEveryPrefix(t *testing.T) {
	b := newBench(t)
	whole := b.run(small, RunOptions{})
	path := filepath.Join(b.runner.Store.RunDir(whole.Run), journalFile)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var lines [][]byte
	for sc := bufio.NewScanner(bytes.NewReader(data)); sc.Scan(); {
		lines = append(lines, append(bytes.Clone(sc.Bytes()), '\n'))
	}
	for n := 1; n < len(lines); n++ {
		torn := append(bytes.Join(lines[:n], nil), lines[n][:len(lines[n])/2]...)
		if err := os.WriteFile(path, torn, 0o644); err != nil {
			t.Fatal(err)
		}
		before, err := b.runner.Store.ReadRun(whole.Run)
		if err != nil {
			t.Fatal(err)
		}
		hw := before.State.Step(1, "hw")
		ran := b.fakes.calls.count("run hw")
		s := b.resume(whole.Run)
		if s.Exit != ExitPass || s.Verdict != Pass {
			t.Fatalf("after %d events: exit %d, %v", n, s.Exit, s.Reasons)
		}
		if hw != nil && hw.Status != Pending && b.fakes.calls.count("run hw") != ran {
			t.Errorf("after %d events: hw, %s, ran again", n, hw.Status)
		}
		if b.fakes.calls.count("part hw 1") != 1 {
			t.Fatalf("after %d events: part 1 was made again", n)
		}
	}
}
