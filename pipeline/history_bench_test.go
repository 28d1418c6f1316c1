package pipeline

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"calrun/pipeline/state"
)

// manyRuns is a store of n short runs. CALRUN_BENCH_STORE keeps it there, for
// a look at it with the command.
func manyRuns(b *testing.B, n int) *Store {
	dir := os.Getenv("CALRUN_BENCH_STORE")
	if dir == "" {
		dir = b.TempDir()
	}
	s, err := OpenStore(dir)
	if err != nil {
		b.Fatal(err)
	}
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for i := range n {
		at = at.Add(time.Minute)
		id := at.Format("20060102-150405") + fmt.Sprintf("-%04x", i&0xffff)
		if err := os.MkdirAll(s.RunDir(id), 0o755); err != nil {
			b.Fatal(err)
		}
		j, err := createJournal(s.RunDir(id))
		if err != nil {
			b.Fatal(err)
		}
		key := fmt.Sprintf("sha256:%064x", i)
		events := []*Event{
			{Type: EventOpened, Opened: &Opened{Format: state.JournalFormat, Run: id, Plan: "small", File: "plan.yaml", Dir: "/", Source: "version: calrun/v1\n"}},
			{Type: EventRound, Round: 1},
			{Type: EventResolved, Round: 1, Step: "sim", Resolved: &state.Resolved{Kind: "model", Repeat: "exact", Key: key, With: []byte(`{}`)}},
			{Type: EventStarted, Round: 1, Step: "sim", Attempt: 1},
			{Type: EventDone, Round: 1, Step: "sim", Attempt: 1, Result: &state.Value{Digest: key, JSON: []byte(`{}`)}},
			{Type: EventClosed, Closed: &state.Closed{Verdict: Pass}},
		}
		for k, e := range events {
			e.At = at.Add(time.Duration(k) * time.Second)
		}
		if err := j.append(events...); err != nil {
			b.Fatal(err)
		}
		j.close()
	}
	return s
}

// BenchmarkHistory is what `calrun history` reads of 10,000 runs: all journals
// where there is no index yet, then the index.
func BenchmarkHistory(b *testing.B) {
	s := manyRuns(b, 10000)
	index := filepath.Join(s.Dir(), runsDir, indexFile)
	for _, cold := range []bool{true, false} {
		name := "indexed"
		if cold {
			name = "cold"
		}
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if cold {
					b.StopTimer()
					_ = os.Remove(index)
					b.StartTimer()
				}
				if all, err := s.Index(); err != nil || len(all) != 10000 || all[0].Error != "" {
					b.Fatalf("%d runs, %v, %+v", len(all), err, all[0])
				}
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/1e3, "ms/history")
		})
	}
}
