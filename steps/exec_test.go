package steps

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"calrun/pipeline"

	"github.com/rs/zerolog"
)

func TestExec(t *testing.T) {
	tests := []struct {
		name, script string
		result       map[string]string
		want, reason string // of the result as JSON, or of the error
	}{
		{
			"one document in, one out", `cat > "$KEEP/in.json"; echo '{"x": 1.5, "ok": true, "who": "me", "list": [1, 2]}'`,
			map[string]string{"x": "float", "ok": "bool", "who": "string", "list": "[number]"},
			`{"list":[1,2],"ok":true,"who":"me","x":1.5}`, "",
		},
		{"the exit code and the last lines", "echo no such card >&2; exit 7", map[string]string{"x": "float"}, "", "exit status 7; its last lines:\nno such card"},
		{"a missing field", `echo '{}'`, map[string]string{"x": "float"}, "", "no field x, which the plan declares as float"},
		{"an optional field", `echo '{}'`, map[string]string{"x": "float?"}, `{}`, ""},
		{"null is missing", `echo '{"x": null}'`, map[string]string{"x": "float"}, "", "no field x"},
		{"a field of another type", `echo '{"x": "1"}'`, map[string]string{"x": "float"}, "", "field x: 1 is no number"},
		{"a fraction where a count is declared", `echo '{"x": 1.5}'`, map[string]string{"x": "int"}, "", "is no whole number"},
		{"a field that nobody declared", `echo '{"x": 1, "y": 2}'`, map[string]string{"x": "float"}, "", "a field y, which the plan does not declare"},
		{"a number that JSON does not have", `echo '{"x": NaN}'`, map[string]string{"x": "float"}, "", "stdout is not one JSON object"},
		{"logs on stdout", `echo hello; echo '{"x": 1}'`, map[string]string{"x": "float"}, "", "print logs to stderr"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			s := &Exec{
				Command: []string{"sh", "-c", tt.script}, Result: tt.result, Env: map[string]string{"KEEP": dir},
				Input: json.RawMessage(`{"rate": 2}`),
			}
			s.Root(dir)
			out, err := s.Run(t.Context(), pipeline.NewScratch(dir, zerolog.Nop()))
			if tt.reason != "" {
				if err == nil || !strings.Contains(err.Error(), tt.reason) {
					t.Fatalf("got %v, want %q", err, tt.reason)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got, _ := json.Marshal(out); string(got) != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

// The program's contract: what stands on stdin, which environment it has.
func TestExecContract(t *testing.T) {
	t.Setenv("CALRUN_TEST_SECRET", "x")
	dir := t.TempDir()
	s := &Exec{
		Command: []string{"sh", "-c", `cat > out.json; env > env.txt; mkdir "$OUT/d"; echo '{"f": "d"}'`},
		Result:  map[string]string{"f": "dir"}, Env: map[string]string{"OUT": dir, "A": "b"}, Input: json.RawMessage(`{"rate":2}`),
	}
	s.Root(dir)
	out, err := s.Run(t.Context(), pipeline.NewScratch(dir, zerolog.Nop()))
	if err != nil {
		t.Fatal(err)
	}
	if a := out.(map[string]any)["f"].(pipeline.Artefact); a.Of != "dir" || a.Path != "d" {
		t.Errorf("the folder is %+v", a)
	}
	in, err := os.ReadFile(filepath.Join(dir, "out.json"))
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"calrun":"v1","step":"scratch","dir":"` + dir + `","input":{"rate":2}}`; string(in) != want {
		t.Errorf("stdin was %s, want %s", in, want)
	}
	env, err := os.ReadFile(filepath.Join(dir, "env.txt"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(env), "A=b\n") || strings.Contains(string(env), "CALRUN_TEST_SECRET") {
		t.Errorf("environment: %s", env)
	}
}

// A change of the script is a change of the step.
func TestExecIdentity(t *testing.T) {
	dir := t.TempDir()
	script := filepath.Join(dir, "tool.sh")
	id := func(text string) map[string]string {
		t.Helper()
		if err := os.WriteFile(script, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		s := &Exec{Command: []string{"sh", "tool.sh", "--fast"}}
		s.Root(dir)
		id, err := s.Identity(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	a, b := id("exit 0"), id("exit 1")
	if a["program"] != b["program"] || a["argument tool.sh"] == b["argument tool.sh"] || len(a) != 2 {
		t.Errorf("%v and %v", a, b)
	}
	missing := &Exec{Command: []string{"./nowhere"}}
	missing.Root(dir)
	if _, err := missing.Identity(context.Background()); err == nil {
		t.Error("a program that is not there has an identity")
	}
}
