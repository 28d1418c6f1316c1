package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"calrun/pipeline"
)

// A run that is killed at the start and at the end of each of its steps, and
// after each of its parts, and resumed each time: nothing that was finished
// runs again, finished parts keep their bytes, and exact and seeded steps find
// what a run that nobody disturbed finds in the same measurement.
func TestKilledInEveryKind(t *testing.T) {
	if testing.Short() {
		t.Skip("a dozen kills")
	}
	home := t.TempDir()
	if err := os.CopyFS(home, os.DirFS("testdata/every-kind")); err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(home, "calrun")
	if out, err := exec.Command("go", "build", "-o", bin, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	k := &killer{t: t, bin: bin, home: home, met: map[string]bool{}, parts: map[string]string{}}
	verb := []string{"run", "plan.yaml"}
	for k.once(verb) {
		verb = []string{"resume"}
	}
	t.Logf("%d kills, %d parts", k.kills, len(k.parts))
	if k.kills < 20 {
		t.Errorf("killed %d times, want a kill at the start and end of each of ten steps at least", k.kills)
	}
	events := k.journal()
	if last := events[len(events)-1]; last.Type != pipeline.EventClosed || last.Closed.Exit != pipeline.ExitFail {
		t.Fatalf("the run ends with %s %+v, want it closed with exit code %d", last.Type, last.Closed, pipeline.ExitFail)
	}
	finishedOnce(t, events)
	for path, digest := range k.parts {
		if now, err := pipeline.DigestPath(path); err != nil || now != digest {
			t.Errorf("part %s: %s, %v; it was %s when it was finished", path, now, err, digest)
		}
	}
	// The same measurement, and nobody in the way.
	again := exec.Command(bin, "run", "plan.yaml", "--from", k.run(), "--dir", ".calrun")
	again.Dir = home
	if out, err := again.CombinedOutput(); again.ProcessState.ExitCode() != pipeline.ExitFail {
		t.Fatalf("run --from: %v\n%s", err, out)
	}
	want := k.journal() // the newest run's
	if got := results(events); !maps.Equal(got, results(want)) {
		t.Errorf("results of exact and seeded steps: %v\nundisturbed: %v", got, results(want))
	}
}

type killer struct {
	t         *testing.T
	bin, home string
	met       map[string]bool   // moments at which it was killed
	parts     map[string]string // folder of a finished part → its digest when first seen
	kills     int
}

// once runs calrun until the journal shows a moment at which it was not
// killed yet, kills it there, and says whether it did.
func (k *killer) once(verb []string) bool {
	k.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, k.bin, verb...)
	cmd.Dir = k.home
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	seen := len(k.journal())
	if err := cmd.Start(); err != nil {
		k.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case err := <-ended:
			var exit *exec.ExitError
			if err != nil && !errors.As(err, &exit) || ctx.Err() != nil || cmd.ProcessState.ExitCode() != pipeline.ExitFail {
				k.t.Fatalf("calrun %s: %v\n%s", strings.Join(verb, " "), err, out.String())
			}
			return false
		case <-time.After(time.Millisecond): // the journal is a file: there is nothing to wait on
		}
		for _, e := range k.journal()[seen:] {
			seen++
			moment := string(e.Type) + " " + e.Step
			if e.Type == pipeline.EventPart {
				moment += " " + e.Part.Key
			}
			switch e.Type {
			case pipeline.EventStarted, pipeline.EventPart, pipeline.EventDone, pipeline.EventJudged, pipeline.EventRouted:
			default:
				continue
			}
			if k.met[moment] {
				continue
			}
			k.met[moment] = true
			err := cmd.Process.Kill()
			if errors.Is(err, os.ErrProcessDone) {
				continue // it was the quicker one: how it ended is looked at above
			}
			if err != nil {
				k.t.Fatal(err)
			}
			<-ended
			k.kills++
			k.keep()
			all := k.journal()
			return all[len(all)-1].Type != pipeline.EventClosed // it may have closed before it died
		}
	}
}

// keep takes down what the finished parts hold.
func (k *killer) keep() {
	for _, e := range k.journal() {
		if e.Type != pipeline.EventPart {
			continue
		}
		path := filepath.Join(k.home, ".calrun", "runs", k.run(), "parts", e.Step, e.Part.ID)
		digest, err := pipeline.DigestPath(path)
		if err != nil {
			k.t.Fatal(err)
		}
		if k.parts[path] == "" {
			k.parts[path] = digest
		}
	}
}

// run is the newest run.
func (k *killer) run() string {
	journals, err := filepath.Glob(filepath.Join(k.home, ".calrun", "runs", "*", "journal.jsonl"))
	if err != nil || len(journals) == 0 {
		return "none"
	}
	return filepath.Base(filepath.Dir(slices.Max(journals)))
}

// journal reads the whole lines of the newest run's journal.
func (k *killer) journal() []pipeline.Event {
	f, err := os.Open(filepath.Join(k.home, ".calrun", "runs", k.run(), "journal.jsonl"))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		k.t.Fatal(err)
	}
	defer f.Close()
	var events []pipeline.Event
	for r := bufio.NewReader(f); ; {
		line, err := r.ReadBytes('\n')
		if err != nil {
			return events // a line that is being written, or was torn
		}
		var e pipeline.Event
		if err := json.Unmarshal(line, &struct{ Event *pipeline.Event }{&e}); err != nil {
			k.t.Fatal(err)
		}
		events = append(events, e)
	}
}

// finishedOnce fails the test where something that was finished ran again.
func finishedOnce(t *testing.T, events []pipeline.Event) {
	t.Helper()
	done := map[string]int{}
	for _, e := range events {
		name := e.Step
		switch e.Type {
		case pipeline.EventPart:
			name += " part " + e.Part.Key
			fallthrough
		case pipeline.EventDone:
			at := name
			if e.Type == pipeline.EventDone {
				at += " round " + string(rune('0'+e.Round))
			}
			if done[at]++; done[at] > 1 {
				t.Errorf("event %d: %s is finished a second time", e.Seq, at)
			}
		case pipeline.EventStarted:
			if done[name+" round "+string(rune('0'+e.Round))] > 0 {
				t.Errorf("event %d: %s starts again after it was finished", e.Seq, name)
			}
		}
	}
}

// results are the digests of what exact and seeded steps found in each round.
func results(events []pipeline.Event) map[string]string {
	repeat, out := map[string]string{}, map[string]string{}
	for _, e := range events {
		at := e.Step + " round " + string(rune('0'+e.Round))
		switch e.Type {
		case pipeline.EventResolved:
			repeat[at] = e.Resolved.Repeat
			if e.Resolved.Result != nil && e.Resolved.Repeat != pipeline.Measured.String() {
				out[at] = e.Resolved.Result.Digest
			}
		case pipeline.EventDone:
			if repeat[at] != pipeline.Measured.String() {
				out[at] = e.Result.Digest
			}
		}
	}
	return out
}
