//go:build real

package vidur

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"testing"
	"time"

	"calrun/internal/profile"
	"calrun/internal/shared"
	"calrun/internal/simulator"
	"calrun/internal/stats"
	"calrun/internal/trace"
	"calrun/internal/vidur"
)

// bench is a Vidur that is installed, and the A800 profile.
type bench struct {
	py    vidur.Python
	cache string
	prof  *profile.Profile
	from  vidur.Source
}

func openBench(t testing.TB) bench {
	t.Helper()
	cache, err := vidur.CacheDir()
	if err != nil {
		t.Fatal(err)
	}
	m, err := vidur.FindManaged(context.Background(), cache)
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	if err := m.Install(context.Background(), &log); err != nil {
		t.Fatalf("%v\n%s", err, log.String())
	}
	prof, err := profile.OpenFor(shared.Path(t, "profiles/vidur"), profile.Want{})
	if err != nil {
		t.Fatal(err)
	}
	sheets, err := prof.Sheets()
	if err != nil {
		t.Fatal(err)
	}
	return bench{m.Python, cache, prof, vidur.Source{Sheets: sheets, Layers: prof.Dims.Layers}}
}

func (b bench) predict(t testing.TB, cache string, set vidur.Setup) *vidur.Simulator {
	t.Helper()
	sim, _, err := b.py.Predict(context.Background(), cache, set, b.from)
	if err != nil {
		t.Fatal(err)
	}
	return sim
}

func (b bench) model(t testing.TB, s profile.Scale) profile.Model {
	t.Helper()
	m, err := b.prof.Model(s)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// conversations are the first requests of the trace, none longer than 4,096
// tokens.
func conversations(t testing.TB, n int) []trace.Request {
	t.Helper()
	reqs, err := trace.ReadCSV(shared.Path(t, "traces/splitwise_conv.csv"))
	if err != nil {
		t.Fatal(err)
	}
	reqs = reqs[:n]
	for i := range reqs {
		reqs[i].Output = max(1, reqs[i].Output)
		reqs[i].Prompt = max(1, min(reqs[i].Prompt, 4096-reqs[i].Output))
	}
	return reqs
}

// roomy is a setup in which the blocks do not run out, and the embedded
// simulator's of the same scheduler.
func roomy(s vidur.Scheduler) (vidur.Setup, simulator.Config) {
	set := setup(s)
	set.Blocks = 20000
	policy := simulator.Sarathi
	if s == vidur.VLLM {
		policy = simulator.VLLM
	}
	return set, simulator.Config{
		Policy: policy, MaxNumSeqs: set.MaxSeqs, MaxTokens: set.MaxTokens, BlockSize: set.BlockSize,
		Blocks: set.Blocks, Watermark: set.Watermark,
	}
}

// cells are P50 and P99 of TTFT, TPOT and E2E, in seconds.
func cells(rows []trace.Row) (names []string, values []float64) {
	var by [3][]float64
	for _, r := range rows {
		by[0], by[2] = append(by[0], r.TTFT().Seconds()), append(by[2], r.E2E().Seconds())
		if v, ok := r.TPOT(); ok {
			by[1] = append(by[1], v.Seconds())
		}
	}
	for i, name := range []string{"TTFT", "TPOT", "E2E"} {
		slices.Sort(by[i])
		for _, q := range []float64{0.5, 0.99} {
			names = append(names, fmt.Sprintf("%s P%.0f", name, 100*q))
			values = append(values, stats.Quantile(by[i], q))
		}
	}
	return names, values
}

// The embedded simulator with Vidur's scheduler takes Vidur's steps: with the
// predictions of Vidur's own forests every cell is Vidur's. What differs with
// the profile instead comes from three places, told apart here one by one:
// where Vidur looks a step up (a grid, and prefill attention priced at the
// context after the chunk), that it asks a forest, and nothing else.
func TestRealVidurSameScheduler(t *testing.T) {
	b := openBench(t)
	reqs := conversations(t, 1000)
	const never = 1e-12 // a factor of 0 means 1
	looked := vidur.Looked{Dense: b.model(t, profile.Scale{Attn: never}), Attention: b.model(t, profile.Scale{MLP: never}), Grain: 64, Reach: 4096}
	for _, s := range []vidur.Scheduler{vidur.Sarathi, vidur.VLLM} {
		t.Run(string(s), func(t *testing.T) {
			set, cfg := roomy(s)
			sim := b.predict(t, b.cache, set)
			res, err := sim.Run(context.Background(), t.TempDir(), reqs, false)
			if err != nil {
				t.Fatal(err)
			}
			tables, err := sim.Tables(b.prof.Dims.Layers, 0) // Llama-2-7B has a head of keys for each of queries
			if err != nil {
				t.Fatal(err)
			}
			names, want := cells(res.Rows)
			errors := map[string][]float64{}
			for name, m := range map[string]profile.Model{"tables": tables, "looked": looked, "plain": b.model(t, profile.Scale{})} {
				rows, stats, err := simulator.Run(context.Background(), reqs, cfg, m)
				if err != nil {
					t.Fatal(err)
				}
				_, got := cells(rows)
				for i := range got {
					errors[name] = append(errors[name], got[i]/want[i]-1)
				}
				if name != "tables" {
					continue
				}
				if stats.Steps != res.Stats.Steps || stats.Outside > 0 || stats.PeakSeqs != res.Stats.PeakSeqs {
					t.Errorf("%d steps (%d outside the tables) of at most %d sequences; Vidur had %d of at most %d", stats.Steps, stats.Outside, stats.PeakSeqs, res.Stats.Steps, res.Stats.PeakSeqs)
				}
				worst := time.Duration(0)
				for i, r := range rows {
					worst = max(worst, (r.First - res.Rows[i].First).Abs(), (r.Last - res.Rows[i].Last).Abs())
				}
				t.Logf("with Vidur's predictions %d steps are alike, and no request's time differs by more than %v", stats.Steps, worst)
			}
			t.Logf("%-9s %9s %12s %12s %12s %12s", "cell", "Vidur", "predictions", "profile", "by look-up", "by forest")
			for i, name := range names {
				own, plain, at := errors["tables"][i], errors["plain"][i], errors["looked"][i]
				t.Logf("%-9s %8.4fs %+11.3f%% %+11.2f%% %+11.2f%% %+11.2f%%", name, want[i], 100*own, 100*plain, 100*(plain-at), 100*(at-own))
				if math.Abs(own) > 0.005 {
					t.Errorf("%s is %+.3f %% off with Vidur's own step times", name, 100*own)
				}
				if math.Abs(at-own) > 0.08 {
					t.Errorf("%s: the forests alone make %+.2f %%", name, 100*(at-own))
				}
			}
			misfits, err := sim.Misfits()
			if err != nil {
				t.Fatal(err)
			}
			for _, op := range slices.Sorted(maps.Keys(misfits)) {
				m := misfits[op]
				t.Logf("forest of %-25s %5d rows, bias %+.2f %%, mean error %.2f %%, worst %.1f %%", op, m.Rows, 100*m.Bias, 100*m.MAPE, 100*m.Worst)
			}
			if m := misfits["attn_prefill"]; m.Rows == 0 || m.MAPE == 0 {
				t.Errorf("the forest of attn_prefill fits its %d rows exactly?", m.Rows)
			}
		})
	}
}
