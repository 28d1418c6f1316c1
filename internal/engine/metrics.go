package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// metrics are the families of one scrape.
type metrics map[string]*dto.MetricFamily

func (e *Engine) scrape(ctx context.Context) (metrics, error) {
	body, err := e.get(ctx, "/metrics")
	if err != nil {
		return nil, err
	}
	return parseMetrics(body)
}

func parseMetrics(body []byte) (metrics, error) {
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("/metrics: %w", err)
	}
	return families, nil
}

// sum adds a counter or gauge over its labels: an engine with several
// replicas has one each. Of several names the first that exists counts.
func (m metrics) sum(names ...string) *float64 {
	for _, name := range names {
		family, ok := m[name]
		if !ok {
			continue
		}
		total := 0.0
		for _, one := range family.Metric {
			switch {
			case one.Counter != nil:
				total += one.Counter.GetValue()
			case one.Gauge != nil:
				total += one.Gauge.GetValue()
			case one.Untyped != nil:
				total += one.Untyped.GetValue()
			}
		}
		return &total
	}
	return nil
}

func (m metrics) labels(name string) map[string]string {
	all := map[string]string{}
	if family, ok := m[name]; ok && len(family.Metric) > 0 {
		for _, l := range family.Metric[0].Label {
			all[l.GetName()] = l.GetValue()
		}
	}
	return all
}

// Counters are what an engine has counted since it started. nil is what it
// does not count.
type Counters struct {
	Prompt      *float64 `json:"prompt_tokens,omitempty"`     // prompt tokens
	Generated   *float64 `json:"generation_tokens,omitempty"` // output tokens
	Preemptions *float64 `json:"preemptions,omitempty"`
	Hits        *float64 `json:"prefix_cache_hits,omitempty"` // prompt tokens taken from the prefix cache
	Running     *float64 `json:"running,omitempty"`           // requests in a batch now
	Waiting     *float64 `json:"waiting,omitempty"`           // requests before the scheduler now
}

// Counters reads /metrics. An engine without metrics has none: all nil, no
// error.
func (e *Engine) Counters(ctx context.Context) (Counters, error) {
	m, err := e.scrape(ctx)
	if absent(err) {
		return Counters{}, nil
	}
	if err != nil {
		return Counters{}, err
	}
	return m.counters(), nil
}

func (m metrics) counters() Counters {
	return Counters{
		Prompt:      m.sum("vllm:prompt_tokens_total"),
		Generated:   m.sum("vllm:generation_tokens_total"),
		Preemptions: m.sum("vllm:num_preemptions_total"),
		Hits:        m.sum("vllm:prefix_cache_hits_total", "vllm:gpu_prefix_cache_hits_total"),
		Running:     m.sum("vllm:num_requests_running"),
		Waiting:     m.sum("vllm:num_requests_waiting"),
	}
}

// Idle waits until the engine has no request left, as far as it says so; one
// without metrics is taken for idle. ok is false when it was still busy after
// the limit.
func (e *Engine) Idle(ctx context.Context, limit time.Duration) (ok bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		c, err := e.Counters(ctx)
		switch {
		case ctx.Err() != nil:
			return false, context.Cause(ctx)
		case err != nil:
			return false, err
		case c.Running == nil || (*c.Running == 0 && (c.Waiting == nil || *c.Waiting == 0)):
			return true, nil
		}
		select {
		case <-ctx.Done():
			if ctx.Err() == context.DeadlineExceeded {
				return false, nil
			}
			return false, context.Cause(ctx)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// Watch scrapes at an interval and writes one JSON line a scrape: the time in
// Unix seconds as "t", and every counter and gauge whose name begins with
// "vllm:", summed over its labels. stop ends it and waits.
func (e *Engine) Watch(ctx context.Context, w io.Writer, every time.Duration) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var gone sync.WaitGroup
	gone.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			if m, err := e.scrape(ctx); absent(err) {
				return // it has no metrics and will not get any
			} else if err == nil {
				_, _ = w.Write(m.line(time.Now()))
			}
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	})
	return func() {
		cancel()
		gone.Wait()
	}
}

func (m metrics) line(at time.Time) []byte {
	names := make([]string, 0, len(m))
	for name := range m {
		if strings.HasPrefix(name, "vllm:") && !strings.HasSuffix(name, "_created") && !strings.HasSuffix(name, "_info") && m[name].GetType() != dto.MetricType_HISTOGRAM {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	var b bytes.Buffer
	fmt.Fprintf(&b, `{"t":%.3f`, float64(at.UnixMilli())/1000)
	for _, name := range names {
		v, err := json.Marshal(*m.sum(name))
		if err != nil {
			continue // NaN: Prometheus has it, JSON does not
		}
		fmt.Fprintf(&b, `,%q:%s`, name, v)
	}
	b.WriteString("}\n")
	return b.Bytes()
}
