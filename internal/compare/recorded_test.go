package compare

import (
	"encoding/csv"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"calrun/internal/shared"
	"calrun/internal/trace"
)

// recorded reads a real run and another simulator's answer to it.
func recorded(t *testing.T, name string) (measured, simulated []trace.Point) {
	t.Helper()
	f, err := os.Open(shared.Path(t, filepath.Join("measured", name, "paired.csv")))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	at := map[string]int{}
	for i, col := range lines[0] {
		at[col] = i
	}
	var both [2]trace.Run
	for id, line := range lines[1:] {
		num := func(col string) float64 {
			v, err := strconv.ParseFloat(line[at[col]], 64)
			if err != nil {
				t.Fatal(err)
			}
			return v
		}
		req := trace.Request{
			ID: id, Due: trace.FromSeconds(num("real_arrival_s")),
			Prompt: int(num("input_toks")), Output: int(num("output_toks")),
		}
		for k, side := range []string{"real", "sim"} {
			row := trace.Row{Request: req, Sent: req.Due, Prompted: req.Prompt, Tokens: req.Output}
			row.First = req.Due + trace.FromSeconds(num(side+"_ttft_ms")/1e3)
			row.Last = req.Due + trace.FromSeconds(num(side+"_e2e_ms")/1e3)
			both[k].Requests = append(both[k].Requests, req)
			both[k].Rows = append(both[k].Rows, row)
			both[k].Window = max(both[k].Window, row.Last)
		}
	}
	point := func(r trace.Run) []trace.Point {
		r.Seed, r.State = 1, trace.OK
		return []trace.Point{{Name: "replay", Group: trace.Replay, Rate: 10, Runs: []trace.Run{r}}}
	}
	return point(both[0]), point(both[1])
}

// Real vLLM runs: what one repeat can say is said, the rest is left open.
func TestRecorded(t *testing.T) {
	for _, c := range []struct {
		name  string
		drain bool               // its TTFT grows over the run
		bias  map[string]float64 // of the median, as the recording's own summary states it
	}{
		{"RTX4090_Llama-3.1-8B", true, map[string]float64{"ttft": 0.008, "tpot": 0.002, "e2e": 0.009}},
		{"RTXPRO6000_Llama-3.1-8B", true, nil},
		{"RTXPRO6000_Qwen3-30B-A3B-Instruct-2507", false, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, s := recorded(t, c.name)
			got, err := Compare(m, s, Options{})
			if err != nil {
				t.Fatal(err)
			}
			p := got.Result.Points["replay"]
			t.Logf("%s %s; ttft p50 %+.4f", p.State, p.Reason, *p.TTFT.P50.Bias)
			if p.State != stateOverloaded {
				t.Errorf("state %s (%s): requests outlast the arrivals, so in-flight counts rise to the end", p.State, p.Reason)
			}
			if p.Drain != c.drain {
				t.Errorf("drain is %v, want %v", p.Drain, c.drain)
			}
			if p.Noise != "engine noise unknown" {
				t.Errorf("noise %q: one repeat knows nothing of the engine's", p.Noise)
			}
			for metric, m := range map[string]PointMetric{"ttft": p.TTFT, "tpot": p.TPOT, "e2e": p.E2E} {
				t.Logf("%s: block %d, blocks %d, p50 %+.4f doubt %q, p99 doubt %q", metric, m.Block, m.P50.Blocks, *m.P50.Bias, m.P50.Doubt, m.P99.Doubt)
				if m.P99.Doubt != "one repeat" || m.P90.Doubt != "one repeat" {
					t.Errorf("%s: tails of one repeat must not be judged, doubts are %q and %q", metric, m.P90.Doubt, m.P99.Doubt)
				}
				switch d := m.P50.Doubt; {
				case d == "" && (m.P50.Low == nil || *m.P50.Low > *m.P50.Bias || *m.P50.High < *m.P50.Bias):
					t.Errorf("%s: judged without an interval around its error", metric)
				case d != "" && !strings.Contains(d, strconv.Itoa(m.P50.Blocks)+" independent blocks"):
					t.Errorf("%s: doubt %q does not say how many blocks there are", metric, d)
				case m.P50.Blocks < replayBlocks && d == "":
					t.Errorf("%s: judged on %d blocks", metric, m.P50.Blocks)
				}
				if want, ok := c.bias[metric]; ok && (*m.P50.Bias < want-0.0015 || *m.P50.Bias > want+0.0015) {
					t.Errorf("%s: P50 error %+.4f, the recording says %+.3f", metric, *m.P50.Bias, want)
				}
			}
			if d := got.Draws.Doubts["/replay/ttft/p99"]; d != "one repeat" {
				t.Errorf("/replay/ttft/p99: doubt %q", d)
			}
			if d := got.Draws.Doubts["/ttft/p50"]; d != "the measurement has no sweep" {
				t.Errorf("/ttft/p50: doubt %q", d)
			}
		})
	}
}
