package steps

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"calrun/internal/engine"
	"calrun/internal/process"
	"calrun/internal/vidur"
	"calrun/pipeline"
)

// How long an engine may take to let go of its cards, and to answer again: it
// loads its weights.
const (
	pauseLimit  = 2 * time.Minute
	resumeLimit = 20 * time.Minute
)

// pauses says whether the engine's cards can be had while a step runs, and by
// which field not.
func (e *Engine) pauses() bool {
	return e.Emulator != nil || e.Start != nil || len(e.Stop) > 0 || e.URL == ""
}

// pause frees the engine's cards and yields what the engine states, if it
// answered, and what starts it again, also after ctx has ended. The output of
// the commands goes to pause.log in dir.
func (e *Engine) pause(ctx context.Context, rt *pipeline.Runtime, dir string) (f engine.Facts, resume func() error, err error) {
	nothing := func() error { return nil }
	if e.URL == "" {
		return f, nothing, nil // emulated, or none: it holds no cards
	}
	eng, err := e.client(e.URL)
	if err != nil {
		return f, nil, err
	}
	taken := answers(ctx, eng)
	if taken {
		asking, cancel := context.WithTimeout(ctx, 15*time.Second)
		f, _ = eng.Ask(asking, e.Model) // an engine that does not say is stopped all the same
		cancel()
	}
	switch {
	case len(e.Stop) > 0:
		resume, err = e.stop(ctx, rt, eng, dir)
		return f, resume, err
	case taken && e.Start != nil:
		return f, nil, fmt.Errorf("an engine answers at %s that calrun did not start, and holds the memory of the cards; stop it, then `calrun resume`", e.URL)
	case taken:
		return f, nil, fmt.Errorf("the engine at %s holds the memory of the cards, and calrun cannot stop it; stop the engine, then `calrun resume` (or give engine.stop and engine.restart)", e.URL)
	case e.Start == nil:
		rt.Log().Warn().Msgf("nothing answers at %s, so its cards are taken to be free; start the engine again before it is measured", e.URL)
	}
	return f, nothing, nil
}

func answers(ctx context.Context, eng *engine.Engine) bool {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	return eng.Taken(ctx)
}

// stop runs the plan's own commands. Where stopping fails, the engine is
// started again, as far as it was stopped.
func (e *Engine) stop(ctx context.Context, rt *pipeline.Runtime, eng *engine.Engine, dir string) (resume func() error, err error) {
	log, err := os.OpenFile(filepath.Join(dir, "pause.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("stop the engine: %w", err)
	}
	run := func(ctx context.Context, command []string) error {
		fmt.Fprintln(log, "+", vidur.CommandLine(command))
		return process.Run(ctx, process.Cmd{Args: command, Stdout: log, Stderr: log})
	}
	resume = func() (err error) {
		defer func() { err = errors.Join(err, log.Close()) }()
		again, cancel := context.WithTimeout(context.WithoutCancel(ctx), resumeLimit)
		defer cancel()
		rt.Log().Info().Msg("starting the engine again: " + strings.Join(e.Restart, " "))
		if err := run(again, e.Restart); err != nil {
			return fmt.Errorf("engine.restart: %w: the engine is stopped; start it by hand", err)
		}
		if ctx.Err() != nil {
			return nil // calrun was asked to end: the engine comes up without it
		}
		if err := eng.Ready(again, resumeLimit, nil); err != nil {
			return fmt.Errorf("after engine.restart: %w", err)
		}
		return nil
	}
	rt.Log().Info().Msgf("stopping the engine: %s (should calrun be killed now, start it again with: %s)", strings.Join(e.Stop, " "), vidur.CommandLine(e.Restart))
	if err := run(ctx, e.Stop); err != nil && (ctx.Err() != nil || answers(ctx, eng)) {
		return nil, errors.Join(fmt.Errorf("engine.stop: %w", err), resume())
	}
	deadline := time.Now().Add(pauseLimit)
	for answers(ctx, eng) {
		select {
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), resume())
		case <-time.After(200 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return nil, errors.Join(fmt.Errorf("engine.stop ended well, and the engine at %s still answers after %v", e.URL, pauseLimit), resume())
		}
	}
	return resume, nil
}
