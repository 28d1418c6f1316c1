package simulator_test

import (
	"context"
	"encoding/csv"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"calrun/internal/profile"
	"calrun/internal/shared"
	"calrun/internal/simulator"
	"calrun/internal/trace"
)

// recorded is a run of the real Vidur 0.0.26.
type recorded struct {
	cfg     simulator.Config
	rows    []trace.Row // with the lengths that Vidur used
	batches []recordedBatch
}

// recordedBatch is what Vidur tells of a batch. It counts a chunk of one token
// among the sequences, but not among the prompt tokens.
type recordedBatch struct {
	tokens, decode, sequences int
	took                      float64 // seconds
}

func (b recordedBatch) String() string {
	return fmt.Sprintf("%d tokens, %d decoding, %d sequences", b.tokens, b.decode, b.sequences)
}

// readVidur reads the recorded run of a scheduler.
func readVidur(t *testing.T, p simulator.Policy) recorded {
	t.Helper()
	r := recorded{cfg: simulator.Config{Policy: p, MaxNumSeqs: 128, MaxTokens: 512, BlockSize: 16, Blocks: 7424, Watermark: 0.01}}
	if p == simulator.VLLM {
		r.cfg.MaxTokens = 4096
	}
	dir := shared.Path(t, "captures/vidur/"+p.String())
	due := 0.0
	readNumbers(t, filepath.Join(dir, "request_metrics.csv"), func(col func(string) float64) {
		if len(r.rows) > 0 {
			due += col("request_inter_arrival_delay")
		}
		row := trace.Row{Request: trace.Request{
			ID: len(r.rows), Due: trace.FromSeconds(due),
			Prompt: int(col("request_num_prefill_tokens")), Output: int(col("request_num_decode_tokens")),
		}}
		row.Tokens = row.Output
		row.First = row.Due + trace.FromSeconds(col("prefill_e2e_time"))
		row.Last = row.Due + trace.FromSeconds(col("request_e2e_time"))
		r.rows = append(r.rows, row)
	})
	m := replayer{t: t}
	readNumbers(t, filepath.Join(dir, "batch_metrics.csv"), m.add)
	r.batches = m.batches
	return r
}

// readNumbers calls f for every line of a CSV file.
func readNumbers(t *testing.T, path string, f func(col func(name string) float64)) {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	lines, err := csv.NewReader(file).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	at := map[string]int{}
	for i, name := range lines[0] {
		at[name] = i
	}
	for n, l := range lines[1:] {
		f(func(name string) float64 {
			i, ok := at[name]
			if !ok {
				t.Fatalf("%s has no column %s", path, name)
			}
			v, err := strconv.ParseFloat(l[i], 64)
			if err != nil {
				t.Fatalf("%s: line %d: %s: %v", path, n+2, name, err)
			}
			return v
		})
	}
}

func (r recorded) requests() []trace.Request {
	reqs := make([]trace.Request, len(r.rows))
	for i, row := range r.rows {
		reqs[i] = row.Request
	}
	return reqs
}

// replayer gives every step the time that Vidur gave it, and says whether it
// computes the same.
type replayer struct {
	t       *testing.T
	batches []recordedBatch
	n       int
}

func (m *replayer) add(col func(string) float64) {
	m.batches = append(m.batches, recordedBatch{
		int(col("batch_num_tokens")), int(col("batch_num_decode_tokens")), int(col("batch_size")),
		col("batch_execution_time"),
	})
}

func (m *replayer) Step(b *simulator.Batch) (time.Duration, bool) {
	if m.n == len(m.batches) {
		m.t.Fatalf("step %d: Vidur had no more", m.n)
	}
	want := m.batches[m.n]
	if got := (recordedBatch{b.Tokens(), b.Decodes, b.Sequences(), want.took}); got != want {
		m.t.Fatalf("step %d computes %v, Vidur's %v", m.n, got, want)
	}
	m.n++
	return trace.FromSeconds(want.took), false
}

// With Vidur's own step times every batch is Vidur's, and so is every time.
func TestVidurBatchForBatch(t *testing.T) {
	for _, p := range []simulator.Policy{simulator.Sarathi, simulator.VLLM} {
		t.Run(p.String(), func(t *testing.T) {
			r := readVidur(t, p)
			m := &replayer{t: t, batches: r.batches}
			rows, _, err := simulator.Run(context.Background(), r.requests(), r.cfg, m)
			if err != nil {
				t.Fatal(err)
			}
			if m.n != len(r.batches) {
				t.Errorf("%d steps, Vidur had %d", m.n, len(r.batches))
			}
			worst := time.Duration(0)
			for i, row := range rows {
				worst = max(worst, (row.First - r.rows[i].First).Abs(), (row.Last - r.rows[i].Last).Abs())
			}
			t.Logf("%d batches alike; no request's time differs by more than %v", m.n, worst)
			if worst > 5*time.Microsecond { // half a nanosecond a step
				t.Errorf("a request's time differs by %v", worst)
			}
			compareRows(t, "Vidur's step times", rows, r.rows, 0.005)
		})
	}
}

// compareRows compares P50 and P99 and prints them.
func compareRows(t *testing.T, what string, got, want []trace.Row, limit float64) {
	t.Helper()
	g, w := statistics(got), statistics(want)
	for _, name := range []string{"ttft p50", "ttft p99", "tpot p50", "tpot p99", "e2e p50", "e2e p99"} {
		e := g[name]/w[name] - 1
		t.Logf("%s: %s %.4f s, Vidur %.4f s, %+.2f %%", what, name, g[name], w[name], 100*e)
		if math.Abs(e) > limit {
			t.Errorf("%s: %s is %+.2f %% off Vidur, at most %.1f %% are expected", what, name, 100*e, 100*limit)
		}
	}
}

// vidurLookup asks a profile where Vidur asks its forest: dense operators at
// tokens rounded up to 8, decode attention at the mean context rounded up to
// 64, the token under way and the one after it included; prefill attention at
// the chunk rounded up to 32 and the context after it, rounded up to 64. A
// chunk of one token is a decode. Beyond the last context that was measured
// with a chunk (multiples of it, 4,096 tokens in all) a forest holds its value
// and interpolation would go on.
type vidurLookup struct{ dense, attn simulator.Model }

func newVidurLookup(t *testing.T, p *profile.Profile) vidurLookup {
	t.Helper()
	only := func(s profile.Scale) simulator.Model {
		m, err := p.Model(s)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	const never = 1e-12 // a factor of 0 means 1
	return vidurLookup{dense: only(profile.Scale{Attn: never}), attn: only(profile.Scale{MLP: never})}
}

func up(n, to int) int { return (n + to - 1) / to * to }

func (m vidurLookup) Step(b *simulator.Batch) (time.Duration, bool) {
	dense, _ := m.dense.Step(&simulator.Batch{Decodes: up(b.Tokens(), 8)})
	attn := simulator.Batch{Decodes: b.Decodes, DecodeContext: b.DecodeContext + 2*b.Decodes}
	for _, c := range b.Prefills {
		if c.Tokens == 1 {
			attn.Decodes++
			attn.DecodeContext += c.Context + 1
			continue
		}
		chunk := up(c.Tokens, 32)
		last := (4096/chunk - 1) * chunk
		attn.Prefills = append(attn.Prefills, simulator.Chunk{Tokens: chunk, Context: min(last, up(c.Context+c.Tokens, 64))})
	}
	if attn.Decodes > 0 {
		attn.DecodeContext = up(attn.DecodeContext/attn.Decodes, 64) * attn.Decodes
	}
	d, _ := m.attn.Step(&attn)
	return dense + d, false
}

// shares adds up how a model's steps differ from the recorded ones, by the
// sort of the step.
type shares struct {
	replayer
	model simulator.Model
	sum   map[string][2]float64 // model's and Vidur's seconds
}

func (m *shares) Step(b *simulator.Batch) (time.Duration, bool) {
	kind := "mixed"
	switch {
	case len(b.Prefills) == 0:
		kind = "decode"
	case b.Decodes == 0:
		kind = "prefill"
	}
	got, _ := m.model.Step(b)
	d, outside := m.replayer.Step(b)
	s := m.sum[kind]
	m.sum[kind] = [2]float64{s[0] + got.Seconds(), s[1] + d.Seconds()}
	return d, outside
}

// With interpolation instead of Vidur's forest. Three differences come
// together, and the log tells them apart by the sort of the step: where Vidur
// looks a batch up (prefill attention at the context after the chunk instead of
// before it makes its steps longer by 1 to 5 %), that a forest holds its last
// value, and that it is a staircase. The first is Vidur's, so it is not judged;
// with its look-ups only the forest is left. Near saturation a step's error
// comes back several times over in TTFT.
func TestVidurByInterpolation(t *testing.T) {
	prof, err := profile.Open(shared.Path(t, "profiles/vidur"))
	if err != nil {
		t.Fatal(err)
	}
	plain, err := prof.Model(profile.Scale{})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []simulator.Policy{simulator.Sarathi, simulator.VLLM} {
		for _, c := range []struct {
			name         string
			model        simulator.Model
			steps, cells float64 // limits of the errors; of a cell 0.03 is wanted
		}{
			{"what the batch is", plain, 0.05, 0.15},
			// TTFT P99 of 300 requests is three of them, behind the longest prompts.
			{"where Vidur looks it up", newVidurLookup(t, prof), 0.015, 0.04},
		} {
			t.Run(p.String()+"/"+c.name, func(t *testing.T) {
				r := readVidur(t, p)
				m := &shares{replayer{t: t, batches: r.batches}, c.model, map[string][2]float64{}}
				if _, _, err := simulator.Run(context.Background(), r.requests(), r.cfg, m); err != nil {
					t.Fatal(err)
				}
				for kind, s := range m.sum {
					e := s[0]/s[1] - 1
					t.Logf("%s steps: %.2f s, Vidur %.2f s, %+.2f %%", kind, s[0], s[1], 100*e)
					if math.Abs(e) > c.steps {
						t.Errorf("%s steps are %+.2f %% off Vidur's", kind, 100*e)
					}
				}
				rows, _, err := simulator.Run(context.Background(), r.requests(), r.cfg, c.model)
				if err != nil {
					t.Fatal(err)
				}
				compareRows(t, c.name, rows, r.rows, c.cells)
			})
		}
	}
}
