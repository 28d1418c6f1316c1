package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"calrun": main})
}

// The stories in testdata/script are what the command promises. Beside the
// usual words they know
//
//	code N cmd args...      cmd ends with exit code N
//	json PATH [VALUE]       the last stdout is one JSON document in which PATH is VALUE
//	waitfor FILE            FILE is there before long
func TestScript(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script", RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("CALRUN_LOCKS", e.WorkDir+"/.locks")
			e.Setenv("NO_COLOR", "1")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"code": exitCode, "json": oneDocument, "waitfor": waitFor,
		},
	})
}

func exitCode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code N cmd args...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("%v", err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("%s ends with exit code %d, want %d", strings.Join(args[1:], " "), got, want)
	}
}

func oneDocument(ts *testscript.TestScript, neg bool, args []string) {
	dec := json.NewDecoder(bytes.NewReader([]byte(ts.ReadFile("stdout"))))
	var doc any
	ts.Check(dec.Decode(&doc))
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		ts.Fatalf("stdout has more than one JSON document")
	}
	if len(args) == 0 {
		return
	}
	got := doc
	for _, name := range strings.Split(args[0], ".") {
		ok := false
		switch x := got.(type) {
		case map[string]any:
			got, ok = x[name]
		case []any:
			i, err := strconv.Atoi(name)
			if ok = err == nil && i < len(x); ok {
				got = x[i]
			}
		}
		if !ok {
			ts.Fatalf("the document has no %s", args[0])
		}
	}
	if len(args) == 1 {
		return
	}
	if same := fmt.Sprint(got) == args[1]; same == neg {
		ts.Fatalf("%s is %v, want %s (negated: %v)", args[0], got, args[1], neg)
	}
}

func waitFor(ts *testscript.TestScript, _ bool, args []string) {
	for range 600 {
		if _, err := os.Stat(ts.MkAbs(args[0])); err == nil {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	ts.Fatalf("%s did not appear", args[0])
}
