package plans

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"calrun/internal/shared"
	"calrun/pipeline"
)

// foreseen runs a plan after asking what a run would do: that must be what
// the first round does, and asking must write nothing. It returns what was
// said of each step, and the run.
func foreseen(t *testing.T, dir string, args ...string) (said map[string]pipeline.Action, exit int, out, log string) {
	t.Helper()
	args = append(args, "--json", "--dir", dir)
	before, err := pipeline.DigestPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	exit, out, log = calrun(append([]string{"plan"}, args...)...)
	var f pipeline.Forecast
	if err := json.Unmarshal([]byte(out), &f); exit != 0 || err != nil || len(f.Steps) == 0 {
		t.Fatalf("calrun plan: exit %d, %v\n%s%s", exit, err, out, log)
	}
	if after, err := pipeline.DigestPath(dir); err != nil || after != before {
		t.Fatalf("calrun plan changed the folder of runs: %v", err)
	}
	exit, out, log = calrun(append([]string{"run"}, args...)...)
	var run struct {
		Rounds []struct {
			Steps map[string]struct{ Status, From string }
			Gates map[string]struct{ Verdict string }
		}
	}
	if err := json.Unmarshal([]byte(out), &run); err != nil || len(run.Rounds) == 0 {
		t.Fatalf("calrun run: exit %d, %v\n%s%s", exit, err, out, log)
	}
	said, first := map[string]pipeline.Action{}, run.Rounds[0]
	for _, s := range f.Steps {
		said[s.Name] = s.Action
		did, ran := first.Steps[s.Name]
		right := true
		switch s.Action {
		case pipeline.ActRun:
			right = did.Status == "done"
		case pipeline.ActReuse:
			right = did.Status == "reused" && did.From == "run "+s.From
		case pipeline.ActJudge:
			right = first.Gates[s.Name].Verdict != ""
		case pipeline.ActRouted:
			right = !ran
		case pipeline.ActUnknown:
			right = did.Status == "done" || did.Status == "reused"
		}
		if !right {
			t.Errorf("%s: said %s (%s), and it was %q from %q", s.Name, s.Action, s.Why, did.Status, did.From)
		}
	}
	return said, exit, out, log
}

// The plan of a recorded measurement does what was foreseen, at first and
// again, when all of it is known.
func TestImportedIsForeseen(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "runs")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	args := []string{
		"imported.yaml", "--input", "measurement=" + shared.Path(t, "measured/RTX4090_Llama-3.1-8B"),
		"--input", "profiles=" + shared.Path(t, "measured/RTX4090_profile"),
	}
	for _, want := range []pipeline.Action{pipeline.ActUnknown, pipeline.ActReuse} {
		said, exit, out, log := foreseen(t, dir, args...)
		if exit != 0 && exit != 1 && exit != 4 {
			t.Fatalf("exit %d\n%s%s", exit, out, log)
		}
		if said["error"] != want || want == pipeline.ActUnknown && said["hardware"] != pipeline.ActRun {
			t.Errorf("said of the steps: %v, and of error not that it is %s", said, want)
		}
	}
}
