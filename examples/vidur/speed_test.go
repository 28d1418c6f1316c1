//go:build real && unix

package vidur

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"syscall"
	"testing"
	"time"

	"calrun/internal/emulator"
	"calrun/internal/profile"
	"calrun/internal/simulator"
	"calrun/internal/trace"
	"calrun/internal/vidur"
)

// say prints a line of the table: the log of a benchmark is cut after ten.
func say(format string, args ...any) { fmt.Printf(format+"\n", args...) }

// spent is what a piece of work took.
type spent struct{ wall, cpu time.Duration }

// clocked does the work and says what it took: the children's time too, so
// that a machine that others use does not decide.
func clocked(b *testing.B, work func() error) spent {
	b.Helper()
	cpu := func() (sum time.Duration) {
		for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
			var u syscall.Rusage
			if err := syscall.Getrusage(who, &u); err != nil {
				b.Fatal(err)
			}
			sum += time.Duration(u.Utime.Nano() + u.Stime.Nano())
		}
		return sum
	}
	began, before := time.Now(), cpu()
	if err := work(); err != nil {
		b.Fatal(err)
	}
	return spent{time.Since(began), cpu() - before}
}

// BenchmarkRealVidur runs one trace through the real Vidur, with its
// predictors untrained and trained, and through the embedded simulator on one
// core, in one process. The targets: 200 times warm Vidur's requests a second
// aggregate and 100 times with blocks; a million requests a second and 50,000;
// memory that does not grow.
//
// The truth that both are held against is the emulated engine of
// plans/vidur-a800.yaml, in counted time: vLLM's scheduler, step times along
// the A800's profile with 2 % of jitter. No measurement exists of a card whose
// profile the registry's Vidur reads, so the errors compare simulators on one
// engine and say nothing of a card. The trace overloads it.
func BenchmarkRealVidur(b *testing.B) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	at := openBench(b)
	reqs := conversations(b, 2000)
	set, sarathi := roomy(vidur.Sarathi)
	truth := trueRows(b, reqs, set, set.Blocks)

	say("%-34s %12s %12s %10s %10s  %s", "2,000 requests of splitwise_conv", "requests/s", "per CPU s", "× warm", "× by CPU", "error of P50, P99 of TTFT, TPOT, E2E: mean, worst")
	var warm spent
	row := func(name string, s spent, rows, truth []trace.Row) {
		n := float64(len(reqs))
		mean, worst := apartBy(rows, truth)
		say("%-34s %12.0f %12.0f %10.1f %10.1f  %6.2f %% %6.2f %%", name, n/s.wall.Seconds(), n/s.cpu.Seconds(),
			warm.wall.Seconds()/s.wall.Seconds(), warm.cpu.Seconds()/s.cpu.Seconds(), 100*mean, 100*worst)
	}
	var res *vidur.Result
	cache := b.TempDir()
	run := func() (err error) {
		res, err = at.predict(b, cache, set).Run(context.Background(), b.TempDir(), reqs, false)
		return err
	}
	cold := clocked(b, run)
	warm = clocked(b, run)
	row("Vidur 0.0.26, cold (trains)", cold, res.Rows, truth)
	row("Vidur 0.0.26, warm", warm, res.Rows, truth)

	m := at.model(b, profile.Scale{})
	v1 := simulator.Config{MaxNumSeqs: set.MaxSeqs, MaxTokens: set.MaxTokens, BlockSize: set.BlockSize, Chunked: true, WholePrompt: true}
	blocks, tight := v1, v1
	blocks.Blocks, tight.Blocks = set.Blocks, 4000
	for _, c := range []struct {
		name  string
		cfg   simulator.Config
		truth []trace.Row
	}{
		{"embedded, aggregate", v1, truth},
		{"embedded, 20,000 blocks", blocks, truth},
		{"embedded, 4,000 blocks, preempting", tight, trueRows(b, reqs, set, tight.Blocks)}, // of an engine that has as few
		{"embedded, Vidur's sarathi", sarathi, truth},
	} {
		var rows []trace.Row
		times := 0
		s := clocked(b, func() (err error) {
			for began := time.Now(); time.Since(began) < time.Second && err == nil; times++ {
				rows, _, err = simulator.Run(context.Background(), reqs, c.cfg, m)
			}
			return err
		})
		row(c.name, spent{s.wall / time.Duration(times), s.cpu / time.Duration(times)}, rows, c.truth)
	}

	say("%-34s %12s %12s %12s %12s", "a stream, step-time profile", "requests", "per CPU s", "peak heap", "preempted")
	for _, c := range []struct {
		name   string
		blocks int
	}{{"aggregate", 0}, {"blocks that run out", 1200}} {
		for _, n := range []int{10_000, 100_000, 1_000_000} {
			cfg := simulator.Defaults()
			cfg.Blocks = c.blocks
			stats, peak, s := stream(b, n, cfg)
			say("%-34s %12d %12.0f %9.1f MB %12d", c.name, n, float64(n)/s.cpu.Seconds(), float64(peak)/(1<<20), stats.Preemptions)
		}
	}
	b.ReportMetric(0, "ns/op") // the table says it
}

// trueRows is what the emulated engine makes of the requests.
func trueRows(b *testing.B, reqs []trace.Request, set vidur.Setup, blocks int) []trace.Row {
	b.Helper()
	e, err := emulator.NewReplay(emulator.Config{
		Step: profile.StepTime{
			Base: 0.0094, PerPrefillToken: 69e-6, PerSequence: 70e-6, PerContextToken: 0.26e-6,
		},
		Jitter: emulator.Jitter{Step: 0.02}, Seed: 3,
		MaxNumSeqs: set.MaxSeqs, MaxTokens: set.MaxTokens, BlockSize: set.BlockSize, KVBlocks: blocks, MaxModelLen: 4096,
	})
	if err != nil {
		b.Fatal(err)
	}
	rows, err := e.Serve(reqs)
	if err != nil {
		b.Fatal(err)
	}
	return rows
}

// apartBy is how far six cells of rows are from the truth's.
func apartBy(rows, truth []trace.Row) (mean, worst float64) {
	_, got := cells(rows)
	_, want := cells(truth)
	for i := range got {
		e := math.Abs(got[i]/want[i] - 1)
		mean, worst = mean+e/float64(len(got)), max(worst, e)
	}
	return mean, worst
}

// stream simulates n requests that keep the engine busy and does not hold
// them. The heap is looked at 100 times.
func stream(b *testing.B, n int, cfg simulator.Config) (stats simulator.Stats, peak uint64, s spent) {
	b.Helper()
	rng, i, due := rand.New(rand.NewPCG(1, 2)), 0, 0.0
	source := func() (trace.Request, bool) {
		if i == n {
			return trace.Request{}, false
		}
		due += rng.ExpFloat64() / 20
		i++
		return trace.Request{ID: i - 1, Due: trace.FromSeconds(due), Prompt: 16 + rng.IntN(1000), Output: 4 + rng.IntN(200)}, true
	}
	runtime.GC()
	seen := 0
	s = clocked(b, func() (err error) {
		stats, err = simulator.Stream(context.Background(), source, cfg, profile.StepTime{
			Base: 0.008, PerPrefillToken: 15e-6, PerSequence: 1e-4, PerContextToken: 2e-8,
		}, func(*trace.Row) {
			if seen++; seen%(n/100) == 0 {
				var mem runtime.MemStats
				runtime.ReadMemStats(&mem)
				peak = max(peak, mem.HeapAlloc)
			}
		})
		return err
	})
	return stats, peak, s
}
