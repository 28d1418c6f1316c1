package report

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// Page is what a report shows, top to bottom. Every part may be missing; a
// part that is missing leaves no hole in the page.
type Page struct {
	Plan     string // name of the plan
	Run      string // id of the run
	Verdict  string // pass, fail, inconclusive, error; empty while the run is open
	Headline string // one sentence under the verdict
	Reasons  []string
	Figures  []Figure // the numbers that gates were read on, first of all the others

	Gates      []Gate      // of the last round
	Comparison *Comparison // nil for a plan that compares nothing
	Cause      *Cause      // of the last round; nil where nothing asked for it
	Rounds     []Round
	Params     *Params   // nil where no simulator had parameters
	Doubts     []string  // what a reader must know before trusting a number
	Origin     []Section // engine, simulator, files
	Source     string    // text of the plan
	Provenance []Fact    // which run this was: clock, paths, versions; with Run and the times of steps no part of [Page.Digest]
}

// Digest is "sha256:<64 hex>" of all that the page says, without its
// provenance: a run that is reproduced leads to the same digest.
func (p Page) Digest() (string, error) {
	p.Run, p.Provenance = "", nil
	p.Rounds = slices.Clone(p.Rounds)
	for i, r := range p.Rounds {
		r.Steps = slices.Clone(r.Steps)
		for j := range r.Steps {
			r.Steps[j] = r.Steps[j].timeless()
		}
		if r.Route != nil && r.Route.Remedy != nil {
			route, remedy := *r.Route, r.Route.Remedy.timeless()
			route.Remedy = &remedy
			r.Route = &route
		}
		p.Rounds[i] = r
	}
	text, err := json.Marshal(p)
	if err != nil {
		return "", fmt.Errorf("digest of the page: %w", err)
	}
	return fmt.Sprintf("sha256:%x", sha256.Sum256(text)), nil
}

// timeless is the step without its clock.
func (s Step) timeless() Step {
	s.Started, s.Ended = time.Time{}, time.Time{}
	return s
}

// Figure is one headline number.
type Figure struct {
	Name  string  // "TTFT P50 error"
	Value float64 // a ratio
	Limit float64 // what a gate tolerates; 0 if no gate reads it
	Note  string  // "worst +8.1 % at rps-4"
	Doubt string  // why it is not judged; empty if it is
}

// Gate is a gate with its assertions as they stood at the end.
type Gate struct {
	Name       string
	Of         string // step whose result it judges
	Verdict    string // pass, fail, inconclusive; "blocked" if there was nothing to judge
	Assertions []Assertion
}

// Assertion is one line of a gate.
type Assertion struct {
	Name    string
	Expr    string
	Verdict string
	Warn    bool // its failure does not fail the gate
	Values  []Value
	Shares  []Value // share of draws in which it holds: replicates, null, floor
	Looks   int
	Reasons []string
}

// Value is a named number, or a named text.
type Value struct {
	Name   string
	Number float64
	Text   string // used instead of Number when not empty
}

// Comparison is measured against simulated.
type Comparison struct {
	Step   string // the step that compared
	Knee   *Knee
	Points []Point // sweep by rate, then replay, then probes
	Level  float64 // of every interval, as 0.95; 0 if there are none
}

// Knee is the rate at which tail latency leaves its idle level. A nil rate is
// one that the sweep does not bracket.
type Knee struct {
	Measured  *float64 // requests per second
	Simulated *float64
	Error     *float64 // (simulated - measured) / measured
	State     string   // bracketed, below, above
	Reason    string   // what to do when it is not bracketed, and other doubts
}

// Point is one operating point of the workload.
type Point struct {
	Name     string  // rps-2, replay, probe-512-128
	Group    string  // sweep, replay, probe
	Rate     float64 // requests per second; 0 if it has none
	Load     float64 // ρ: offered over best sustained token rate; 0 if unknown
	State    string  // stable, overloaded, fitted, crashed, ...: why it is (not) in the means
	Apart    bool    // it stands outside the top-level means
	Requests int
	Failed   int
	Tokens   Pair // output tokens per second
	Cells    []Cell
	CDFs     []CDF
}

// Pair is a number on both sides; 0 is unknown.
type Pair struct{ Measured, Simulated float64 }

// Cell is one metric at one quantile of one point.
type Cell struct {
	Metric    string // ttft, tpot, e2e
	Quantile  string // p50, p90, p95, p99, mean
	Measured  float64
	Simulated float64
	Bias      float64  // (simulated - measured) / measured
	Lo, Hi    *float64 // interval of Bias; nil if there is none
	Limit     float64  // error that a gate tolerates here; 0 for the usual 5 % (P50, mean) and 15 % (tails)
	N         int      // pairs of requests
	Blocks    int      // independent blocks among them
	Doubt     string   // why it is not judged; empty if it is
}

// CDF is the distribution of a metric at one point, on both sides.
type CDF struct {
	Metric    string
	KS        *float64  // largest vertical distance of the two
	P         []float64 // probabilities, ascending
	Measured  []float64 // seconds at each probability
	Simulated []float64
}

// Cause is what most likely makes the simulator err.
type Cause struct {
	Name     string // overhead, kernel, ...; none, unknown
	Sentence string // why this and not another
	Suspects []Suspect
}

// Suspect is a hypothesis that was tried in the simulator.
type Suspect struct {
	Hypothesis string
	Cause      string  // what it speaks for
	Explains   float64 // share of the error that would go, in [0,1]
	Low, High  float64 // its interval at the level of 95 %; both 0: it has none
	Enough     bool    // enough to be the cause
	Values     []Value // parameters that it set
	Note       string
}

// Round is one pass through the plan, and the route taken after it.
type Round struct {
	N     int
	Steps []Step
	Gates []Gate
	Cause string // likely cause of the error in this round, in a sentence
	Route *Route
}

// Step is a step in a round.
type Step struct {
	Name    string
	Kind    string
	Status  string // done, reused, failed, blocked
	Note    string // where a reused result came from, or the error
	Started time.Time
	Ended   time.Time
}

// Route is why another round was run.
type Route struct {
	Gate   string
	When   string
	Values []Value // what its condition read
	Remedy *Step   // nil for a route that only sets
	Sets   []Value // what it changed
	Notes  []string
}

// Params are the simulator's parameters, a column for each round in which
// they changed.
type Params struct {
	Columns  []string // "round 1", "round 2: after tune"
	Rows     []Param
	FittedOn []string // points that the last column was fitted on
}

// Param is one parameter over the columns; an empty text is "not set".
type Param struct {
	Name   string
	Doc    string
	Values []string
}

// Section is a block of facts.
type Section struct {
	Title string
	Facts []Fact
}

// Fact is one line of provenance.
type Fact struct{ Name, Text string }
