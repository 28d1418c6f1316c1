package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"calrun/pipeline"
	"calrun/steps"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"
)

// importVerb is the kind import without a plan.
func (a *app) importVerb() *cobra.Command {
	var out string
	formats := steps.Formats()
	names := make([]string, len(formats))
	var list strings.Builder
	for i, f := range formats {
		names[i] = f.Name
		fmt.Fprintf(&list, "  %-15s %s\n", f.Name, f.What)
	}
	c := &cobra.Command{
		Use:   "import FORMAT FILE",
		Short: "Take another load generator's result as a measurement",
		Long: `Read what another load generator recorded, request by request, and write it as a
measurement and its workload: what diff and simulate take. What the format lacks is
named. A plan can also take FILE itself: uses: import, with from and format.

Formats:
` + list.String(),
		Example: `  calrun import vllm bench.json
  calrun import aiperf profile_export.jsonl --out monday`,
		Args: args(cobra.ExactArgs(2)),
		ValidArgsFunction: func(_ *cobra.Command, given []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(given) == 0 {
				return names, cobra.ShellCompDirectiveNoFileComp
			}
			return nil, cobra.ShellCompDirectiveDefault
		},
		RunE: func(c *cobra.Command, given []string) error {
			format, file := given[0], given[1]
			if !slices.Contains(names, format) {
				return usageError{fmt.Errorf("there is no format %q%s; there are %s (calrun import --help says what they are)", format, didYouMean(format, names), strings.Join(names, ", "))}
			}
			info, err := os.Stat(file)
			if err != nil {
				return usageError{err}
			}
			if out == "" {
				base := filepath.Base(filepath.Clean(file))
				if !info.IsDir() {
					base = strings.TrimSuffix(base, filepath.Ext(base))
				}
				out = base + ".measured"
			}
			if there, err := os.ReadDir(out); err == nil && len(there) > 0 {
				return usageError{fmt.Errorf("%s is there already; remove it or give another folder by --out", out)}
			}
			return a.importFile(c.Context(), format, file, out)
		},
	}
	c.Flags().StringVar(&out, "out", "", "folder for the measurement and its workload (default: FILE's name, ending in .measured)")
	return c
}

func (a *app) importFile(ctx context.Context, format, file, out string) error {
	kind, err := a.kind("import")
	if err != nil {
		return err
	}
	with, err := json.Marshal(map[string]string{"from": file, "format": format})
	if err != nil {
		return fmt.Errorf("import: %w", err)
	}
	result, err := pipeline.RunStep(ctx, kind, with, pipeline.AloneOptions{Out: out, Log: zerolog.Nop(), Mask: a.mask})
	if err != nil {
		_ = os.Remove(out) // stays unless it is empty
		return err
	}
	if a.json {
		return a.print(map[string]any{"calrun": "v1", "kind": kind.Name, "result": result, "exit": pipeline.ExitPass})
	}
	var res struct {
		steps.MeasuredResult
		Measurement struct{ Path string } `json:"measurement"`
		Workload    struct{ Path string } `json:"workload"`
	}
	if err := json.Unmarshal(result, &res); err != nil {
		return fmt.Errorf("import: %w", err)
	}
	fmt.Fprintf(a.Out, "%d requests, %d of them completed\n", res.Arrivals, res.Completed)
	for _, d := range res.Doubts {
		fmt.Fprintf(a.Out, "  ? %s\n", d)
	}
	fmt.Fprintf(a.Out, "measurement: %s\nworkload: %s\nin a plan: {uses: import, with: {from: %s}}\n",
		relative(res.Measurement.Path), relative(res.Workload.Path), relative(res.Measurement.Path))
	return nil
}
