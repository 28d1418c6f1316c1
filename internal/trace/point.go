package trace

import "time"

// Group is the sort of an operating point.
type Group string

// The three groups. Metrics at the top level of a comparison are the sweep's.
const (
	Probe  Group = "probe"  // one request at a time on an idle engine
	Sweep  Group = "sweep"  // an arrival process at a rate
	Replay Group = "replay" // a recorded trace, as it was
)

// Point is one operating point: "probe-512-128", "rps-2", "replay".
type Point struct {
	Name  string  `json:"name"`
	Group Group   `json:"group"`
	Rate  float64 `json:"rate_rps,omitempty"` // nominal arrivals per second; 0 for probes
	Runs  []Run   `json:"-"`
}

// Alone says that each request of the point had the engine to itself: a
// simulator must not let one queue behind another, whatever their Due says.
func (p Point) Alone() bool { return p.Group == Probe }

// Run is one pass over a point: a seed of a sweep, a repeat of a replay.
// A workload has Requests alone; a measurement and a simulation have Rows
// too, the same requests in the same order.
type Run struct {
	Seed     int // seed or number of the repeat, from 1
	Requests []Request
	Rows     []Row
	State    State         // of a measurement or simulation
	Reason   string        // why the state is not OK
	Window   time.Duration // from the start of the run to its end
}

// State says what a run's rows are worth.
type State string

// The states of a run.
const (
	OK         State = "ok"
	Crashed    State = "crashed"    // the simulator or engine died; there are no rows
	Skipped    State = "skipped"    // not tried, for the reason given
	Overloaded State = "overloaded" // it ran, but the engine did not keep up
)
