//go:build real

package vllmcpu

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// reproduceElsewhere accepts a run and reproduces it from plan, lock and pack
// alone: in another folder, without the runs, without a PATH, so that there is
// neither engine nor Python.
func reproduceElsewhere(t *testing.T, calrun, plan, runs string, r run) {
	t.Helper()
	args := []string{"accept", r.Run, "--dir", runs}
	if r.Verdict != "pass" {
		args = append(args, "--verdict", r.Verdict)
	}
	t.Logf("%s", output(t, filepath.Dir(plan), calrun, args...))
	clone := t.TempDir()
	for _, suffix := range []string{".yaml", ".lock.yaml", ".pack"} {
		file := strings.TrimSuffix(plan, ".yaml") + suffix
		data, err := os.ReadFile(file)
		if err == nil {
			err = os.WriteFile(filepath.Join(clone, filepath.Base(file)), data, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %d bytes", filepath.Base(file), len(data))
	}
	cmd := exec.Command(calrun, "reproduce", strings.TrimSuffix(filepath.Base(plan), ".yaml")+".lock.yaml", "--json")
	cmd.Dir, cmd.Env = clone, []string{"HOME=" + t.TempDir(), "TMPDIR=" + t.TempDir()}
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("calrun reproduce: %v\n%s", err, out)
	}
	var doc struct {
		Match  bool
		Checks []struct{ What, Finding string }
	}
	if err := json.Unmarshal(out, &doc); err != nil || !doc.Match {
		t.Fatalf("match %v, %v\n%s", doc.Match, err, out)
	}
	found := map[string]string{}
	for _, c := range doc.Checks {
		found[c.What] = c.Finding
	}
	for what, want := range map[string]string{
		"round 1 hardware": "recorded", "round 1 sim": "same", "round 1 error": "same", "round 1 gate verdict": "same", "report": "same",
	} {
		if found[what] != want {
			t.Errorf("%s is %q, want %q", what, found[what], want)
		}
	}
}
