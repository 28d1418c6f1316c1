package cli

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"calrun/pipeline"

	"github.com/spf13/cobra"
)

// gcVerb removes old runs.
func (a *app) gcVerb() *cobra.Command {
	opt := pipeline.GCOptions{Keep: 10}
	c := &cobra.Command{
		Use:   "gc [--keep N] [--older-than D] [--dry-run]",
		Short: "Remove old runs, and files that no other run needs",
		Long: `Remove old runs, and the files that no other run needs. The newest runs of each
plan stay (--keep), younger ones than --older-than too if that is given, and always
a run that is not finished, and what a *.lock.yaml beside the store names. Without
--keep or --older-than, and with --dry-run, nothing is removed: it is only said what
would be. While another calrun writes to the store gc does not begin (exit 3), a dry
run does. A gc that is killed is finished by the next one.`,
		Example: "  calrun gc                               what could go\n  calrun gc --keep 20\n  calrun gc --keep 0 --older-than 30d --dry-run",
		Args:    args(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			if opt.Keep < 0 || opt.OlderThan < 0 {
				return usageError{fmt.Errorf("--keep and --older-than cannot be negative")}
			}
			opt.DryRun = opt.DryRun || !c.Flags().Changed("keep") && !c.Flags().Changed("older-than")
			opt.Now = time.Now()
			return a.gc(opt)
		},
	}
	c.Flags().IntVar(&opt.Keep, "keep", opt.Keep, "newest finished runs of each plan that stay")
	c.Flags().Var((*age)(&opt.OlderThan), "older-than", "only runs that were opened longer ago than this go, as 30d, 2w or 12h")
	c.Flags().BoolVar(&opt.DryRun, "dry-run", false, "only say what would go")
	return c
}

// age is a duration on the command line that may be in days or weeks.
type age time.Duration

// String implements pflag.Value.
func (d *age) String() string { return time.Duration(*d).String() }

// Type implements pflag.Value.
func (d *age) Type() string { return "duration" }

// Set implements pflag.Value.
func (d *age) Set(text string) error {
	for suffix, unit := range map[string]time.Duration{"d": 24 * time.Hour, "w": 7 * 24 * time.Hour} {
		if number, ok := strings.CutSuffix(text, suffix); ok {
			n, err := strconv.Atoi(number)
			if err != nil || n < 0 || n > 10_000 {
				return fmt.Errorf("%q is not a count of days or weeks, as 30d or 2w", text)
			}
			*d = age(time.Duration(n) * unit)
			return nil
		}
	}
	span, err := time.ParseDuration(text)
	if err != nil {
		return fmt.Errorf("%q is not a duration, as 30d, 2w or 12h", text)
	}
	*d = age(span)
	return nil
}

func (a *app) gc(opt pipeline.GCOptions) error {
	store, err := a.store()
	if err != nil {
		return err
	}
	if opt.Spare, err = accepted(filepath.Dir(store.Dir())); err != nil {
		return err
	}
	g, err := store.GC(opt)
	if err != nil {
		return err
	}
	if a.json {
		return a.print(struct {
			Calrun string `json:"calrun"`
			*pipeline.Garbage
		}{"v1", g})
	}
	for _, id := range g.Runs {
		fmt.Fprintln(a.Out, id)
	}
	if g.Busy {
		fmt.Fprintln(a.Err, "a run goes on here: gc would not begin before it has ended, and files that it has not named yet are counted too")
	}
	did := "removed"
	if g.DryRun {
		did = "would be removed"
	}
	fmt.Fprintf(a.Out, "%d runs and %d files of the store %s: %s\n", len(g.Runs), g.Objects, did, byteCount(g.Bytes))
	for _, why := range slices.Sorted(maps.Keys(g.Kept)) {
		fmt.Fprintf(a.Out, "%d stay: %s\n", g.Kept[why], why)
	}
	return nil
}

var spared = regexp.MustCompile(`sha256:[0-9a-f]{64}|\b\d{8}-\d{6}-[0-9a-f]{4}\b`)

// accepted is what the lock files in a folder name: runs and digests.
func accepted(dir string) ([]string, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.lock.yaml"))
	if err != nil {
		return nil, err
	}
	var out []string
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("what was accepted stays, and nobody knows what it is: %w", err)
		}
		out = append(out, spared.FindAllString(string(data), -1)...)
	}
	return out, nil
}

// byteCount is a number of bytes for people.
func byteCount(n int64) string {
	size, units := float64(n), []string{"bytes", "KiB", "MiB", "GiB", "TiB"}
	for size >= 1024 && len(units) > 1 {
		size, units = size/1024, units[1:]
	}
	if units[0] == "bytes" {
		return fmt.Sprintf("%d bytes", n)
	}
	return fmt.Sprintf("%.1f %s", size, units[0])
}
