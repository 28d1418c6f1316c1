package main

import (
	"bufio"
	"calrun/pipeline"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// settleKind is all that calrun needs to know of a kind: the schema of its
// fields, `calrun kinds settle` and the names that assertions may use come
// from the two structs below.
var settleKind = pipeline.Kind{
	Name: "settle", Doc: "Wait until an engine is idle.", Version: 1, Repeat: pipeline.Measured,
	New: func() pipeline.Step { return &Settle{For: time.Second} }, Result: SettleResult{},
}

// Settle waits until the engine has had no request for a while. An engine
// that does not answer yet is not idle: the step's timeout bounds the wait.
type Settle struct {
	URL string        `yaml:"url" required:"true" key:"-" doc:"base URL of the engine"`
	For time.Duration `yaml:"for" default:"1s" min:"0s" doc:"how long it must be idle"`
}

// SettleResult is what Settle measured.
type SettleResult struct {
	Waited float64 `json:"waited_s" doc:"seconds until the engine had been idle for long enough"`
	Asked  int     `json:"asked" doc:"how often it was asked"`
}

// Run asks the engine for its gauges until they say idle for long enough.
func (s *Settle) Run(ctx context.Context, rt *pipeline.Runtime) (any, error) {
	began := time.Now()
	idleSince := began
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for asked := 1; ; asked++ {
		busy, err := s.busy(ctx)
		if err != nil || busy > 0 {
			idleSince = time.Now()
		}
		idle := time.Since(idleSince)
		rt.Progress(idle.Seconds(), s.For.Seconds(), fmt.Sprintf("%g requests in the engine", busy))
		if err == nil && busy == 0 && idle >= s.For {
			return SettleResult{Waited: time.Since(began).Seconds(), Asked: asked}, nil
		}
		select {
		case <-ctx.Done():
			if err != nil {
				return nil, fmt.Errorf("settle: %w (last answer of %s: %w)", context.Cause(ctx), s.URL, err)
			}
			return nil, fmt.Errorf("settle: %w (%g requests still in %s)", context.Cause(ctx), busy, s.URL)
		case <-tick.C:
		}
	}
}

// busy is the number of requests that run or wait, over all models.
func (s *Settle) busy(ctx context.Context) (float64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(s.URL, "/")+"/metrics", nil)
	if err != nil {
		return 0, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("GET /metrics answers %s", resp.Status)
	}
	total, seen := 0.0, false
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		line := lines.Text()
		if !strings.HasPrefix(line, "vllm:num_requests_running{") && !strings.HasPrefix(line, "vllm:num_requests_waiting{") {
			continue
		}
		v, err := strconv.ParseFloat(line[strings.LastIndexByte(line, ' ')+1:], 64)
		if err != nil {
			return 0, fmt.Errorf("GET /metrics: %q has no number at its end", line)
		}
		total, seen = total+v, true
	}
	if !seen {
		return 0, fmt.Errorf("GET /metrics has no vllm:num_requests_running")
	}
	return total, nil
}

var _ pipeline.Step = (*Settle)(nil)
