package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"regexp"
	"strings"

	"calrun/internal/emulator"

	"github.com/spf13/cobra"
	"gopkg.in/yaml.v3"
)

// emulateVerb serves an emulated engine until it is stopped.
func (a *app) emulateVerb() *cobra.Command {
	var file, addr, urlFile string
	c := &cobra.Command{
		Use:   "emulate --config FILE [--addr HOST:PORT]",
		Short: "Serve an engine with known truth behind the real HTTP API",
		Long: `Serve an emulated engine: the API of a real one (/v1/completions, /v1/chat/completions,
/v1/models, /metrics, /version), the step times of the file, and nothing else.
^C ends it; the true times go to the file that truth names, if it names one.`,
		Example: `  calrun emulate --config engine.yaml --addr 127.0.0.1:8000

  with engine.yaml:
    step: {base: 8ms, per_prefill_token: 15us, per_sequence: 0.1ms}
    front_end: 2ms`,
		Args: args(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) (err error) {
			if file == "" {
				return usageError{fmt.Errorf("--config FILE is missing: it holds what a step costs; calrun emulate --help shows one")}
			}
			if _, err := net.ResolveTCPAddr("tcp", addr); err != nil {
				return usageError{fmt.Errorf("--addr %s: %w; give HOST:PORT, port 0 takes any free one", addr, err)}
			}
			cfg, err := emulatorConfig(file)
			if err != nil {
				return usageError{err}
			}
			engine, err := emulator.New(cfg)
			if err != nil {
				return usageError{err}
			}
			url, err := engine.Start(c.Context(), addr)
			if err != nil {
				return errors.Join(err, engine.Close())
			}
			if urlFile != "" {
				err = writeFile(urlFile, func(w io.Writer) error {
					_, err := fmt.Fprintln(w, url)
					return err
				})
			}
			if err != nil {
				return errors.Join(err, engine.Close())
			}
			if a.json {
				err = a.print(map[string]any{"calrun": "v1", "url": url})
			} else {
				_, err = fmt.Fprintf(a.Out, "serving %s\n", url)
			}
			if err == nil {
				<-c.Context().Done()
			}
			return errors.Join(err, engine.Close())
		},
	}
	c.Flags().StringVar(&file, "config", "", "file with the engine's configuration (YAML)")
	c.Flags().StringVar(&addr, "addr", "127.0.0.1:0", "where to listen; port 0 takes any free one")
	c.Flags().StringVar(&urlFile, "url-file", "", "file that the engine's URL is written to once it is served")
	return c
}

// plainYAML is what the YAML reader says, in one line and without the names of
// Go types.
func plainYAML(err error) string {
	text := strings.TrimPrefix(err.Error(), "yaml: unmarshal errors:\n")
	return strings.ReplaceAll(strings.TrimSpace(goType.ReplaceAllString(text, " is not known")), "\n  ", "; ")
}

var goType = regexp.MustCompile(` not found in type [\w.]+`)

// emulatorConfig reads an engine's configuration, strictly.
func emulatorConfig(path string) (emulator.Config, error) {
	var cfg emulator.Config
	data, err := os.ReadFile(path)
	if err != nil {
		return cfg, fmt.Errorf("--config: %w", err)
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	dec.KnownFields(true)
	if err := dec.Decode(&cfg); err != nil && !errors.Is(err, io.EOF) {
		return cfg, fmt.Errorf("--config %s: %s; calrun kinds hardware-run lists what may stand there, below engine.emulator", path, plainYAML(err))
	}
	if err := cfg.Check(); err != nil {
		return cfg, fmt.Errorf("--config %s: %w", path, err)
	}
	return cfg, nil
}
