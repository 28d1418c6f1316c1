// Package examples runs what the READMEs of the examples tell their readers
// to type.
package examples

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// commands are the lines of a README's sh blocks.
func commands(t *testing.T, dir string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, m := range regexp.MustCompile("(?ms)^```sh\n(.*?)^```").FindAllSubmatch(text, -1) {
		out = append(out, string(m[1]))
	}
	if out == nil {
		t.Fatalf("%s/README.md has no commands", dir)
	}
	return strings.Join(out, "\n")
}

// workshop is a copy of an example, so that nothing is written into the
// checkout, with calrun on its PATH.
func workshop(t *testing.T, example string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(example)); err != nil {
		t.Fatal(err)
	}
	for _, left := range []string{".calrun", "my-calrun"} { // of someone who typed the commands here
		if err := os.RemoveAll(filepath.Join(dir, left)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return fmt.Sprint(l.Addr().(*net.TCPAddr).Port)
}

// sh runs a script that stops at the first command that fails.
func sh(t *testing.T, dir, script string, env ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-e", "-c", script)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	cmd.WaitDelay = 5 * time.Second
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v of:\n%s\nit printed:\n%s", err, script, out.String())
	}
	return out.String()
}

func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestYourOwnStep(t *testing.T) {
	dir := workshop(t, "your-own-step")
	// The checkout is elsewhere, and its dependencies may be ahead of the
	// example's by a day.
	sh(t, dir, "go mod edit -replace calrun="+root(t)+"; cat "+filepath.Join(root(t), "go.sum")+" >>go.sum")
	// The README's port may be taken on this machine.
	script := strings.ReplaceAll(commands(t, "your-own-step"), "8123", freePort(t))
	out := sh(t, dir, script, "CALRUN_LOCKS="+t.TempDir(), "GOFLAGS=-mod=mod")
	for _, want := range []string{"Wait until an engine is idle.", "waited_s", "PASS"} {
		if !strings.Contains(out, want) {
			t.Errorf("the commands do not print %q:\n%s", want, out)
		}
	}
}

// withPython is a workshop with calrun and Python on its PATH, and what the
// README's commands print there.
func withPython(t *testing.T, example string) string {
	t.Helper()
	needs(t, "python3")
	bin := t.TempDir()
	sh(t, root(t), "go build -o "+filepath.Join(bin, "calrun")+" ./cmd/calrun")
	dir := workshop(t, example)
	return sh(t, dir, commands(t, example), "CALRUN_LOCKS="+t.TempDir(), "PATH="+bin+string(os.PathListSeparator)+os.Getenv("PATH"))
}

func TestExternalStep(t *testing.T) {
	out := withPython(t, "external-step")
	for _, want := range []string{"plan.yaml: ok", "a step of 64 sequences takes 14.40 ms", "PASS", `"status": "reused"`} {
		if !strings.Contains(out, want) {
			t.Errorf("the commands do not print %q:\n%s", want, out)
		}
	}
}

func TestMG1(t *testing.T) {
	out := withPython(t, "mg1")
	t.Log(out)
	for _, want := range []string{"plan.yaml: ok", "DONE"} {
		if !strings.Contains(out, want) {
			t.Errorf("the commands do not print %q:\n%s", want, out)
		}
	}
}
