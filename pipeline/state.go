package pipeline

import (
	"encoding/json"
	"time"
)

// Verdict is how a gate, or a run, ended. It is never an error.
type Verdict string

// The three verdicts.
const (
	Pass         Verdict = "pass"
	Fail         Verdict = "fail"
	Inconclusive Verdict = "inconclusive"
)

// Status is where a step stands in a round.
type Status string

// The statuses of a step.
const (
	Pending Status = "pending"
	Running Status = "running"
	Done    Status = "done"    // ran in this round
	Reused  Status = "reused"  // same key: the result of another round or run
	Failed  Status = "failed"  // an error: it could not work
	Blocked Status = "blocked" // something it needs failed, or a gate it needs did not pass
)

// State is a run as the fold of its journal. It is what `show`, the report
// and [Decide] read; nothing but [State.Apply] changes it.
type State struct {
	Run     string
	Plan    string // the plan's name
	Opened  time.Time
	Closed  time.Time // zero while unfinished
	Inputs  map[string]json.RawMessage
	Rounds  []*Round
	Spent   map[string]int    // route → visits; route is "gate#index", index from 0 in plan order
	Shut    map[string]string // route → why it is closed ("no progress")
	Verdict Verdict           // empty while open or when the run ended with an error
	Exit    int               // exit code of product.md, valid once Closed is set
	Reasons []string
}

// Round is one pass through the graph.
type Round struct {
	N     int // from 1
	Steps map[string]*StepState
	Gates map[string]*GateState
	Route *RouteState // taken after the round; nil if none
}

// StepState is a step in a round, or a remedy after it.
type StepState struct {
	Name    string
	Kind    string
	Status  Status
	Key     string
	With    json.RawMessage // resolved
	ID      map[string]string
	Result  json.RawMessage
	Error   string
	Attempt int
	Started time.Time
	Ended   time.Time
	From    string // where a reused result came from: "round 1", "run 20261124-…"
	Parts   []string
	Dir     string                     // working folder of the attempt, relative to the run's
	Sets    map[string]json.RawMessage // a remedy's or route's overrides: "sim.params" → value
}

// GateState is a gate's judgement in a round.
type GateState struct {
	Name    string
	Verdict Verdict
	Blocked bool // what it judges has no result
	Assert  []Judgement
	Warn    []Judgement
}

// Judgement is one assertion, judged.
type Judgement struct {
	Name    string             `json:"name"`
	Expr    string             `json:"expr"`
	Verdict Verdict            `json:"verdict"`
	Values  map[string]float64 `json:"values,omitempty"`  // every number it read, by its name in the expression
	Shares  map[string]float64 `json:"shares,omitempty"`  // share of draws in which it holds: replicates, null, floor
	Looks   int                `json:"looks,omitempty"`   // how often this gate may look
	Reasons []string           `json:"reasons,omitempty"` // why it is not sure
}

// RouteState is a route that was taken.
type RouteState struct {
	Gate   string
	Index  int
	When   string
	Values map[string]any // what its condition read
	Run    string         // remedy, may be empty for a pure `set`
	Remedy *StepState
	Notes  []string // routes before it that did not hold for want of a result, or were closed
}
