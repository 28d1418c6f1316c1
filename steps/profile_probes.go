package steps

import (
	"context"
	"fmt"

	"calrun/internal/profile"
	"calrun/internal/stats"
	"calrun/internal/trace"
)

// probed simulates the measured probes with the profile, without what tune
// fitted before, and holds the two against each other.
func (s *ProfileCheck) probed(ctx context.Context, prof *profile.Profile, set settled, res *ProfileCheckResult) ([]profile.Finding, error) {
	points, err := trace.ReadPoints(s.Measured.Path)
	if err != nil {
		return nil, fmt.Errorf("profile-check: the measurement: %w", err)
	}
	var alone []trace.Point
	for _, p := range points {
		if p.Alone() {
			alone = append(alone, p)
		}
	}
	sim, err := newEmbedded(prof, set)
	if err != nil {
		return nil, nil // covered.steps says so
	}
	simulated, _, err := sim.Points(ctx, alone, nil)
	if err != nil {
		return nil, fmt.Errorf("profile-check: %w", err)
	}
	var probes []profile.Probe
	for i, p := range alone {
		x := profile.Probe{Point: p.Name}
		x.Prompt, x.TTFT, x.TPOT = aloneTimes(p)
		_, first, per := aloneTimes(simulated[i])
		if len(first) > 0 {
			x.SimTTFT = stats.Quantile(stats.Sorted(first), 0.5)
		}
		if len(per) > 0 {
			x.SimTPOT = stats.Quantile(stats.Sorted(per), 0.5)
		}
		probes = append(probes, x)
	}
	phases, findings := profile.Probed(probes)
	res.Phases = append(res.Phases, phases...)
	return findings, nil
}

// aloneTimes are the times of a probe's requests, in seconds. A first token
// that came with others makes a time per token that is too short.
func aloneTimes(p trace.Point) (prompt int, first, per []float64) {
	for _, r := range p.Runs {
		for _, row := range r.Rows {
			if !row.OK() {
				continue
			}
			prompt, first = row.Prompt, append(first, row.TTFTSent().Seconds())
			if d, ok := row.TPOT(); ok && row.FirstTokens <= 1 && d > 0 {
				per = append(per, d.Seconds())
			}
		}
	}
	return prompt, first, per
}
