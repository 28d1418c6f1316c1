// Package selftest measures what the machine it runs on can measure: it drives
// an emulated engine, whose truth is known, with the load generator, at a few
// rates.
//
// Engine and generator share a process and its cores, and the engine's own
// lateness counts as the generator's: what [Run] finds is an upper bound of
// what the generator adds to an engine elsewhere. Start with [Run]; [Result]
// says what came of it.
package selftest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"calrun/internal/emulator"
	"calrun/internal/engine"
	"calrun/internal/loadgen"
	"calrun/internal/profile"
	"calrun/internal/stats"
)

// Options say what is tried.
type Options struct {
	Rates    []float64                                    // requests per second, ascending
	Time     time.Duration                                // for all rates together
	Limit    time.Duration                                // sent − due at P99 that a rate must keep
	Progress func(done, total time.Duration, note string) // may be nil; called by several at once
}

// Result is what was found. Times are seconds.
type Result struct {
	Verdict string   `json:"verdict"` // pass, or inconclusive for the reasons given
	Reasons []string `json:"reasons"`
	Machine Machine  `json:"machine"`
	Clock   Clock    `json:"clock"`
	Limit   float64  `json:"lateness_limit_s"`
	Rates   []Rate   `json:"rates"`
	Highest *float64 `json:"highest_rps"` // up to which every rate was kept; null if not even the lowest was

	// Adds is |measured − true| over all requests of the rates that were kept:
	// differences below it may be the machine's own. Null where Highest is.
	Adds *PerMetric[Bound] `json:"adds"`
}

// PerMetric is a thing for each of the three metrics.
type PerMetric[T any] struct {
	TTFT T `json:"ttft"` // from due
	TPOT T `json:"tpot"`
	E2E  T `json:"e2e"` // from due
}

// Bound is what half of the requests, and what 99 % of them, keep below.
type Bound struct {
	P50 float64 `json:"p50_s"`
	P99 float64 `json:"p99_s"`
}

// Machine is where it ran.
type Machine struct {
	engine.Host
	Load   *float64 `json:"load_1min,omitempty"`    // when it began; absent where the system does not say
	Others *float64 `json:"others_share,omitempty"` // of all cores' time while it ran, taken by others, the hypervisor included
}

// busy is the share of all cores, taken by others, above which nothing is said
// of the machine.
const busy = 0.25

// warm are the requests sent before anything counts.
const warm = 20

// Run measures for about opt.Time, and somewhat longer where the machine does
// not keep up.
func Run(ctx context.Context, opt Options) (*Result, error) {
	r := &Result{Verdict: "pass", Reasons: []string{}, Rates: []Rate{}, Limit: opt.Limit.Seconds()}
	r.Machine.Host = engine.ThisHost(ctx)
	r.Machine.Load = load()
	r.Clock = clock(ctx)
	emulated, err := emulator.New(emulator.Config{
		Step:       profile.StepTime{Base: 8e-3, PerPrefillToken: 2e-6, PerSequence: 20e-6},
		MaxNumSeqs: 4096, MaxTokens: 8192, KVBlocks: 1 << 17,
	})
	if err != nil {
		return nil, err
	}
	err = r.drive(ctx, emulated, opt)
	if err = errors.Join(err, emulated.Close()); err != nil {
		return nil, err
	}
	r.judge()
	return r, nil
}

// drive tries every rate for its share of the time.
func (r *Result) drive(ctx context.Context, emulated *emulator.Engine, opt Options) error {
	url, err := emulated.Start(ctx, "")
	if err != nil {
		return err
	}
	d := &driver{engine: emulated, target: loadgen.Target{URL: url, Model: "emulated"}, opt: opt}
	if _, _, err := loadgen.Run(ctx, d.target, arrivals(100, warm), loadgen.Options{Name: "warm"}); err != nil {
		return err
	}
	before := usage()
	for i, rps := range opt.Rates {
		rate, err := d.rate(ctx, i, rps)
		if err != nil {
			return fmt.Errorf("%g requests/s: %w", rps, err)
		}
		r.Rates = append(r.Rates, *rate)
	}
	r.Machine.Others = usage().others(before)
	return nil
}

// judge says up to where the machine is good, or why it cannot be said.
func (r *Result) judge() {
	if o := r.Machine.Others; o != nil && *o > busy {
		r.Reasons = append(r.Reasons, fmt.Sprintf("others took %.0f %% of the cores' time while it was measured, more than %.0f %%: these are the figures of that hour, not of the machine", 100**o, 100*busy))
	}
	var off PerMetric[[]float64]
	for i := range r.Rates {
		rate := &r.Rates[i]
		if rate.Trouble != "" {
			if i == 0 {
				r.Reasons = append(r.Reasons, fmt.Sprintf("not even %g requests/s were kept: %s", rate.RPS, rate.Trouble))
			}
			break
		}
		r.Highest = &rate.RPS
		off.TTFT = append(off.TTFT, rate.Error.TTFT.each...)
		off.TPOT = append(off.TPOT, rate.Error.TPOT.each...)
		off.E2E = append(off.E2E, rate.Error.E2E.each...)
	}
	if r.Highest != nil {
		r.Adds = &PerMetric[Bound]{boundOf(off.TTFT), boundOf(off.TPOT), boundOf(off.E2E)}
	}
	if len(r.Reasons) > 0 {
		r.Verdict = "inconclusive"
	}
}

func boundOf(off []float64) Bound {
	for i, v := range off {
		off[i] = max(v, -v)
	}
	off = stats.Sorted(off)
	return Bound{stats.Quantile(off, 0.5), stats.Quantile(off, 0.99)}
}
