package selftest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"calrun/internal/emulator"
	"calrun/internal/loadgen"
	"calrun/internal/stats"
	"calrun/internal/trace"
)

// Rate is what was found at one rate.
type Rate struct {
	RPS       float64              `json:"rate_rps"`
	Generator loadgen.Report       `json:"generator"` // lateness, self-lag, peak, cores; the engine's share of these is in it
	Trouble   string               `json:"trouble"`   // why the rate was not kept, empty if it was
	Error     PerMetric[Deviation] `json:"error"`     // measured − true
}

// Deviation is measured − true of a metric, in seconds: its quantiles over the
// requests.
type Deviation struct {
	N   int     `json:"n"`
	P1  float64 `json:"p1_s"`
	P50 float64 `json:"p50_s"`
	P99 float64 `json:"p99_s"`

	each []float64 // sorted
}

func deviation(each []float64) Deviation {
	if len(each) == 0 {
		return Deviation{}
	}
	each = stats.Sorted(each)
	return Deviation{len(each), stats.Quantile(each, 0.01), stats.Quantile(each, 0.5), stats.Quantile(each, 0.99), each}
}

// Lengths of requests: the pair of them names a request of a rate, in the
// truth as in the rows.
const (
	leastPrompt, prompts = 64, 256
	leastOutput, outputs = 24, 32

	// MostRequests is how many of a rate can be told apart.
	MostRequests = prompts * outputs
)

// lasts is about how long a request takes: the drain of a rate.
const lasts = 500 * time.Millisecond

// patience is the limit of one request: a machine that needs more has failed.
const patience = 10 * time.Second

// Requests is how many a rate has in its share of the time.
func (o Options) Requests(rps float64) int {
	share := o.Time/time.Duration(len(o.Rates)) - lasts
	return max(2, int(rps*share.Seconds()))
}

// arrivals are n requests of a Poisson process.
func arrivals(rps float64, n int) []trace.Request {
	rng := rand.New(rand.NewPCG(1, 1)) // the same gaps at every rate, in units of their mean
	reqs := make([]trace.Request, n)
	at := 0.0
	for i := range reqs {
		at += rng.ExpFloat64() / rps
		reqs[i] = trace.Request{ID: i, Due: trace.FromSeconds(at), Prompt: leastPrompt + i%prompts, Output: leastOutput + i/prompts%outputs}
	}
	return reqs
}

// driver drives the emulated engine.
type driver struct {
	engine *emulator.Engine
	target loadgen.Target
	opt    Options
}

// rate drives the i-th rate and compares with the truth.
func (d *driver) rate(ctx context.Context, i int, rps float64) (*Rate, error) {
	reqs := arrivals(rps, d.opt.Requests(rps))
	told := func(share float64) {
		if d.opt.Progress != nil {
			done := (float64(i) + share) / float64(len(d.opt.Rates))
			d.opt.Progress(time.Duration(done*float64(d.opt.Time)), d.opt.Time, fmt.Sprintf("%g requests/s", rps))
		}
	}
	told(0)
	before := len(d.engine.Truth())
	rows, report, err := loadgen.Run(ctx, d.target, reqs, loadgen.Options{
		Name: fmt.Sprintf("%g", rps), Timeout: patience, Progress: func(done, total int) { told(float64(done) / float64(total)) },
	})
	if err != nil {
		return nil, err
	}
	r := &Rate{RPS: rps, Generator: report, Trouble: report.Trouble(d.opt.Limit)}
	if report.Failed > 0 {
		r.Trouble = fmt.Sprintf("%d of %d requests failed", report.Failed, len(rows))
	}
	r.Error, err = deviations(rows, d.engine.Truth()[before:])
	return r, err
}

// deviations compares rows with the truth of the same requests.
func deviations(rows, truth []trace.Row) (PerMetric[Deviation], error) {
	known := make(map[[2]int]trace.Row, len(truth))
	for _, t := range truth {
		known[[2]int{t.Prompt, t.Output}] = t
	}
	var off PerMetric[[]float64]
	for _, row := range rows {
		if !row.OK() {
			continue
		}
		t, ok := known[[2]int{row.Prompt, row.Output}]
		if !ok || !t.OK() {
			return PerMetric[Deviation]{}, fmt.Errorf("request %d was answered, and the emulated engine knows nothing of it: %s", row.ID, t.Error)
		}
		tpot, _ := row.TPOT()
		really, _ := t.TPOT()
		off.TTFT = append(off.TTFT, (row.TTFT() - t.TTFT()).Seconds())
		off.TPOT = append(off.TPOT, (tpot - really).Seconds())
		off.E2E = append(off.E2E, (row.E2E() - t.E2E()).Seconds())
	}
	return PerMetric[Deviation]{deviation(off.TTFT), deviation(off.TPOT), deviation(off.E2E)}, nil
}
