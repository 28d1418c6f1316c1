// Package plans holds the plans that calrun ships; their test loads each and
// runs the one that needs nothing.
package plans

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"calrun/cmd/calrun/cli"
	"calrun/internal/shared"
	"calrun/pipeline"
	"calrun/steps"
)

func calrun(args ...string) (exit int, stdout, stderr string) {
	var out, err bytes.Buffer
	p := cli.System()
	p.Args, p.In, p.Out, p.Err = args, strings.NewReader(""), &out, &err
	exit = cli.Main(p, steps.Builtin()...)
	return exit, out.String(), err.String()
}

func TestShippedPlansAreValid(t *testing.T) {
	files, err := filepath.Glob("*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no plans here: %v", err)
	}
	for _, file := range append(files, "../examples/vllm-cpu/closed-loop.yaml", "../examples/vidur/tune.yaml") {
		if exit, out, complaint := calrun("validate", file); exit != 0 {
			t.Errorf("calrun validate %s: exit %d\n%s%s", file, exit, out, complaint)
		}
	}
}

// The plan of the definitions loads as it stands there, without its inputs,
// and with what it warns of: an engine that calrun cannot stop holds the cards
// that it would profile.
func TestReferencePlan(t *testing.T) {
	text, err := os.ReadFile(shared.Path(t, "../design/product.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, plan, _ := strings.Cut(string(text), "```yaml\n")
	plan, _, found := strings.Cut(plan, "```\n")
	if !found {
		t.Fatal("no plan in the definitions")
	}
	file := filepath.Join(t.TempDir(), "reference.yaml")
	if err := os.WriteFile(file, []byte(plan), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"validate", "plan"} {
		exit, out, complaint := calrun(verb, file)
		if exit != 0 {
			t.Errorf("calrun %s: exit %d\n%s%s", verb, exit, out, complaint)
		}
		if verb == "validate" && (strings.Count(complaint+out, "warning:") != 3 || !strings.Contains(complaint+out, "calrun cannot stop this engine")) {
			t.Errorf("calrun %s says\n%s%s", verb, out, complaint)
		}
	}
}

// The quickstart finds its profile wrong, repairs it and looks again. Its
// second verdict may be "not sure" here, where other tests keep the machine
// busy while it measures; it may not be "fail", and it may not skip the way.
func TestQuickstart(t *testing.T) {
	if testing.Short() {
		t.Skip("half a minute of measuring")
	}
	dir := t.TempDir()
	_, exit, out, log := foreseen(t, dir, "quickstart.yaml")
	var run struct {
		Run     string
		Verdict string
		Report  string
		Rounds  []struct {
			Gates map[string]struct{ Verdict string }
			Route *struct{ Run string }
		}
		Steps map[string]struct {
			Result struct {
				Sent, Completed, Failed int
				Tokens                  struct{ Equal bool }
			}
		}
	}
	if err := json.Unmarshal([]byte(out), &run); err != nil {
		t.Fatalf("exit %d, %v: %s\n%s", exit, err, out, log)
	}
	want := func(verdict string) int { return map[string]int{"pass": 0, "inconclusive": 4}[verdict] }
	if want(run.Verdict) != exit || (exit == 0) != (run.Verdict == "pass") {
		t.Fatalf("verdict %q, exit %d\n%s", run.Verdict, exit, log)
	}
	if len(run.Rounds) != 2 || run.Rounds[0].Gates["verdict"].Verdict == "pass" || run.Rounds[0].Route == nil || run.Rounds[0].Route.Run != "tune" {
		t.Errorf("rounds %+v, want a first that does not pass and is routed to tune, and a second", run.Rounds)
	}
	hardware := run.Steps["hardware"].Result
	if hardware.Sent == 0 || hardware.Sent != hardware.Completed+hardware.Failed || !hardware.Tokens.Equal {
		t.Errorf("sent, completed, failed, tokens equal: %+v: they do not add up", hardware)
	}
	if page, err := os.ReadFile(run.Report); err != nil || !bytes.Contains(page, []byte("</html>")) {
		t.Errorf("report: %v", err)
	}
	said, exit, out, log := foreseen(t, dir, "quickstart.yaml", "--from", run.Run)
	if exit != want(run.Verdict) || said["hardware"] != pipeline.ActReuse || said["sim"] != pipeline.ActReuse {
		t.Errorf("with the same measurement: exit %d, said %v\n%s%s", exit, said, out, log)
	}
}
