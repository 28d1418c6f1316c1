package cli

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"calrun/pipeline"
)

// feed plays a run to a progress whose clock it moves.
func feed(t *testing.T, width int) string {
	t.Helper()
	var out bytes.Buffer
	p := newProgress(&out, terminal{width: width})
	at := time.Unix(0, 0)
	p.now = func() time.Time { return at }
	event := func(e pipeline.Event) { p.update(pipeline.Update{Step: e.Step, Event: &e}) }

	event(pipeline.Event{Type: pipeline.EventOpened, Opened: &pipeline.Opened{Run: "20261124-090000-aaaa", Plan: "demo"}})
	event(pipeline.Event{Type: pipeline.EventRound, Round: 1})
	event(pipeline.Event{Type: pipeline.EventStarted, Step: "hardware"})
	for i := 1; i <= 240; i++ { // a minute, four reports a second
		at = at.Add(250 * time.Millisecond)
		p.update(pipeline.Update{Step: "hardware", Done: float64(i), Total: 240, Note: "rps-25"})
	}
	if _, err := p.Write([]byte("a line of the log\n")); err != nil {
		t.Fatal(err)
	}
	event(pipeline.Event{Type: pipeline.EventDone, Step: "hardware"})
	event(pipeline.Event{Type: pipeline.EventJudged, Step: "verdict", Gate: &pipeline.GateState{Verdict: pipeline.Fail, Assert: []pipeline.Judgement{{Name: "typical", Verdict: pipeline.Fail}}}})
	event(pipeline.Event{Type: pipeline.EventRouted, Routed: &pipeline.Routed{Gate: "verdict", Run: "tune", When: "failed.typical"}})
	p.close()
	return out.String()
}

func TestProgressInAFile(t *testing.T) {
	text := feed(t, 0)
	if strings.Contains(text, "\x1b") {
		t.Error("a file gets control codes")
	}
	if n := strings.Count(text, "so far"); n != 6 {
		t.Errorf("%d lines of progress in a minute, want one every ten seconds:\n%s", n, text)
	}
	for _, want := range []string{
		"run 20261124-090000-aaaa of demo", "hardware     started", "50 %  30 s left  30 s so far  rps-25",
		"hardware     done in 1 min 00 s", "gate: fail (typical fail)", "routes to tune because failed.typical", "a line of the log",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("missing %q in:\n%s", want, text)
		}
	}
}

func TestProgressOnATerminal(t *testing.T) {
	text := feed(t, 40)
	screen := render(text)
	if strings.Contains(screen, "so far") {
		t.Errorf("a line of progress stayed on the screen:\n%s", screen)
	}
	if !strings.Contains(screen, "a line of the log\n  hardware     done in") {
		t.Errorf("the log or the end of the step is missing:\n%s", screen)
	}
	for line := range strings.Lines(text) {
		if n := len([]rune(strings.TrimRight(line, "\n"))); strings.Contains(line, "so far") && n > 40+len("\x1b[1A\x1b[J") {
			t.Errorf("a rewritten line is wider than the terminal: %q", line)
		}
	}
}

// render is what a terminal shows after the two codes that progress uses.
func render(text string) string {
	var lines []string
	for line := range strings.Lines(text) {
		for strings.HasPrefix(line, "\x1b[1A\x1b[J") {
			line = strings.TrimPrefix(line, "\x1b[1A\x1b[J")
			lines = lines[:len(lines)-1]
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "")
}
