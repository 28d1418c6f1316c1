package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"calrun/pipeline"

	"github.com/spf13/cobra"
)

// eventLine is a line of the event stream: an event as the journal has it, and
// whose it is.
type eventLine struct {
	Calrun string `json:"calrun"` // "v1": the form of this line
	Run    string `json:"run"`
	pipeline.Event
}

// eventsVerb prints the events of a run.
func (a *app) eventsVerb() *cobra.Command {
	var from int
	var follow bool
	c := &cobra.Command{
		Use:   "events [RUN] [--from SEQ] [--follow]",
		Short: "Print the events of a run as JSON lines, from a sequence number on",
		Long: `Print the events of a run, one JSON document a line, in the order of their seq
(1, 2, ... without gaps). A reader that notes the last seq which it has handled
goes on with --from one more, after any death of its own: no event is lost or
told twice. --follow waits for new ones until the run is closed or interrupted.
Without RUN: the newest one. calrun schema event prints the schema of a line.`,
		Example: "  calrun events latest --from 12\n  calrun events --follow | jq -r .type",
		Args:    args(cobra.MaximumNArgs(1)),
		RunE: func(c *cobra.Command, given []string) error {
			if from < 1 {
				return usageError{fmt.Errorf("--from %d: the first event is 1", from)}
			}
			store, id, err := a.find(given)
			if err != nil {
				return err
			}
			return a.events(c.Context(), store, id, from, follow)
		},
	}
	c.Flags().IntVar(&from, "from", 1, "sequence number of the first event to print")
	c.Flags().BoolVar(&follow, "follow", false, "wait for events until the run ends")
	return c
}

// followEvery is how often a followed journal is looked at.
const followEvery = 200 * time.Millisecond

func (a *app) events(ctx context.Context, store *pipeline.Store, run string, from int, follow bool) error {
	for {
		past, err := store.ReadRun(run)
		if err != nil {
			return err
		}
		for _, e := range past.Events[min(from-1, len(past.Events)):] {
			if err := writeEvent(a.Out, run, e); err != nil {
				return err
			}
			from = e.Seq + 1
		}
		if end := past.State.Closed; !follow || !end.IsZero() || past.State.Interrupted {
			return nil
		}
		select {
		case <-ctx.Done():
			return errStopped
		case <-time.After(followEvery):
		}
	}
}

func writeEvent(w io.Writer, run string, e pipeline.Event) error {
	line, err := json.Marshal(eventLine{Calrun: "v1", Run: run, Event: e})
	if err == nil {
		_, err = w.Write(append(line, '\n'))
	}
	if err != nil {
		return fmt.Errorf("write event %d: %w", e.Seq, err)
	}
	return nil
}

// eventSink is where --events puts the events of a run while it runs.
type eventSink struct {
	w    io.Writer
	file *os.File
	err  error
}

// eventsTo opens the sink; - is standard output.
func (a *app) eventsTo(name string) (*eventSink, error) {
	switch {
	case name == "":
		return &eventSink{}, nil
	case name == "-" && a.json:
		return nil, usageError{errors.New("--events - and --json both want standard output; give one of them")}
	case name == "-":
		out := a.Out
		a.Out = a.Err // what is for people goes there
		return &eventSink{w: out}, nil
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return nil, usageError{fmt.Errorf("--events: %w", err)}
	}
	return &eventSink{w: f, file: f}, nil
}

// update writes an event that is durable. The first error ends the stream, not
// the run: the journal has every event.
func (s *eventSink) update(u pipeline.Update) {
	if s.w != nil && s.err == nil && u.Event != nil {
		s.err = writeEvent(s.w, u.Run, *u.Event)
	}
}

// close says what kept the stream from being whole.
func (s *eventSink) close(run string) error {
	err := s.err
	if s.file != nil {
		err = errors.Join(err, s.file.Close())
	}
	if err != nil {
		return fmt.Errorf("events: %w; calrun events %s has all of them", err, run)
	}
	return nil
}
