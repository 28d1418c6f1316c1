// Package state decides what a run does next. A [State] is the fold of the
// [Event]s of a journal by [State.Apply]; [Decide] says what is to be done, as
// [Command]s. Both are pure: no clock, no file, no expression, so that any
// engine can carry a run out and every replay goes the same way.
package state

import (
	"encoding/json"
	"slices"
	"strconv"
	"time"

	"calrun/pipeline/gate"
	"calrun/pipeline/secret"
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
	File    string // the plan's file, as it was named
	Dir     string // what the plan's relative paths are relative to
	Version string // of calrun
	From    string // the run whose measured results may be reused; may be empty
	Opened  time.Time
	Closed  time.Time // zero while unfinished
	Inputs  map[string]json.RawMessage
	Secrets map[string]secret.Source // secret inputs → where they are read
	Rounds  []*Round
	Spent   map[string]int    // route → visits; route is "gate#index", index from 0 in plan order
	Shut    map[string]string // route → why it is closed ("no progress")
	Over    Overrides         // what routes and remedies have set, in force now
	Verdict gate.Verdict      // empty while open or when the run ended with an error
	Exit    int               // exit code of the command, valid once Closed is set or Interrupted
	Reasons []string

	Imported    map[string]string // absolute path → digest of what the run took from there
	Interrupted bool              // the user stopped it; resume goes on
	Late        bool              // limits.wall is spent
	Active      time.Duration     // time worked on it, without the pauses between a death and a resume
	Last        time.Time         // of the last event
}

// Unfinished says whether there is something for a resume to do: the run is
// open, was interrupted, or ended because a step could not work.
func (s *State) Unfinished() bool { return s.Closed.IsZero() || s.Exit == ExitError }

// Exit codes of a run.
const (
	ExitPass         = 0
	ExitFail         = 1
	ExitUsage        = 2
	ExitError        = 3
	ExitInconclusive = 4
	ExitMismatch     = 5 // of no run: a verification did not match
	ExitInterrupted  = 130
)

// Round is one pass through the graph.
type Round struct {
	N     int // from 1
	Steps map[string]*StepState
	Gates map[string]*GateState
	Route *RouteState // taken after the round; nil if none

	Tried   []*RouteState // routes taken after the round that changed nothing and were closed
	Settled bool          // no route is left
	Notes   []string      // why none is
}

// Routes are the routes that were taken after the round, in their order.
func (r *Round) Routes() []*RouteState {
	if r.Route == nil {
		return r.Tried
	}
	return append(slices.Clone(r.Tried), r.Route)
}

// StepState is a step in a round, or a remedy after it.
type StepState struct {
	Name    string
	Kind    string
	Repeat  string // exact, seeded or measured
	Status  Status
	Key     string
	With    json.RawMessage // resolved
	ID      map[string]string
	Result  json.RawMessage
	Error   string
	Class   Class // of the error
	Attempt int   // counts all attempts in this round
	Tries   int   // attempts since the run was started or resumed
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
	Verdict gate.Verdict
	Blocked bool   // what it judges has no result
	Error   string // it could not be judged: a value is missing or not finite
	Assert  []gate.Judgement
	Warn    []gate.Judgement
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

	Sets    map[string]json.RawMessage // of a pure set: "sim.params" → value
	Settled bool                       // what it changes is known
	Changed []string                   // steps whose key it changes
}

// ID names the route in [State.Spent] and [State.Shut].
func (r *RouteState) ID() string { return RouteID(r.Gate, r.Index) }

// RouteID names a route of a plan.
func RouteID(gate string, index int) string { return gate + "#" + strconv.Itoa(index) }
