package cli

import (
	"fmt"

	"calrun/pipeline"

	"github.com/spf13/cobra"
)

// unpackLimit is what a pack may unpack to unless the user says otherwise.
const unpackLimit = 2 << 30

// packVerb writes a run into one file.
func (a *app) packVerb() *cobra.Command {
	var out string
	c := &cobra.Command{
		Use:   "pack RUN [-o FILE]",
		Short: "Put a run into one file",
		Long: `Put a run with its journal, logs and every file that it made or read into one
archive, which calrun unpack puts into another folder of runs. The same run makes
the same bytes. It is a tar compressed with zstd: zstd -d < FILE | tar t lists it.`,
		Example: "  calrun pack latest\n  calrun pack 20261124-0930 -o run.pack",
		Args:    args(cobra.ExactArgs(1)),
		RunE: func(_ *cobra.Command, given []string) error {
			past, err := a.past(given)
			if err != nil {
				return err
			}
			if out == "" {
				out = past.State.Run + ".pack"
			}
			store, err := a.store()
			if err != nil {
				return err
			}
			info, err := store.Pack(past.State.Run, out)
			if err != nil {
				return err
			}
			if a.json {
				return a.print(map[string]any{"calrun": "v1", "run": past.State.Run, "pack": out, "digest": info.Digest, "bytes": info.Size, "unpacked": info.Unpacked})
			}
			_, err = fmt.Fprintf(a.Out, "%s  %s  %s\n", out, byteCount(info.Size), info.Digest)
			return err
		},
	}
	c.Flags().StringVarP(&out, "output", "o", "", "file to write (default: the run's id and .pack, here)")
	return c
}

// unpackVerb takes a run out of a file.
func (a *app) unpackVerb() *cobra.Command {
	var large bool
	c := &cobra.Command{
		Use:   "unpack FILE",
		Short: "Take a run out of a file into the folder of runs",
		Long: `Check a pack, of calrun pack or calrun accept, and put its run into the folder of
runs: --dir, else .calrun here. It is there as a whole or not at all. A pack is
read as something that a stranger made: every file must have the digest of its
name, and nothing is written outside the folder.`,
		Example: "  calrun unpack run.pack\n  calrun unpack plan.pack --dir /tmp/runs",
		Args:    args(cobra.ExactArgs(1)),
		RunE: func(_ *cobra.Command, given []string) error {
			dir := a.dir
			if dir == "" {
				dir = storeName
			}
			store, err := pipeline.OpenStore(dir)
			if err != nil {
				return err
			}
			most := int64(unpackLimit)
			if large {
				most = 1 << 60
			}
			id, err := store.Unpack(given[0], most)
			if err != nil {
				return err
			}
			if a.json {
				return a.print(map[string]any{"calrun": "v1", "run": id, "dir": store.Dir()})
			}
			_, err = fmt.Fprintf(a.Out, "run %s is in %s\n", id, relative(store.Dir()))
			return err
		},
	}
	c.Flags().BoolVar(&large, "large", false, fmt.Sprintf("also a pack that unpacks to more than %d MB", unpackLimit>>20))
	return c
}
