package pipeline

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

type nop struct {
	After []int `yaml:"after"`
	N     int   `yaml:"n"`
}

type nopped struct {
	N int `json:"n"`
}

func (s *nop) Run(context.Context, *Runtime) (any, error) { return nopped{s.N}, nil }

func nopPlan(b *testing.B, n int, after func(i int) string) *Plan {
	var src strings.Builder
	src.WriteString("version: calrun/v1\nname: noop\nsteps:\n")
	for i := range n {
		fmt.Fprintf(&src, "  s%d: {uses: nop, with: {n: %d%s}}\n", i, i, after(i))
	}
	kinds := NewKinds(Kind{Name: "nop", Version: 1, Repeat: Exact, New: func() Step { return &nop{} }, Result: nopped{}})
	p, problems := LoadBytes(filepath.Join(b.TempDir(), "plan.yaml"), []byte(src.String()), LoadOptions{Kinds: kinds})
	if err := problems.Err(); err != nil {
		b.Fatal(err)
	}
	return p
}

func BenchmarkRun(b *testing.B) {
	// Nothing is removed before the end: a file system without a journal makes
	// everybody pass over what was removed lately, one by one.
	all := b.TempDir()
	shapes := map[string]func(int) string{
		"fan": func(int) string { return "" },
		"chain": func(i int) string {
			if i == 0 {
				return ""
			}
			return fmt.Sprintf(`, after: ["${{ steps.s%d.n }}"]`, i-1)
		},
	}
	for _, shape := range []string{"fan", "chain"} {
		for _, n := range []int{1, 1000, 10000} {
			b.Run(fmt.Sprintf("%s/%d", shape, n), func(b *testing.B) {
				plan := nopPlan(b, n, shapes[shape])
				for b.Loop() {
					dir, _ := os.MkdirTemp(all, "run")
					store, err := OpenStore(dir)
					if err != nil {
						b.Fatal(err)
					}
					r := &Runner{Store: store, Log: nolog}
					s, err := r.Run(b.Context(), plan, RunOptions{})
					if err != nil || s.Exit != ExitPass {
						b.Fatal(err, s.Exit, s.Reasons)
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n)/1e6, "ms/step")
				var u syscall.Rusage
				syscall.Getrusage(syscall.RUSAGE_SELF, &u)
				b.ReportMetric(float64(u.Maxrss)/1024, "MB-rss")
			})
		}
	}
}
