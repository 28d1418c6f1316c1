package cli

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"calrun/pipeline"

	"github.com/spf13/cobra"
)

// versionVerb says which calrun this is.
func (a *app) versionVerb() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Say which calrun this is",
		Args:  args(cobra.NoArgs),
		RunE:  func(*cobra.Command, []string) error { return a.tellVersion() },
	}
}

func (a *app) tellVersion() error {
	if a.json {
		return a.print(map[string]any{"calrun": "v1", "version": version(), "go": runtime.Version(), "plans": pipeline.Version})
	}
	_, err := fmt.Fprintf(a.Out, "calrun %s (%s, plans %s)\n", version(), runtime.Version(), pipeline.Version)
	return err
}

// version is the module's version, with the commit where the build knows it.
// It is shown and journalled and never decides a key: two builds of the same
// sources must find each other's results.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	v := info.Main.Version
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && v == "(devel)" {
			v = "devel-" + s.Value[:min(12, len(s.Value))]
		}
	}
	return v
}
