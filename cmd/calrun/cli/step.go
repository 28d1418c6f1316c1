package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"calrun/pipeline"
)

// stepVerb runs one step alone.
func (a *app) stepVerb() *cobra.Command {
	var with string
	c := &cobra.Command{
		Use:   "step KIND --with FILE",
		Short: "Run one step alone and print its result",
		Long: `Run one step of a kind without a plan, for scripts and other workflow engines. FILE
holds the step's fields (YAML or JSON; - is standard input); relative paths in it
start at FILE. Standard output is the result as JSON, each artefact with the path
where it lies. The step is kept as a run of its own in --dir (default: .calrun
beside FILE).`,
		Example: `  calrun step hardware-run --with probes.yaml
  echo '{"engine": {"url": "http://127.0.0.1:8000"}}' | calrun step hardware-run --with -`,
		Args: args(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, given []string) error {
			kind, err := a.kind(given[0])
			if err != nil {
				return err
			}
			if with == "" {
				return usageError{fmt.Errorf("--with FILE is missing: it holds the fields of %s; calrun kinds %s lists them", kind.Name, kind.Name)}
			}
			return a.step(c.Context(), kind, with)
		},
	}
	c.Flags().StringVar(&with, "with", "", "file with the step's fields, or - for standard input")
	return c
}

// stepHead is the plan around the fields of a lone step; the fields follow,
// indented by [stepIndent].
const (
	stepHead   = "version: calrun/v1\nname: step\nsteps:\n  step:\n    uses: %s\n"
	stepLines  = 6 // of the plan before the first field
	stepIndent = 6
)

func (a *app) step(ctx context.Context, kind *pipeline.Kind, with string) error {
	text, path, err := a.fieldsOf(with)
	if err != nil {
		return err
	}
	source := fmt.Sprintf(stepHead, kind.Name)
	if body := strings.TrimRight(text, " \n"); strings.TrimSpace(body) != "" {
		source += "    with:\n"
		for line := range strings.Lines(body + "\n") {
			source += strings.Repeat(" ", stepIndent) + line
		}
	}
	plan, problems := pipeline.LoadBytes(path, []byte(source), pipeline.LoadOptions{Kinds: a.kinds})
	for i := range problems {
		p := &problems[i]
		p.Line, p.Col = max(p.Line-stepLines, 0), max(p.Col-stepIndent, 1)
		p.Snippet = strings.TrimPrefix(p.Snippet, strings.Repeat(" ", stepIndent))
		p.Path = strings.TrimPrefix(p.Path, "steps.step.")
	}
	if err := problems.Err(); err != nil {
		return usageError{err}
	}
	store, err := a.storeOf(path)
	if err != nil {
		return err
	}
	show := newProgress(a.Err, a.look(a.Err))
	runner := &pipeline.Runner{Kinds: a.kinds, Store: store, Log: a.logger(show), Observe: show.update, Version: version()}
	state, err := runner.Run(ctx, plan, pipeline.RunOptions{})
	show.close()
	if err != nil {
		return err
	}
	return a.result(store, state)
}

// fieldsOf reads what --with names, and the path that relative paths start
// from.
func (a *app) fieldsOf(with string) (text, path string, err error) {
	if with == "-" {
		data, err := io.ReadAll(a.In)
		if err != nil {
			return "", "", fmt.Errorf("read the step's fields: %w", err)
		}
		return string(data), "stdin", nil
	}
	data, err := os.ReadFile(with)
	if err != nil {
		return "", "", usageError{fmt.Errorf("--with: %w", err)}
	}
	return string(data), with, nil
}

// result prints what the lone step of a run yielded.
func (a *app) result(store *pipeline.Store, state *pipeline.State) error {
	a.code = exitOf(state)
	var st *pipeline.StepState
	if n := len(state.Rounds); n > 0 {
		st = state.Rounds[n-1].Steps["step"]
	}
	if st == nil || st.Result == nil {
		why := strings.Join(state.Reasons, "; ")
		if a.code == pipeline.ExitInterrupted {
			return errStopped
		}
		return fmt.Errorf("%s", why)
	}
	past, err := store.ReadRun(state.Run)
	if err != nil {
		return err
	}
	var tree any
	if err := json.Unmarshal(st.Result, &tree); err != nil {
		return fmt.Errorf("result of the step: %w", err)
	}
	if err := addPaths(tree, past); err != nil {
		return err
	}
	a.code = pipeline.ExitPass
	if a.json {
		return a.print(map[string]any{"calrun": "v1", "run": state.Run, "kind": st.Kind, "result": tree, "exit": a.code})
	}
	return a.print(tree)
}

// addPaths gives every artefact in a result the path where it lies.
func addPaths(v any, past *pipeline.Past) error {
	switch x := v.(type) {
	case map[string]any:
		digest, isText := x["digest"].(string)
		if _, is := x["artefact"].(string); is && isText && digest != "" {
			path, err := past.Artefact(pipeline.Artefact{Digest: digest})
			if err != nil {
				return err
			}
			if path, err = filepath.Abs(path); err != nil {
				return err
			}
			x["path"] = path
			return nil
		}
		for _, child := range x {
			if err := addPaths(child, past); err != nil {
				return err
			}
		}
	case []any:
		for _, child := range x {
			if err := addPaths(child, past); err != nil {
				return err
			}
		}
	}
	return nil
}
