package steps

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"calrun/internal/compare"
	"calrun/internal/engine"
	"calrun/internal/fit"
	"calrun/internal/simulator"
	"calrun/internal/trace"
)

// whatIf simulates the requests of points with some parameters: what `tune`
// turns, and what `diagnose` asks "what if" of. It is the code of `simulate`.
// Rows of the points are not read.
type whatIf func(ctx context.Context, points []trace.Point, p Params) ([]trace.Point, error)

// openWhatIf opens the profiles once, for many simulations. Parameters that
// make no configuration are an error of the call, not of the opening.
func openWhatIf(name, profiles string, d Deployment, facts engine.Facts) (whatIf, error) {
	if name != embedded {
		return nil, fmt.Errorf("what-if simulations need the simulator %s; %q is not built in", embedded, name)
	}
	prof, err := openProfile(profiles, d)
	if err != nil {
		return nil, fmt.Errorf("the profiles: %w", err)
	}
	return func(ctx context.Context, points []trace.Point, p Params) ([]trace.Point, error) {
		set, err := settle(p, facts, d)
		if err != nil {
			return nil, err
		}
		sim, err := newEmbedded(prof, set)
		if err != nil {
			return nil, fmt.Errorf("the profiles: %w", err)
		}
		out, _, err := sim.Points(ctx, points, nil)
		return out, err
	}, nil
}

// whatIfIdentity is what the what-ifs of a step depend on beside its fields.
func whatIfIdentity(ctx context.Context, name string, place VidurPlace) (map[string]string, error) {
	id := map[string]string{"simulator": name + " " + simulator.Digest(), "fit": fit.Digest()}
	if name != realVidur {
		return id, nil
	}
	v, err := place.identity(ctx)
	for key, value := range v {
		id["vidur "+key] = value
	}
	return id, err
}

// markOverloaded copies points and marks the rates at which the engine did not
// keep up, by the rule of the comparison: TTFT and E2E measure the length of
// the run there. It names them.
func markOverloaded(points []trace.Point, overloaded func(trace.Point) bool) (out []trace.Point, names []string) {
	out = slices.Clone(points)
	for i, p := range out {
		if p.Group != trace.Sweep || !overloaded(p) {
			continue
		}
		names = append(names, p.Name)
		out[i].Runs = slices.Clone(p.Runs)
		for j, r := range p.Runs {
			if r.State == trace.OK || r.State == "" {
				out[i].Runs[j].State = trace.Overloaded
			}
		}
	}
	return out, names
}

// unstable judges one measured point on its own, by the rule of the
// comparison.
func unstable(p trace.Point) bool {
	return !compare.StabilityOf(p).Stable
}

// readFacts reads the engine.json of a measurement or a workload. A folder
// without one comes from an engine that states nothing.
func readFacts(dir string) (engine.Facts, error) {
	f, err := engine.ReadFacts(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return engine.Facts{}, nil
	}
	return f, err
}
