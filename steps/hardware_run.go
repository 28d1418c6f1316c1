package steps

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"calrun/internal/engine"
	"calrun/internal/stats"
	"calrun/internal/trace"
	"calrun/internal/workload"
	"calrun/pipeline"
)

var hardwareRunKind = pipeline.Kind{
	Name: "hardware-run", Doc: "Measure an engine over HTTP: probes, a sweep of rates, a replayed trace.", Version: 2, Repeat: pipeline.Measured,
	New: func() pipeline.Step { return &HardwareRun{} }, Result: MeasuredResult{},
}

// HardwareRun measures an engine. Each run of each point is a durable part: a
// measurement that was cut off goes on with the next one.
type HardwareRun struct {
	Engine     Engine        `yaml:"engine" required:"true" doc:"the engine"`
	Deployment Deployment    `yaml:"deployment" doc:"what is deployed, for the record"`
	Workload   Workload      `yaml:"workload" required:"true" doc:"what is asked of it"`
	WarmUp     int           `yaml:"warm_up" min:"0" default:"3" doc:"requests before each point, one after another and not counted"`
	InFlight   int           `yaml:"in_flight" min:"1" default:"2048" doc:"most requests at a time; an arrival beyond it is counted as failed"`
	Timeout    time.Duration `yaml:"request_timeout" default:"5m" doc:"of one request"`
	Limits     RunLimits     `yaml:"limits" doc:"what a run must keep to be believed"`
}

// DefaultLateness is what limits.lateness is where a plan does not say.
const DefaultLateness = 25 * time.Millisecond

// RunLimits are what a run must keep to be believed.
type RunLimits struct {
	Failures float64       `yaml:"failures" min:"0" max:"1" default:"0.01" doc:"largest share of requests that may fail"`
	Lateness time.Duration `yaml:"lateness" default:"25ms" doc:"largest sent - due at P99; above it the run is measured again"`
	Attempts int           `yaml:"attempts" min:"1" default:"3" doc:"how often a run is measured until the load generator keeps its own limits"`
}

// Identity implements [pipeline.Identifier].
func (h *HardwareRun) Identity(ctx context.Context) (map[string]string, error) {
	return h.Engine.Identity(ctx)
}

// Locks implements [pipeline.Locker].
func (h *HardwareRun) Locks() []string { return h.Engine.locks() }

// Names implements [pipeline.Namer].
func (h *HardwareRun) Names(in pipeline.Static) map[string][]string {
	names := h.Workload.names(in)
	if names == nil {
		return nil
	}
	return map[string][]string{"workload": names, "measurement": names}
}

// Check implements [pipeline.Checker].
func (h *HardwareRun) Check(in pipeline.Static) []pipeline.FieldProblem {
	return append(h.Workload.check(in), h.Engine.check(in)...)
}

// Estimate implements [pipeline.Estimator].
func (h *HardwareRun) Estimate(in pipeline.Static) (seconds float64, ok bool) {
	for _, field := range []string{ // a trace that is not given yet does not matter
		"probes.lengths", "probes.requests", "sweep.rps", "sweep.requests", "sweep.seeds", "replay.window", "replay.repeats",
	} {
		if in.Dynamic("workload." + field) {
			return 0, false
		}
	}
	d, ok := h.Workload.spec().Estimate()
	return d.Seconds(), ok
}

// Run measures.
func (h *HardwareRun) Run(ctx context.Context, rt *pipeline.Runtime) (any, error) {
	points, counts, err := h.Workload.build()
	if err != nil {
		return nil, fmt.Errorf("hardware-run: %w", err)
	}
	dir := filepath.Join(rt.Dir(), "measurement")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("hardware-run: %w", err)
	}
	session, err := h.Engine.Open(ctx, rt, dir)
	if err != nil {
		return nil, fmt.Errorf("hardware-run: %w", err)
	}
	res, err := h.measure(ctx, rt, session, points, counts)
	if err := errors.Join(err, session.Close()); err != nil {
		return nil, fmt.Errorf("hardware-run: %w", err)
	}
	return res, nil
}

func (h *HardwareRun) measure(ctx context.Context, rt *pipeline.Runtime, s *Session, points []trace.Point, counts workload.Counts) (*MeasuredResult, error) {
	dir := filepath.Join(rt.Dir(), "measurement")
	rt.Log().Info().Msgf("engine: %s %s, model %s, at %s", s.Facts.Name, s.Facts.Version, s.Facts.Model, s.URL)

	b := &bench{HardwareRun: h, session: s, rt: rt, total: expected(points)}
	order := schedule(points)
	done := make([]*part, len(order))
	for i, o := range order {
		p, err := b.part(ctx, points[o.point], points[o.point].Runs[o.run])
		if err != nil {
			return nil, fmt.Errorf("%w (%d of %d runs are done and kept)", err, i, len(order))
		}
		done[i] = p
		points[o.point].Runs[o.run] = p.run
	}
	res := &MeasuredResult{
		Engine:  MeasuredEngine{s.Facts.Name, s.Facts.Version, s.Facts.Model, s.Facts.Fingerprint()},
		Clipped: counts.Clipped, Dropped: counts.Dropped, Points: []PointRun{}, Doubts: []string{},
	}
	res.gather(points, h.Limits)
	res.add(order, points, done)
	res.late(order, points, done)
	if s.emulated == nil && s.Here() {
		res.crowd()
	}
	res.doubt(rt)
	m := &recording{facts: s.Facts, points: points, workload: workload.Facts{
		Plan: rt.Plan(), Seed: uint64(h.Workload.Seed), MaxTotal: h.Workload.MaxTotal, Over: workload.Over(h.Workload.Over),
		Counts: counts, Ended: res.Ended, Asked: h.Workload,
	}}
	var err error
	if res.Workload, res.Measurement, err = m.write(rt.Dir()); err != nil {
		return nil, err
	}
	if err := engine.ThisHost(ctx).Write(dir); err != nil {
		return nil, err
	}
	if err := writeMetrics(dir, done); err != nil {
		return nil, err
	}
	for i, o := range order {
		point, run := points[o.point], points[o.point].Runs[o.run]
		rec := h.record(rt, s.Facts, point, run, done[i].Report)
		if err := rec.write(filepath.Join(trace.RunDir(dir, point.Name, run.Seed), "result.json")); err != nil {
			return nil, err
		}
	}
	return res, nil
}

// gather fills the lines of the runs and the totals over them.
func (r *MeasuredResult) gather(points []trace.Point, limits RunLimits) {
	for _, p := range points {
		for _, run := range p.Runs {
			line := r.count(p.Name, run)
			if n := line.Completed + line.Failed; n > 0 && float64(line.Failed) > limits.Failures*float64(n) {
				line.State = invalid
				line.Reason = fmt.Sprintf("%d of %d requests failed, %.3g %% may", line.Failed, n, 100*limits.Failures)
			}
			if line.Reason != "" {
				r.Doubts = append(r.Doubts, fmt.Sprintf("%s, run %d, is %s: %s", line.Name, line.Seed, line.State, line.Reason))
			}
			r.Points = append(r.Points, line)
		}
	}
}

// add fills what only the parts know; it wants the lines of the runs to be
// there.
func (r *MeasuredResult) add(order []slot, points []trace.Point, parts []*part) {
	lines := map[string]*PointRun{}
	for i := range r.Points {
		lines[fmt.Sprintf("%s/%d", r.Points[i].Name, r.Points[i].Seed)] = &r.Points[i]
	}
	for i, o := range order {
		line := lines[fmt.Sprintf("%s/%d", points[o.point].Name, points[o.point].Runs[o.run].Seed)]
		line.Late, line.Share, line.Waited = parts[i].Report.Late.P99.Seconds(), parts[i].Report.Share, parts[i].Waited
	}
	equal, counted, hits := true, false, 0.0
	var prompt, generated float64
	for _, p := range parts {
		r.Ended = max(r.Ended, p.Ended)
		r.Late = max(r.Late, p.Report.Late.P99.Seconds())
		r.Stamps = worseStamps(r.Stamps, p.Report.Stamps)
		r.Bunched += p.Report.Bunched
		hits += p.Hits
		if p.Tokens.EnginePrompt != nil && p.Report.Failed > 0 {
			continue // aborted requests do not tie out
		}
		r.Tokens.Prompt += p.Tokens.Prompt
		r.Tokens.Output += p.Tokens.Output
		if p.Tokens.Equal != nil {
			counted = true
			equal = equal && *p.Tokens.Equal
			prompt += *p.Tokens.EnginePrompt
			generated += *p.Tokens.EngineGenerated
		}
	}
	if counted {
		r.Tokens.EnginePrompt, r.Tokens.EngineGenerated, r.Tokens.Equal = &prompt, &generated, &equal
	}
	if hits > 0 && r.Cached == 0 {
		r.Cached = int(hits) // the answers do not say, the engine's counter does
	}
}

// worseStamps keeps the less exact of two clocks.
func worseStamps(a, b string) string {
	rank := map[string]int{"": 0, "kernel": 1, "mixed": 2, "read": 3}
	if rank[b] > rank[a] {
		return b
	}
	return a
}

// doubt says what speaks against using the measurement, once all is counted.
func (r *MeasuredResult) doubt(rt *pipeline.Runtime) {
	if r.Mismatched > 0 {
		r.Doubts = append(r.Doubts, fmt.Sprintf("%d of %d requests came back with another number of tokens than asked for; the simulator gets what was produced", r.Mismatched, r.Completed))
	}
	if 20*r.Bunched > r.Completed {
		r.Doubts = append(r.Doubts, fmt.Sprintf("the first two token events of %d of %d requests were read at once: their TTFT may be too large", r.Bunched, r.Completed))
	}
	if 20*r.Bundled > r.Completed {
		r.Doubts = append(r.Doubts, fmt.Sprintf("the first event of %d of %d requests carried several tokens: their TPOT is too small", r.Bundled, r.Completed))
	}
	if r.Estimated > 0 {
		r.Doubts = append(r.Doubts, fmt.Sprintf("the server did not count the tokens of %d of %d requests; the client did", r.Estimated, r.Completed))
	}
	if r.Cached > 0 {
		r.Doubts = append(r.Doubts, fmt.Sprintf("%d prompt tokens came from the engine's prefix cache", r.Cached))
	}
	if t := r.Tokens; t.Equal != nil && !*t.Equal {
		r.Doubts = append(r.Doubts, fmt.Sprintf("token totals differ: the client counts %d + %d, the engine %.0f + %.0f: is it used by somebody else?",
			t.Prompt, t.Output, *t.EnginePrompt, *t.EngineGenerated))
	}
	if j := r.Join; j != nil {
		r.Doubts = append(r.Doubts, fmt.Sprintf("arrivals are known to %.0f ms: the two clocks of the recording were joined by their median offset, and the offsets lie from %+.0f to %+.0f ms around it",
			1e3*j.Spread, 1e3*j.Low, 1e3*j.High))
	}
	for _, d := range r.Doubts {
		rt.Log().Warn().Msg(d)
	}
}

// lateShare is how much of what a user waits may be the load generator's own
// lateness, both at P50. Above it TTFT is a figure of the client too, however
// few milliseconds that are.
const lateShare = 0.02

// late doubts runs in which the generator's lateness is a part of TTFT worth
// naming; the absolute limit (limits.lateness) has chosen among attempts
// already.
func (r *MeasuredResult) late(order []slot, points []trace.Point, parts []*part) {
	count, most, worst := 0, 0.0, ""
	for i, o := range order {
		point, run := points[o.point], points[o.point].Runs[o.run]
		var ttft []float64
		for _, row := range run.Rows {
			if row.OK() {
				ttft = append(ttft, row.TTFT().Seconds())
			}
		}
		late := parts[i].Report.Late.P50.Seconds()
		wait := stats.Quantile(stats.Sorted(ttft), 0.5)
		if len(ttft) == 0 || late <= lateShare*wait {
			continue
		}
		count++
		if share := late / wait; share > most {
			most = share
			worst = fmt.Sprintf("at %s, run %d, sent - due is %.3g ms at P50, TTFT %.3g ms", point.Name, run.Seed, 1e3*late, 1e3*wait)
		}
	}
	if count > 0 {
		r.Doubts = append(r.Doubts, fmt.Sprintf("the load generator's own lateness is more than %.0f %% of TTFT in %d of %d runs: %s", 100*lateShare, count, len(order), worst))
	}
}

// crowded is the share of a run in which something waited for a core, above
// which an engine on the same machine is doubted.
const crowded = 0.1

// crowd doubts the runs of an engine on this machine in which there were fewer
// cores than work. What its steps cost then depends on what else ran, so that
// prices from probes are not those under load.
func (r *MeasuredResult) crowd() {
	count, worst := 0, PointRun{}
	for _, p := range r.Points {
		if p.Waited == nil || *p.Waited <= crowded {
			continue
		}
		if count++; worst.Waited == nil || *p.Waited > *worst.Waited {
			worst = p
		}
	}
	if count == 0 {
		return
	}
	r.Doubts = append(r.Doubts, fmt.Sprintf("the engine runs on this machine, and in %d of %d runs something here waited for a core for more than %.0f %% of the time (%s, run %d: %.0f %%): "+
		"what a step costs depends on what ran beside it, so probes and load may differ; give the engine and calrun cores of their own, as examples/vllm-cpu/pinned.sh does",
		count, len(r.Points), 100*crowded, worst.Name, worst.Seed, 100**worst.Waited))
}

// slot is a run in the order of measuring.
type slot struct{ point, run int }

// schedule orders the runs: probes, then the sweep seed by seed with its
// rates ascending, so that what is there after a cut is whole seeds, then the
// replays.
func schedule(points []trace.Point) []slot {
	var order []slot
	for _, group := range []trace.Group{trace.Probe, trace.Sweep, trace.Replay} {
		for run := 0; ; run++ {
			more := false
			for i, p := range points {
				if p.Group == group && run < len(p.Runs) {
					order = append(order, slot{i, run})
					more = true
				}
			}
			if !more {
				break
			}
		}
	}
	return order
}
