package vidur

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"calrun/internal/trace"
)

// The files that a run of Vidur leaves, below its folder.
const (
	configFile   = "config.json"
	requestsFile = "request_metrics.csv"
	batchesFile  = "batch_metrics.csv"
	memoryFile   = "plots/replica_1_memory_usage.json"
)

// Columns of request_metrics.csv; times are in seconds since the arrival.
const (
	colID       = "Request Id" // place of the request in the trace
	colFirst    = "prefill_e2e_time"
	colLast     = "request_e2e_time"
	colPrompt   = "request_num_prefill_tokens" // as used, after any clip
	colOutput   = "request_num_decode_tokens"
	colRestarts = "request_num_restarts"
	colGap      = "request_inter_arrival_delay" // empty for the first request, and no other
)

// Stats is what a simulation did beside its rows.
type Stats struct {
	Steps       int           // batches
	PeakSeqs    int           // most sequences in one batch
	Preemptions int           // restarts of requests that lost their KV blocks
	PeakBlocks  int           // most KV blocks in use; 0 if the setup leaves their number to Vidur
	End         time.Duration // of the last request
}

// times are those of one request, since its arrival.
type times struct{ first, last time.Duration }

// accept reads what Vidur wrote into out and believes it only if nothing of
// the input was changed: exactly the requests of the trace with no cell
// empty, their lengths, and the scheduler that was asked for. A request that
// was restarted counts its own output as prompt; its total is unchanged.
func accept(out string, s Setup, reqs []trace.Request) ([]times, Stats, error) {
	var st Stats
	if err := acceptScheduler(filepath.Join(out, configFile), s.Scheduler); err != nil {
		return nil, st, err
	}
	rows, err := readTable(filepath.Join(out, requestsFile), colID, colFirst, colLast, colPrompt, colOutput, colRestarts)
	if err != nil {
		return nil, st, err
	}
	if len(rows) != len(reqs) {
		return nil, st, fmt.Errorf("%s has %d rows, and the trace %d requests", requestsFile, len(rows), len(reqs))
	}
	got := make([]times, len(reqs))
	changed, first := 0, ""
	for i, r := range rows {
		if r[0] != float64(i) {
			return nil, st, fmt.Errorf("%s: row %d is of request %v, not %d", requestsFile, i, r[0], i)
		}
		got[i] = times{trace.FromSeconds(r[1]), trace.FromSeconds(r[2])}
		if !(r[1] > 0) || r[2] < r[1] {
			return nil, st, fmt.Errorf("%s: request %d has its first token after %v s and its last after %v s", requestsFile, i, r[1], r[2])
		}
		prompt, output, restarts := int(r[3]), int(r[4]), int(r[5])
		st.Preemptions += restarts
		same := prompt == reqs[i].Prompt && output == reqs[i].Output ||
			restarts > 0 && prompt+output == reqs[i].Prompt+reqs[i].Output
		if !same {
			if changed++; first == "" {
				first = fmt.Sprintf("request %d was given %d+%d tokens and ran with %d+%d", i, reqs[i].Prompt, reqs[i].Output, prompt, output)
			}
		}
	}
	if changed > 0 {
		return nil, st, fmt.Errorf("the lengths of %d of %d requests were changed by Vidur without a word: %s", changed, len(reqs), first)
	}
	return got, st, st.read(out, s)
}

// acceptScheduler checks that the scheduler ran that was asked for: a type
// that Vidur does not know is replaced by its default, with exit code 0.
func acceptScheduler(path string, want Scheduler) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read Vidur's output: %w", err)
	}
	var c struct {
		Cluster struct {
			Scheduler struct {
				Name string `json:"name"`
			} `json:"replica_scheduler_config"`
		} `json:"cluster_config"`
	}
	if err := json.Unmarshal(data, &c); err != nil {
		return fmt.Errorf("read Vidur's output: %s: %w", configFile, err)
	}
	if c.Cluster.Scheduler.Name != string(want) {
		return fmt.Errorf("the scheduler that ran is %q, and %q was asked for", c.Cluster.Scheduler.Name, want)
	}
	return nil
}

// read takes the counts from Vidur's other files.
func (st *Stats) read(out string, s Setup) error {
	batches, err := readTable(filepath.Join(out, batchesFile), "batch_size")
	if err != nil {
		return err
	}
	st.Steps = len(batches)
	for _, b := range batches {
		st.PeakSeqs = max(st.PeakSeqs, int(b[0]))
	}
	data, err := os.ReadFile(filepath.Join(out, filepath.FromSlash(memoryFile)))
	if err != nil {
		return fmt.Errorf("read Vidur's output: %w", err)
	}
	var m struct {
		Max float64 `json:"replica_1_memory_usage_max"` // percent
	}
	if err := json.Unmarshal(data, &m); err != nil {
		return fmt.Errorf("read Vidur's output: %s: %w", memoryFile, err)
	}
	st.PeakBlocks = int(math.Round(m.Max / 100 * float64(s.Blocks)))
	return nil
}

// readTable reads columns of one of Vidur's CSV files, row by row. A file cut
// short (by a full disk, with its process) and an empty cell (a request that
// never finished) are errors; the only cell that may be empty is the first
// request's gap to the one before it.
func readTable(path string, cols ...string) ([][]float64, error) {
	name := filepath.Base(path)
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read Vidur's output: %w", err)
	}
	if len(data) == 0 || data[len(data)-1] != '\n' {
		return nil, fmt.Errorf("read Vidur's output: %s is cut short after %d bytes", name, len(data))
	}
	all, err := csv.NewReader(bytes.NewReader(data)).ReadAll()
	if err != nil {
		return nil, fmt.Errorf("read Vidur's output: %s: %w", name, err)
	}
	head := all[0]
	at := make([]int, len(cols))
	for i, col := range cols {
		if at[i] = slices.Index(head, col); at[i] < 0 {
			return nil, fmt.Errorf("read Vidur's output: %s has no column %q; it has %s", name, col, strings.Join(head, ", "))
		}
	}
	rows := make([][]float64, 0, len(all)-1)
	for n, rec := range all[1:] {
		for j, cell := range rec {
			if cell == "" && (head[j] != colGap || n > 0) {
				return nil, fmt.Errorf("read Vidur's output: %s: line %d: %s is empty: that request never finished", name, n+2, head[j])
			}
		}
		row := make([]float64, len(cols))
		for i, j := range at {
			v, err := strconv.ParseFloat(rec[j], 64)
			if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
				return nil, fmt.Errorf("read Vidur's output: %s: line %d: %s: %q is not a number", name, n+2, cols[i], rec[j])
			}
			row[i] = v
		}
		rows = append(rows, row)
	}
	return rows, nil
}
