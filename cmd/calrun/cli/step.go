package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"calrun/pipeline"

	"github.com/spf13/cobra"
)

// stepVerb runs one step alone.
func (a *app) stepVerb() *cobra.Command {
	var with, out string
	c := &cobra.Command{
		Use:   "step KIND --with FILE",
		Short: "Run one step alone and print its result",
		Long: `Run one step of a kind without a plan, for scripts and other workflow engines. FILE
holds the step's fields as a plan would (YAML or JSON; - is standard input);
relative paths in it start at FILE. Standard output is the result as JSON, each
artefact with the path where it lies, below --out. What a long step had finished
before it was stopped stays in --out, and the same command goes on from there.`,
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
			if out == "" {
				out = kind.Name + ".out"
			}
			return a.step(c.Context(), kind, with, out)
		},
	}
	c.Flags().StringVar(&with, "with", "", "file with the step's fields, or - for standard input")
	c.Flags().StringVar(&out, "out", "", "folder for what the step makes (default: KIND.out)")
	return c
}

// stepHead is the plan around the fields of a lone step; the fields follow,
// indented by [stepIndent].
const (
	stepHead   = "version: calrun/v1\nname: step\nsteps:\n  step:\n    uses: %s\n"
	stepLines  = 6 // of the plan before the first field
	stepIndent = 6
)

func (a *app) step(ctx context.Context, kind *pipeline.Kind, with, out string) error {
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
	fields, err := plan.Resolve(plan.Decl("step"), pipeline.Env{}, nil)
	if err != nil {
		return usageError{err}
	}
	show := newProgress(a.Err, a.look(a.Err))
	show.begin(kind.Name)
	result, err := pipeline.RunStep(ctx, kind, fields, pipeline.AloneOptions{
		Dir: plan.Dir, Out: out, Log: a.logger(show), Progress: show.of(kind.Name), Mask: a.mask,
	})
	show.close()
	if err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("%w (%w)", errStopped, err)
		}
		return fmt.Errorf("%s: %w", kind.Name, err)
	}
	if a.json {
		return a.print(map[string]any{"calrun": "v1", "kind": kind.Name, "result": result, "exit": pipeline.ExitPass})
	}
	return a.print(result)
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
