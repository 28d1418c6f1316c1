package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"calrun/pipeline"
)

// How often progress is shown: a terminal is redrawn, a file gets a line.
const (
	redrawEvery = 200 * time.Millisecond
	lineEvery   = 10 * time.Second
)

// progress shows what a run does while it does it: on a terminal one line for
// each running step, rewritten in place; elsewhere plain lines, one when
// something begins or ends and one every ten seconds between. As a writer it
// takes the lines of the log and keeps them above the rewritten ones.
type progress struct {
	w   io.Writer
	t   terminal
	now func() time.Time

	mu      sync.Mutex
	running []*lane
	drawn   int // lines below the cursor's home that a redraw takes back
	last    time.Time
}

// lane is a running step.
type lane struct {
	step        string
	began       time.Time
	done, total float64
	note        string
	said        time.Time // when its last plain line was written
}

func newProgress(w io.Writer, t terminal) *progress {
	return &progress{w: w, t: t, now: time.Now}
}

// begin shows a step that runs without a run around it.
func (p *progress) begin(step string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.running = append(p.running, &lane{step: step, began: p.now(), said: p.now()})
	p.draw(true)
}

// of takes the progress of such a step.
func (p *progress) of(step string) func(done, total float64, note string) {
	return func(done, total float64, note string) {
		p.update(pipeline.Update{Step: step, Done: done, Total: total, Note: note})
	}
}

// update is told of everything that happens in a run.
func (p *progress) update(u pipeline.Update) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if u.Event == nil {
		p.advance(u)
		return
	}
	if text := p.apply(u.Run, *u.Event); text != "" {
		p.erase()
		fmt.Fprintln(p.w, text)
	}
	p.draw(true)
}

// apply takes note of an event and returns the line that tells of it, or "".
func (p *progress) apply(run string, e pipeline.Event) string {
	switch e.Type {
	case pipeline.EventOpened:
		return fmt.Sprintf("run %s of %s", e.Opened.Run, e.Opened.Plan)
	case pipeline.EventResumed:
		return "run " + run + " goes on"
	case pipeline.EventRound:
		return fmt.Sprintf("round %d", e.Round)
	case pipeline.EventResolved:
		if e.Resolved.From != "" {
			return "  " + pad(e.Step) + "reused from " + e.Resolved.From
		}
	case pipeline.EventStarted:
		p.running = append(p.running, &lane{step: e.Step, began: p.now(), said: p.now()})
		if p.t.width == 0 {
			return "  " + pad(e.Step) + "started"
		}
	case pipeline.EventDone:
		return "  " + pad(e.Step) + "done" + p.leave(e.Step)
	case pipeline.EventFailed:
		return "  " + pad(e.Step) + "failed" + p.leave(e.Step) + ": " + e.Why
	case pipeline.EventStopped:
		return "  " + pad(e.Step) + "stopped" + p.leave(e.Step)
	case pipeline.EventBlocked:
		return "  " + pad(e.Step) + "blocked: " + e.Why
	case pipeline.EventJudged:
		return "  " + pad(e.Step) + judged(e.Gate)
	case pipeline.EventRouted:
		return "  " + pad(e.Routed.Gate) + routed(e.Routed)
	case pipeline.EventShut:
		return "    no progress: " + e.Why
	}
	return ""
}

func judged(g *pipeline.GateState) string {
	switch {
	case g == nil:
		return "judged"
	case g.Error != "":
		return "cannot be judged: " + g.Error
	case g.Blocked:
		return "nothing to judge"
	}
	text := "gate: " + string(g.Verdict)
	var broken []string
	for _, j := range g.Assert {
		if j.Verdict != pipeline.Pass {
			broken = append(broken, j.Name+" "+string(j.Verdict))
		}
	}
	if broken != nil {
		text += " (" + strings.Join(broken, ", ") + ")"
	}
	return text
}

func routed(r *pipeline.Routed) string {
	to := r.Run
	if to == "" {
		to = "a change of fields"
	}
	return "routes to " + to + " because " + r.When
}

// pad lines up what is said of steps.
func pad(step string) string { return fmt.Sprintf("%-12s ", step) }

// leave ends a step's line and says how long it took.
func (p *progress) leave(step string) string {
	i := slices.IndexFunc(p.running, func(l *lane) bool { return l.step == step })
	if i < 0 {
		return ""
	}
	took := p.now().Sub(p.running[i].began)
	p.running = slices.Delete(p.running, i, i+1)
	return " in " + brief(took)
}

// advance takes note of progress and shows it when it is time.
func (p *progress) advance(u pipeline.Update) {
	i := slices.IndexFunc(p.running, func(l *lane) bool { return l.step == u.Step })
	if i < 0 {
		return
	}
	l := p.running[i]
	l.done, l.total, l.note = u.Done, u.Total, u.Note
	if p.t.width > 0 {
		p.draw(false)
		return
	}
	if now := p.now(); now.Sub(l.said) >= lineEvery {
		l.said = now
		fmt.Fprintln(p.w, "  "+l.text(now))
	}
}

// text is a running step on one line.
func (l *lane) text(now time.Time) string {
	took := now.Sub(l.began)
	s := pad(l.step)
	if l.total > 0 {
		share := min(max(l.done/l.total, 0), 1)
		s += fmt.Sprintf("%3.0f %%  ", share*100)
		if share > 0.01 && share < 1 {
			s += brief(time.Duration(float64(took)*(1-share)/share)) + " left  "
		}
	}
	return strings.TrimRight(s+brief(took)+" so far  "+l.note, " ")
}

// draw rewrites the lines of running steps on a terminal.
func (p *progress) draw(now bool) {
	if p.t.width == 0 {
		return
	}
	at := p.now()
	if !now && at.Sub(p.last) < redrawEvery {
		return
	}
	p.last = at
	p.erase()
	for _, l := range p.running {
		text := []rune("  " + l.text(at))
		fmt.Fprintln(p.w, string(text[:min(len(text), p.t.width-1)]))
	}
	p.drawn = len(p.running)
}

// erase takes the rewritten lines back.
func (p *progress) erase() {
	if p.drawn > 0 {
		fmt.Fprintf(p.w, "\x1b[%dA\x1b[J", p.drawn)
		p.drawn = 0
	}
}

// Write puts a line of the log above the rewritten ones.
func (p *progress) Write(line []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.erase()
	n, err := p.w.Write(line)
	p.draw(true)
	return n, err
}

// close takes the last rewritten lines away.
func (p *progress) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.erase()
	p.running = nil
}

// brief writes a duration as people say it while they wait.
func brief(d time.Duration) string {
	switch {
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%.0f s", d.Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%d min %02d s", int(d.Minutes()), int(d.Seconds())%60)
	}
	return fmt.Sprintf("%d h %02d min", int(d.Hours()), int(d.Minutes())%60)
}
