package steps

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"calrun/internal/fit"
	"calrun/internal/trace"
)

// advise says of each knob that the points leave open what to measure besides:
// of rates below and above the fitted ones, and of probes where there are
// none, the one that would narrow its interval most. Each is simulated, with
// the requests of a fitted rate.
func (s *Tune) advise(ctx context.Context, p fit.Problem, f *fit.Fit, sim elsewhere) ([]string, error) {
	if len(f.Doubtful()) == 0 {
		return nil, nil
	}
	var experiments []fit.Experiment
	words := map[string]string{}
	for _, x := range proposals(p.Measured) {
		words[x.point.Name] = x.words
		experiments = append(experiments, fit.Experiment{Name: x.point.Name, Simulate: func(ctx context.Context, values fit.Params) ([]trace.Point, error) {
			out, err := sim(ctx, x, values)
			if err != nil {
				return nil, err
			}
			out, _ = markOverloaded(out, unstable)
			return out, nil
		}})
	}
	all, err := fit.Advise(ctx, p, f, experiments)
	if err != nil {
		return nil, err
	}
	var notes []string
	for _, a := range all {
		i := slices.IndexFunc(f.Knobs, func(k fit.KnobFit) bool { return k.Name == a.Knob })
		notes = append(notes, doubt(f.Knobs[i], a, words[a.Experiment]))
	}
	return notes, nil
}

// doubt is one knob's doubt and what to do about it.
func doubt(k fit.KnobFit, a fit.Advice, words string) string {
	text := fmt.Sprintf("%s is only known to lie between %.3g and %.3g", k.Name, k.Interval.Low, k.Interval.High)
	apart := ""
	if a.From != "" {
		apart = fmt.Sprintf(" so that it can be told from %s", a.From)
	}
	if a.Experiment == "" {
		if a.From != "" {
			text += fmt.Sprintf(", and no rate tells it from %s", a.From)
		}
		return text + ": measure more seeds, or leave it out of the knobs"
	}
	return text + fmt.Sprintf(": add %s%s (to about ±%.2g)", words, apart, a.Half)
}

// proposal is a point that could be measured besides.
type proposal struct {
	point trace.Point
	like  string // the fitted point that has the same requests
	words string // "a rate above 35, as 52"
}

// elsewhere simulates what could be measured besides.
type elsewhere func(ctx context.Context, x proposal, values fit.Params) ([]trace.Point, error)

// proposals are the points worth asking for: rates well outside of the
// fitted ones, and requests alone where no probe is fitted on.
func proposals(on []trace.Point) []proposal {
	var low, high *trace.Point
	probed := false
	for i, p := range on {
		probed = probed || p.Alone()
		if p.Group != trace.Sweep || p.Rate <= 0 {
			continue
		}
		if low == nil || p.Rate < low.Rate {
			low = &on[i]
		}
		if high == nil || p.Rate > high.Rate {
			high = &on[i]
		}
	}
	if high == nil {
		return nil
	}
	var out []proposal
	for _, by := range []float64{1.25, 1.5, 2} {
		out = append(out, proposal{atRate(*high, by), high.Name, "a rate above " + rateText(high.Rate) + ", as " + rateText(by*high.Rate) + ","})
	}
	for _, by := range []float64{0.5, 0.25} {
		out = append(out, proposal{atRate(*low, by), low.Name, "a rate below " + rateText(low.Rate) + ", as " + rateText(by*low.Rate) + ","})
	}
	if !probed {
		out = append(out, proposal{alone(*high), high.Name, "probes with prompts of several lengths"})
	}
	return out
}

// atRate is a point as it would be at another rate: the same requests, their
// gaps divided.
func atRate(p trace.Point, by float64) trace.Point {
	p.Rate *= by
	p.Name = "rps-" + rateText(p.Rate)
	p.Runs = slices.Clone(p.Runs[:1])
	run := &p.Runs[0]
	run.Requests = slices.Clone(run.Requests)
	for i := range run.Requests {
		run.Requests[i].Due = trace.FromSeconds(run.Requests[i].Due.Seconds() / by)
	}
	run.Rows, run.State = nil, ""
	return p
}

// alone is a few requests of a point, each by itself.
func alone(p trace.Point) trace.Point {
	const few = 20
	run := p.Runs[0]
	run.Requests = run.Requests[:min(few, len(run.Requests))]
	run.Rows, run.State = nil, ""
	return trace.Point{Name: allProbes, Group: trace.Probe, Runs: []trace.Run{run}}
}

// rateText is a rate to three digits, so that a proposal reads as one.
func rateText(v float64) string {
	text := strconv.FormatFloat(v, 'g', 3, 64)
	if strings.Contains(text, "e") {
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return text
}
