package steps

import (
	"cmp"
	"math"
	"time"

	"calrun/internal/engine"
	"calrun/internal/loadgen"
	"calrun/internal/stats"
	"calrun/internal/trace"
	"calrun/pipeline"
)

// Template is result.json: the template of Vidur's ground-truth experiments,
// field by field, and one key of calrun's own. TTFT and E2E are from sent, as
// the template defines them; null is what is not available.
type Template struct {
	ID       string           `json:"experiment_id"`
	Config   TemplateConfig   `json:"config"`
	Workload TemplateWorkload `json:"workload"`
	Metrics  TemplateMetrics  `json:"metrics"`
	Calrun   TemplateCalrun   `json:"calrun"`
}

// TemplateConfig is what was deployed.
type TemplateConfig struct {
	Model *string `json:"model"`
	TP    *int    `json:"tp"`
	PP    *int    `json:"pp"`
	GPU   *string `json:"gpu"`
}

// TemplateWorkload is what was asked.
type TemplateWorkload struct {
	Type    string   `json:"type"` // fixed_lengths, poisson_trace, poisson_synthetic, constant_trace, constant_synthetic, trace_replay
	RPS     *float64 `json:"rps"`
	Dataset *string  `json:"dataset"`
}

// TemplateMetrics are the template's metrics.
type TemplateMetrics struct {
	TTFT       TemplateSpread `json:"ttft_ms"`
	TPOT       TemplateSpread `json:"tpot_ms"`
	E2E        TemplateTail   `json:"e2e_latency_s"`
	Throughput *float64       `json:"throughput_token_s"` // output tokens of completed requests over the whole run
}

// TemplateSpread is a metric in three numbers.
type TemplateSpread struct {
	P50  *float64 `json:"p50"`
	P99  *float64 `json:"p99"`
	Mean *float64 `json:"mean"`
}

// TemplateTail is a metric in two.
type TemplateTail struct {
	P50 *float64 `json:"p50"`
	P99 *float64 `json:"p99"`
}

// TemplateCalrun is what the template has no place for.
type TemplateCalrun struct {
	Plan      string         `json:"plan"`
	Run       string         `json:"run"`
	Point     string         `json:"point"`
	Seed      int            `json:"seed"`
	State     string         `json:"state"`
	Reason    string         `json:"reason,omitempty"`
	N         int            `json:"n"`         // requests
	Completed int            `json:"completed"` // the metrics are over these
	Failed    int            `json:"failed"`
	TPOTs     int            `json:"n_tpot"` // requests with at least two output tokens
	Window    float64        `json:"window_s"`
	FromDue   TemplateDue    `json:"from_due"`
	Late      TemplateSpread `json:"late_ms"` // sent − due
	Stamps    string         `json:"stamps"`  // kernel, read, mixed, or engine for a recording by the engine itself
	Engine    string         `json:"engine"`  // name and version
	Print     string         `json:"fingerprint"`
	Requests  *float64       `json:"throughput_request_s"`
}

// TemplateDue is TTFT and E2E as the user waits for them.
type TemplateDue struct {
	TTFT TemplateSpread `json:"ttft_ms"`
	E2E  TemplateTail   `json:"e2e_latency_s"`
}

// record makes the result of one run.
func (h *HardwareRun) record(rt *pipeline.Runtime, f engine.Facts, point trace.Point, run trace.Run, rep loadgen.Report) *Template {
	r := newTemplate(h.Deployment, f, point, run)
	r.ID, r.Calrun.Plan, r.Calrun.Run = rt.Plan()+"-"+rt.Run(), rt.Plan(), rt.Run()
	r.Workload.Type = "fixed_lengths"
	switch name := h.Workload.dataset(point.Group); point.Group {
	case trace.Sweep:
		r.Workload.Type = h.Workload.spec().Sweep.Arrivals + "_synthetic"
		if name != "" {
			r.Workload.Type = h.Workload.spec().Sweep.Arrivals + "_trace"
		}
		r.Workload.Dataset = orNil(name)
	case trace.Replay:
		r.Workload.Type, r.Workload.Dataset = "trace_replay", orNil(name)
	}
	r.Calrun.Stamps = rep.Stamps
	return r
}

// newTemplate fills all but the type of the workload and who asked for it.
func newTemplate(d Deployment, f engine.Facts, point trace.Point, run trace.Run) *Template {
	r := &Template{}
	r.Config = TemplateConfig{
		Model: orNil(cmp.Or(d.Model, f.Model)), GPU: orNil(cmp.Or(d.GPU, f.GPU)),
		TP: cmp.Or(f.TP, positive(d.TP)), PP: cmp.Or(f.PP, positive(d.PP)),
	}
	if point.Group != trace.Probe {
		r.Workload.RPS = finite(point.Rate)
	}
	r.Calrun = TemplateCalrun{
		Point: point.Name, Seed: run.Seed, State: string(run.State), Reason: run.Reason,
		N: len(run.Requests), Window: run.Window.Seconds(), Engine: f.Name + " " + f.Version, Print: f.Fingerprint(),
	}
	r.measure(run)
	return r
}

func (r *Template) measure(run trace.Run) {
	var ttft, tpot, e2e, dueTTFT, dueE2E, late []float64
	tokens := 0
	for _, row := range run.Rows {
		if !row.OK() {
			r.Calrun.Failed++
			continue
		}
		r.Calrun.Completed++
		tokens += row.Tokens
		ttft = append(ttft, ms(row.TTFTSent()))
		e2e = append(e2e, row.E2ESent().Seconds())
		dueTTFT = append(dueTTFT, ms(row.TTFT()))
		dueE2E = append(dueE2E, row.E2E().Seconds())
		late = append(late, ms(row.Late()))
		if d, ok := row.TPOT(); ok {
			tpot = append(tpot, ms(d))
		}
	}
	r.Calrun.TPOTs = len(tpot)
	r.Metrics = TemplateMetrics{TTFT: spreadOf(ttft), TPOT: spreadOf(tpot), E2E: tailOf(e2e)}
	r.Calrun.FromDue = TemplateDue{TTFT: spreadOf(dueTTFT), E2E: tailOf(dueE2E)}
	r.Calrun.Late = spreadOf(late)
	if s := run.Window.Seconds(); s > 0 && r.Calrun.Completed > 0 {
		r.Metrics.Throughput = finite(float64(tokens) / s)
		r.Calrun.Requests = finite(float64(r.Calrun.Completed) / s)
	}
}

// write writes the record.
func (r *Template) write(path string) error { return writeJSON(path, r) }

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func spreadOf(x []float64) TemplateSpread {
	if len(x) == 0 {
		return TemplateSpread{}
	}
	sorted := stats.Sorted(x)
	return TemplateSpread{finite(stats.Quantile(sorted, 0.5)), finite(stats.Quantile(sorted, 0.99)), finite(stats.Mean(x))}
}

func tailOf(x []float64) TemplateTail {
	s := spreadOf(x)
	return TemplateTail{s.P50, s.P99}
}

// finite is nil for what JSON cannot hold.
func finite(v float64) *float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return nil
	}
	return &v
}

// orNil is nil for a text that nobody stated.
func orNil(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
