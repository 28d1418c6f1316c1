// Package workload says what is asked of an engine: probes of fixed lengths,
// a sweep of arrival rates, a recorded trace replayed.
//
// A [Spec] with its lengths becomes points of requests in [Build]. The same
// spec and lengths give the same requests on every machine. All rates of a
// seed are the same requests in the same order with the same unit-exponential
// gaps, divided by the rate (common random numbers: what differs between two
// rates is the rate); every seed has draws of its own. A workload as a folder
// is a folder of points with a file beside them, [Facts].
package workload

import (
	"fmt"
	"strconv"
	"time"
)

// Over says what becomes of a request of trace lengths above max_total.
type Over string

// The three answers. Each is counted.
const (
	Clip   Over = "clip"   // shorten prompt and output in proportion
	Drop   Over = "drop"   // leave the request out
	Refuse Over = "refuse" // end with an error
)

// Spec is a workload as it is asked for. Lengths and traces are data of their
// own, handed to [Build].
type Spec struct {
	Seed     uint64
	MaxTotal int // most tokens of prompt and output together; 0 is no limit
	Over     Over
	Probes   *Probes
	Sweep    *Sweep
	Replay   *Replay
}

// Probes are requests that have the engine to themselves, one after another.
type Probes struct {
	Lengths  [][]int `yaml:"lengths" json:"lengths" required:"true" doc:"[prompt, output] tokens of each probe"`
	Requests int     `yaml:"requests" json:"requests" min:"1" default:"10" doc:"requests of each probe, one after another"`
}

// Sweep is an arrival process at several rates.
type Sweep struct {
	Arrivals string
	RPS      []float64
	Requests int
	Seeds    int
	Draw     *Distribution // nil: lengths come from a trace
	Scale    Scale
}

// The arrival processes of a sweep.
const (
	Poisson  = "poisson"  // exponential gaps
	Constant = "constant" // equal gaps
)

// Replay is a recorded trace, as it was.
type Replay struct {
	Window  time.Duration // how much of it, counted after scaling; 0 is all
	Repeats int
	Scale   Scale
}

// Scale brings a trace into an engine's range. Zero factors are 1.
type Scale struct {
	Time   float64 `yaml:"time" json:"time,omitempty" default:"1" min:"0.000001" doc:"factor on arrival times of a replay: 2 halves the rate"`
	Prompt float64 `yaml:"prompt" json:"prompt,omitempty" default:"1" min:"0.000001" doc:"factor on prompt lengths, rounded, never below 1 token"`
	Output float64 `yaml:"output" json:"output,omitempty" default:"1" min:"0.000001" doc:"factor on output lengths, rounded, never below 1 token"`
}

func factor(f float64) float64 {
	if f == 0 {
		return 1
	}
	return f
}

// ProbeName is the name of a probe's point, "probe-512-128".
func ProbeName(prompt, output int) string { return fmt.Sprintf("probe-%d-%d", prompt, output) }

// RateName is the name of a sweep's point, "rps-0.5".
func RateName(rps float64) string { return "rps-" + strconv.FormatFloat(rps, 'f', -1, 64) }

// ReplayName is the name of the replayed trace's point.
const ReplayName = "replay"

// Names are the names of the spec's points, in the order in which they are
// measured: probes, rates from the lowest, replay.
func (s *Spec) Names() []string {
	var names []string
	if s.Probes != nil {
		for _, l := range s.Probes.Lengths {
			if len(l) == 2 {
				names = append(names, ProbeName(l[0], l[1]))
			}
		}
	}
	if s.Sweep != nil {
		for _, r := range s.Sweep.rates() {
			names = append(names, RateName(r))
		}
	}
	if s.Replay != nil {
		names = append(names, ReplayName)
	}
	return names
}

// probeToken is what Estimate allows for one output token of a probe, since
// only the engine knows it: long for a GPU, short for a laptop.
const probeToken = 30 * time.Millisecond

// Estimate is how long the workload keeps an engine busy if it keeps up:
// the time that arrivals take, and an allowance of 30 ms for each output
// token of a probe. ok is false where the length of a trace decides.
func (s *Spec) Estimate() (d time.Duration, ok bool) {
	if s.Probes != nil {
		for _, l := range s.Probes.Lengths {
			if len(l) == 2 {
				d += time.Duration(s.Probes.Requests*l[1]) * probeToken
			}
		}
	}
	if s.Sweep != nil {
		for _, r := range s.Sweep.RPS {
			d += time.Duration(float64(s.Sweep.Requests*s.Sweep.Seeds) / r * float64(time.Second))
		}
	}
	if s.Replay != nil {
		if s.Replay.Window == 0 {
			return 0, false
		}
		d += s.Replay.Window * time.Duration(s.Replay.Repeats)
	}
	return d, true
}
