//go:build real

package examples

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// long runs what downloads and compiles, without the limit of [sh].
func long(t *testing.T, dir, script string, env ...string) string {
	t.Helper()
	cmd := exec.Command("bash", "-e", "-o", "pipefail", "-c", script)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v of:\n%s\nit printed:\n%s", err, script, out)
	}
	return string(out)
}

func TestRealMLflow(t *testing.T) {
	out := long(t, workshop(t, "mlflow"), commands(t, "mlflow"), onPath(t)...)
	if !strings.Contains(out, "MLflow has 2 metrics of run ") || !strings.Contains(out, "verdict pass") {
		t.Errorf("it prints:\n%s", out)
	}
}

// Argo's own types are the judge of what is written for it.
func TestRealArgoTypes(t *testing.T) {
	dir := workshop(t, "argo")
	long(t, dir, commands(t, "argo"), onPath(t)...)
	long(t, filepath.Join(dir, "check"), "go test ./...", "ARGO_MANIFEST="+filepath.Join(dir, "workflow.yaml"), "GOFLAGS=-mod=mod")
}
