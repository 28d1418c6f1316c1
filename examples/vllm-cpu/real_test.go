//go:build real

// Package vllmcpu holds the test that runs plans/vllm-cpu.yaml against a real
// vLLM, as its README says. It asserts laws, never latencies.
package vllmcpu

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/xeipuuv/gojsonschema"

	"calrun/internal/shared"
	"calrun/internal/trace"
	"calrun/schema"
)

// run is what the test reads of `calrun run --json`.
type run struct {
	Run     string   `json:"run"`
	Verdict string   `json:"verdict"`
	Exit    int      `json:"exit"`
	Reasons []string `json:"reasons"`
	Report  string   `json:"report"`
	Steps   map[string]struct {
		Status string          `json:"status"`
		Error  string          `json:"error"`
		Result json.RawMessage `json:"result"`
	} `json:"steps"`
}

// measured is what it reads of hardware-run's result.
type measured struct {
	Engine struct {
		Name    string `json:"name"`
		Version string `json:"version"`
	} `json:"engine"`
	Sent      int `json:"sent"`
	Completed int `json:"completed"`
	Failed    int `json:"failed"`
	Tokens    struct {
		Prompt          int64 `json:"prompt"`
		Output          int64 `json:"output"`
		EnginePrompt    int64 `json:"engine_prompt"`
		EngineGenerated int64 `json:"engine_generated"`
		Equal           bool  `json:"equal"`
	} `json:"tokens"`
}

func TestRealVLLM(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	data := shared.Path(t, "traces/splitwise_conv.csv")
	home := strings.TrimSpace(string(output(t, root, "bash", "examples/vllm-cpu/install.sh")))
	tmp := t.TempDir()
	calrun := filepath.Join(tmp, "calrun")
	output(t, root, "go", "build", "-o", calrun, "./cmd/calrun")

	runs := filepath.Join(tmp, "runs")
	plan := filepath.Join(tmp, "vllm-cpu.yaml") // a copy: its lock and pack will lie beside it
	text, err := os.ReadFile(filepath.Join(root, "plans", "vllm-cpu.yaml"))
	if err == nil {
		err = os.WriteFile(plan, text, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(calrun, "run", plan, "--json", "--dir", runs,
		"--input", "vllm="+home+"/venv/bin/vllm", "--input", "model="+home+"/model", "--input", "trace="+data)
	cmd.Dir = root
	r := judged(t, cmd)
	if r.Verdict != "pass" && len(r.Reasons) == 0 {
		t.Errorf("verdict %s without a reason", r.Verdict)
	}
	if _, err := os.Stat(r.Report); err != nil {
		t.Errorf("the report: %v", err)
	}

	var m measured
	if err := json.Unmarshal(r.Steps["hardware"].Result, &m); err != nil {
		t.Fatalf("result of hardware (status %s, %s): %v", r.Steps["hardware"].Status, r.Steps["hardware"].Error, err)
	}
	if m.Engine.Name != "vllm" || m.Engine.Version == "" {
		t.Errorf("engine is %q %q, want a vllm with a version", m.Engine.Name, m.Engine.Version)
	}
	if m.Sent == 0 || m.Sent != m.Completed+m.Failed {
		t.Errorf("sent %d, completed %d, failed %d: they do not add up", m.Sent, m.Completed, m.Failed)
	}
	if m.Failed == 0 && (!m.Tokens.Equal || m.Tokens.Prompt != m.Tokens.EnginePrompt || m.Tokens.Output != m.Tokens.EngineGenerated) {
		t.Errorf("token totals of the client and of the engine's own counters differ: %+v", m.Tokens)
	}
	checkFiles(t, filepath.Join(runs, "runs", r.Run), m)
	reproduceElsewhere(t, calrun, plan, runs, r)
}

// judged runs calrun. Whatever the verdict honestly is, it is one, and the exit
// code is its own.
func judged(t *testing.T, cmd *exec.Cmd) (r run) {
	t.Helper()
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, os.Stderr
	began := time.Now()
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Fatalf("calrun run --json: %v\n%s", err, out.Bytes())
	}
	t.Logf("run %s: %s (exit %d) after %v\n%s", r.Run, r.Verdict, r.Exit, time.Since(began).Round(time.Second), strings.Join(r.Reasons, "\n"))
	verdicts := map[string]int{"pass": 0, "fail": 1, "inconclusive": 4}
	if code, ok := verdicts[r.Verdict]; !ok || code != cmd.ProcessState.ExitCode() || code != r.Exit {
		t.Fatalf("verdict %q with exit code %d, and %d in the document", r.Verdict, cmd.ProcessState.ExitCode(), r.Exit)
	}
	return r
}

// checkFiles reads every requests.jsonl and result.json of the measurement.
func checkFiles(t *testing.T, dir string, m measured) {
	t.Helper()
	var rows, results int
	err := filepath.WalkDir(filepath.Join(dir, "1", "hardware", "measurement"), func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		switch d.Name() {
		case "requests.jsonl":
			got, err := trace.ReadRows(path)
			if err != nil {
				return err
			}
			for _, r := range got {
				rows++
				if r.OK() && !slices.IsSorted([]int64{int64(r.Sent), int64(r.First), int64(r.Last)}) {
					t.Errorf("%s: request %d: sent %v, first %v, last %v are out of order", path, r.ID, r.Sent, r.First, r.Last)
				}
			}
		case "result.json":
			results++
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			found, err := gojsonschema.Validate(gojsonschema.NewBytesLoader(schema.Result), gojsonschema.NewBytesLoader(data))
			if err != nil {
				return err
			}
			for _, e := range found.Errors() {
				t.Errorf("%s: %s", path, e)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if rows != m.Sent || results == 0 {
		t.Errorf("%d rows in %d runs, %d requests sent", rows, results, m.Sent)
	}
}

func output(t *testing.T, dir, name string, args ...string) []byte {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s%s", name, strings.Join(args, " "), err, out, stderr.Bytes())
	}
	return out
}
