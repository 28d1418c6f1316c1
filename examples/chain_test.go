package examples

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

// onPath builds calrun and returns the environment that finds it.
func onPath(t *testing.T) []string {
	t.Helper()
	bin := t.TempDir()
	sh(t, root(t), "go build -o "+filepath.Join(bin, "calrun")+" ./cmd/calrun")
	return []string{"CALRUN_LOCKS=" + t.TempDir(), "PATH=" + bin + string(os.PathListSeparator) + os.Getenv("PATH")}
}

// needs is for what CI has: missing there is a failure.
func needs(t *testing.T, program string) {
	t.Helper()
	if _, err := exec.LookPath(program); err == nil {
		return
	}
	if os.Getenv("CI") != "" {
		t.Fatal(program + " is missing, and CI must run this example")
	}
	t.Skip(program + " is missing")
}

// The workflow's steps run as GitHub's runner runs them, in its shell and with
// its variables: once within the capacity, once above.
func TestGithubActions(t *testing.T) {
	needs(t, "python3")
	needs(t, "bash")
	env := onPath(t)
	t.Run("README", func(t *testing.T) {
		if out := sh(t, workshop(t, "github-actions"), commands(t, "github-actions"), env...); !strings.Contains(out, "PASS") {
			t.Errorf("it prints:\n%s", out)
		}
	})
	text, err := os.ReadFile("github-actions/workflow.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var workflow struct {
		Jobs map[string]struct {
			Env   map[string]string
			Steps []struct{ Name, Run, Uses, If string }
		}
	}
	if err := yaml.Unmarshal(text, &workflow); err != nil {
		t.Fatal(err)
	}
	job := workflow.Jobs["gate"]
	for _, c := range []struct {
		reason, rate string
		exit         int
		want         []string
	}{
		{"as it is", job.Env["RATE"], 0, nil},
		{"uncomfortable", "400", 0, []string{"::notice file=plan.yaml,line=", "capacity.comfortable"}},
		{"above the capacity", "500", 1, []string{"::error file=plan.yaml,line=17,title=gate capacity::capacity.room: fail: load < 0.8 (load = 0.9)"}},
	} {
		t.Run(c.reason, func(t *testing.T) {
			dir := workshop(t, "github-actions")
			script := filepath.Join(t.TempDir(), "step.sh")
			summary := filepath.Join(dir, "summary.md")
			ran := 0
			for _, step := range job.Steps {
				if step.Run == "" {
					continue
				}
				if err := os.WriteFile(script, []byte(step.Run), 0o644); err != nil {
					t.Fatal(err)
				}
				cmd := exec.Command("bash", "--noprofile", "--norc", "-eo", "pipefail", script)
				cmd.Dir = dir
				cmd.Env = append(append(os.Environ(), env...), "RATE="+c.rate, "CI=true", "GITHUB_ACTIONS=true", "GITHUB_WORKSPACE="+dir, "GITHUB_STEP_SUMMARY="+summary)
				out, _ := cmd.CombinedOutput()
				ran++
				if step.Name != "gate" {
					if code := cmd.ProcessState.ExitCode(); code != 0 {
						t.Fatalf("step %s ends with %d:\n%s", step.Name, code, out)
					}
					continue
				}
				if code := cmd.ProcessState.ExitCode(); code != c.exit {
					t.Errorf("the gate ends with %d, want %d:\n%s", code, c.exit, out)
				}
				for _, want := range c.want {
					if !strings.Contains(string(out), want) {
						t.Errorf("no %q in:\n%s", want, out)
					}
				}
			}
			if data, err := os.ReadFile(summary); err != nil || !strings.Contains(string(data), "| capacity | room |") {
				t.Errorf("the job's summary: %v\n%s", err, data)
			}
			for _, file := range []string{"junit.xml", "calrun.prom"} {
				if _, err := os.Stat(filepath.Join(dir, file)); err != nil {
					t.Error(err)
				}
			}
			if ran != 3 {
				t.Errorf("%d steps ran, want 3", ran)
			}
		})
	}
}

func TestPython(t *testing.T) {
	needs(t, "python3")
	out := sh(t, workshop(t, "python"), commands(t, "python"), onPath(t)...)
	for _, want := range []string{"could not work: saturation:", "table.json is not there yet", "resumed: resumed", "verdict pass, load 0.60"} {
		if !strings.Contains(out, want) {
			t.Errorf("the command does not print %q:\n%s", want, out)
		}
	}
}

// The manifest's script runs as a pod would run it, its folders apart, and a
// second pod on the same volume finds the verdict of the first.
func TestArgo(t *testing.T) {
	env := onPath(t)
	dir := workshop(t, "argo")
	sh(t, dir, commands(t, "argo"), env...)
	text, err := os.ReadFile(filepath.Join(dir, "workflow.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var manifest struct {
		Spec struct {
			Templates []struct {
				Container struct {
					Args []string
					Env  []struct{ Name, Value string }
				}
			}
		}
	}
	if err := yaml.Unmarshal(text, &manifest); err != nil {
		t.Fatal(err)
	}
	container := manifest.Spec.Templates[0].Container
	pod := func(volume, rate, token string) (int, string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Join(volume, "work"), 0o755); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("sh", "-c", strings.ReplaceAll(container.Args[0], "/calrun/", volume+"/"))
		cmd.Env = append(os.Environ(), env...)
		for _, e := range container.Env {
			value := strings.ReplaceAll(e.Value, "{{workflow.parameters.rate}}", rate)
			if e.Name == "CALRUN_INPUT_token" {
				value = token
			}
			cmd.Env = append(cmd.Env, e.Name+"="+value)
		}
		out, _ := cmd.CombinedOutput()
		verdict, err := os.ReadFile(filepath.Join(volume, "work", "verdict"))
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if cmd.ProcessState.ExitCode() < 2 {
			for _, file := range []string{"document.json", "report.html"} {
				if _, err := os.Stat(filepath.Join(volume, "work", file)); err != nil {
					t.Errorf("%v\n%s", err, out)
				}
			}
		}
		return cmd.ProcessState.ExitCode(), strings.TrimSpace(string(verdict))
	}
	const token = "correct-horse-battery"
	volume := t.TempDir()
	if code, _ := pod(volume, "30", ""); code != 2 {
		t.Errorf("without the secret: exit %d, want 2", code)
	}
	for _, try := range []string{"first", "second"} {
		if code, verdict := pod(volume, "30", token); code != 0 || verdict != "pass" {
			t.Errorf("%s pod: exit %d, verdict %q", try, code, verdict)
		}
	}
	if code, verdict := pod(t.TempDir(), "50", token); code != 1 || verdict != "fail" {
		t.Errorf("above the capacity: exit %d, verdict %q", code, verdict)
	}
	if code, verdict := pod(t.TempDir(), `30"; touch /tmp/no; "`, token); code != 2 || verdict != "" {
		t.Errorf("a parameter that is a script: exit %d, verdict %q", code, verdict)
	}
}
