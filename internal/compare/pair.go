package compare

import (
	"fmt"
	"math"
	"time"

	"calrun/internal/trace"
)

// metricNames are the per-request metrics, in the order of every list.
var metricNames = [...]string{"ttft", "tpot", "e2e"}

// The places of the metrics in metricNames.
const (
	ttft = iota
	tpot
	e2e
)

// cellName is what results call a statistic of a metric.
func cellName(metric, stat int) (metricName, statName string) {
	if metric == throughput {
		return "throughput", "rate"
	}
	return metricNames[metric], statNames[stat]
}

// pair is one point with both sides, the runs laid end to end. Values are
// seconds and NaN where a side has none; both sides are NaN together.
type pair struct {
	measured, simulated trace.Point
	runs                []int // requests of each run
	seeds               []int
	values              [len(metricNames)][2][]float64 // by metric, then measured, simulated
	tokens              [2][]float64                   // output tokens of the steady part, by arrival interval
	n, failed           int
	unfinished          int                   // of the simulator, counted at the end of its run
	excluded            [len(metricNames)]int // completed, but the metric is undefined
	missing             string                // why there is nothing to compare, empty if there is
	simState            trace.State
	lost                []string // runs of the engine that brought no rows
	inputs              Inputs   // Same and Cached are said of all points together only
	cached, prompts     int      // prompt tokens that the engine took from its prefix cache, and all
	unlike              string   // says how many requests differ between the sides, empty if none does
}

// The sides of values: engine and simulator.
const (
	eng = 0
	sim = 1
)

// pairUp lays both sides of every point beside each other. An error says
// where they are not the same requests.
func pairUp(measured, simulated []trace.Point) ([]*pair, error) {
	byName := make(map[string]trace.Point, len(simulated))
	for _, p := range simulated {
		if _, twice := byName[p.Name]; twice {
			return nil, fmt.Errorf("compare: the simulation holds the point %s twice", p.Name)
		}
		byName[p.Name] = p
	}
	seen := make(map[string]bool, len(measured))
	pairs := make([]*pair, 0, len(measured))
	for _, m := range measured {
		if seen[m.Name] {
			return nil, fmt.Errorf("compare: the measurement holds the point %s twice", m.Name)
		}
		seen[m.Name] = true
		s, ok := byName[m.Name]
		if !ok {
			return nil, fmt.Errorf("compare: the measurement has the point %s, the simulation does not; simulate the measurement's own workload", m.Name)
		}
		p := &pair{measured: m, simulated: s, simState: trace.OK}
		if err := p.join(); err != nil {
			return nil, fmt.Errorf("compare: point %s: %w", m.Name, err)
		}
		p.check()
		pairs = append(pairs, p)
	}
	for _, s := range simulated {
		if !seen[s.Name] {
			return nil, fmt.Errorf("compare: the simulation has the point %s, the measurement does not", s.Name)
		}
	}
	return pairs, nil
}

func (p *pair) join() error {
	bySeed, err := runsBySeed("simulation", p.simulated.Runs)
	if err != nil {
		return err
	}
	if _, err := runsBySeed("measurement", p.measured.Runs); err != nil {
		return err
	}
	if len(p.simulated.Runs) != len(p.measured.Runs) {
		return fmt.Errorf("%d measured and %d simulated runs; every seed needs both", len(p.measured.Runs), len(p.simulated.Runs))
	}
	for _, m := range p.measured.Runs {
		s, ok := bySeed[m.Seed]
		if !ok {
			return fmt.Errorf("seed %d was measured but not simulated", m.Seed)
		}
		if err := sameRequests(m, s); err != nil {
			return fmt.Errorf("seed %d: %w", m.Seed, err)
		}
		p.n += len(m.Requests)
		if s.State == trace.Crashed || s.State == trace.Skipped || s.State == trace.Overloaded && p.simState == trace.OK {
			p.simState = s.State
		}
		switch {
		case len(m.Rows) == 0:
			p.failed += len(m.Requests)
			p.lost = append(p.lost, fmt.Sprintf("seed %d: the engine's run is %s%s", m.Seed, orMissing(m.State), because(m.Reason)))
		case len(s.Rows) == 0:
			p.missing = fmt.Sprintf("the simulator's run is %s at %s%s", orMissing(s.State), p.measured.Name, because(s.Reason))
		default:
			p.add(m, s)
		}
	}
	if p.missing == "" && len(p.runs) == 0 {
		p.missing = "no run of the engine brought requests"
		if len(p.lost) > 0 {
			p.missing = p.lost[0]
		}
	}
	return nil
}

// runsBySeed refuses two runs of one seed: which of them is meant, nobody knows.
func runsBySeed(side string, runs []trace.Run) (map[int]trace.Run, error) {
	bySeed := make(map[int]trace.Run, len(runs))
	for _, r := range runs {
		if _, twice := bySeed[r.Seed]; twice {
			return nil, fmt.Errorf("the %s holds seed %d twice", side, r.Seed)
		}
		bySeed[r.Seed] = r
	}
	return bySeed, nil
}

func orMissing(s trace.State) string {
	if s == "" || s == trace.OK {
		return "without rows"
	}
	return string(s)
}

func because(reason string) string {
	if reason == "" {
		return ""
	}
	return ": " + reason
}

func sameRequests(m, s trace.Run) error {
	if len(m.Requests) != len(s.Requests) {
		return fmt.Errorf("%d requests measured, %d simulated; pairs are by place, so both sides need the same trace", len(m.Requests), len(s.Requests))
	}
	for _, r := range []struct {
		side string
		run  trace.Run
	}{{"measurement", m}, {"simulation", s}} {
		if n := len(r.run.Rows); n != 0 && n != len(r.run.Requests) {
			return fmt.Errorf("%d rows for %d requests in the %s; failed requests must keep their row", n, len(r.run.Requests), r.side)
		}
	}
	for i, row := range m.Rows {
		if i < len(s.Rows) && row.ID != s.Rows[i].ID {
			return fmt.Errorf("row %d is request %d in the measurement and %d in the simulation; rows keep the order of the trace", i, row.ID, s.Rows[i].ID)
		}
	}
	return nil
}

// add appends one run's values.
func (p *pair) add(m, s trace.Run) {
	p.runs = append(p.runs, len(m.Rows))
	p.seeds = append(p.seeds, m.Seed)
	simRows, late := finished(s)
	p.unfinished += late
	for i, row := range m.Rows {
		simRow := simRows[i]
		if !row.OK() {
			p.failed++
		}
		for metric := range metricNames {
			r, okR := value(metric, row)
			v, okS := value(metric, simRow)
			if !row.OK() || !okR || !okS {
				if row.OK() {
					p.excluded[metric]++
				}
				r, v = math.NaN(), math.NaN()
			}
			p.values[metric][eng] = append(p.values[metric][eng], r)
			p.values[metric][sim] = append(p.values[metric][sim], v)
		}
	}
	p.tokens[eng] = append(p.tokens[eng], steadyTokens(m.Requests, m.Rows)...)
	p.tokens[sim] = append(p.tokens[sim], steadyTokens(m.Requests, simRows)...)
}

// finished gives a request that the simulator did not finish the end of its
// run as its time: the least that it would have taken. Leaving it out would
// hide exactly the overload that is the simulator's error.
func finished(s trace.Run) (rows []trace.Row, late int) {
	end := s.Window
	for _, r := range s.Rows {
		end = max(end, r.Last, r.First, r.Due)
	}
	rows = make([]trace.Row, len(s.Rows))
	for i, r := range s.Rows {
		if !r.OK() {
			late++
			if r.First == 0 {
				r.First = end
			}
			r.Last = end
			if r.Tokens < 2 {
				r.Tokens = r.Output
			}
		}
		rows[i] = r
	}
	return rows, late
}

func value(metric int, r trace.Row) (seconds float64, ok bool) {
	var d time.Duration
	ok = true
	switch metric {
	case ttft:
		d = r.TTFT()
	case tpot:
		d, ok = r.TPOT()
	case e2e:
		d = r.E2E()
	}
	return d.Seconds(), ok
}

// counted are the tokens of a completed request, as the server counted them
// where it did.
func counted(r trace.Row) (prompt, output int) {
	prompt, output = r.Prompted, r.Tokens
	if prompt == 0 {
		prompt = r.Prompt
	}
	if output == 0 {
		output = r.Output
	}
	return prompt, output
}
