package state

import (
	"encoding/json"
	"time"

	"calrun/pipeline/gate"
	"calrun/pipeline/kind"
	"calrun/pipeline/secret"
)

// Event is one line of a journal: something that happened and will not be
// asked again. Whatever needed a clock, a file or an expression to find out is
// in it, so that folding events needs none of these.
type Event struct {
	Seq   int       `json:"seq"` // from 1, without gaps
	At    time.Time `json:"at"`
	Type  EventType `json:"type"`
	Round int       `json:"round,omitempty"`
	Step  string    `json:"step,omitempty"` // step, remedy or gate

	Opened   *Opened    `json:"opened,omitempty"`
	Touched  []string   `json:"touched,omitempty"`  // EventRound: steps that may have changed; the others are carried over
	Resolved *Resolved  `json:"resolved,omitempty"` // EventResolved
	Attempt  int        `json:"attempt,omitempty"`  // EventStarted, EventDone, EventFailed
	Dir      string     `json:"dir,omitempty"`      // EventStarted, EventDone: relative to the run's folder
	Part     *kind.Part `json:"part,omitempty"`     // EventPart
	Result   *Value     `json:"result,omitempty"`   // EventDone
	Why      string     `json:"why,omitempty"`      // EventFailed, EventBlocked, EventShut, EventSettled
	Class    Class      `json:"class,omitempty"`    // EventFailed
	Gate     *GateState `json:"gate,omitempty"`     // EventJudged
	Routed   *Routed    `json:"routed,omitempty"`   // EventRouted
	Notes    []string   `json:"notes,omitempty"`    // EventSettled: why no route was taken
	Changed  []string   `json:"changed,omitempty"`  // EventProgress: steps whose key a remedy changed
	Over     Overrides  `json:"over,omitempty"`     // EventProgress: the overrides from now on
	Closed   *Closed    `json:"closed,omitempty"`   // EventClosed
}

// EventType names what happened.
type EventType string

// The types of event, in the order in which a run meets them.
const (
	EventOpened      EventType = "opened"      // always the first
	EventRound       EventType = "round"       // a pass through the graph begins
	EventResolved    EventType = "resolved"    // a step's `with` and key are known, and perhaps its result
	EventStarted     EventType = "started"     // an attempt begins
	EventPart        EventType = "part"        // a durable piece of a step is finished
	EventDone        EventType = "done"        // a step's result and artefacts are durable
	EventFailed      EventType = "failed"      // an attempt, or resolving, ended with an error
	EventStopped     EventType = "stopped"     // an attempt ended because the run was interrupted
	EventBlocked     EventType = "blocked"     // a step or gate that cannot be reached in this round
	EventJudged      EventType = "judged"      // a gate
	EventRouted      EventType = "routed"      // a route is taken
	EventProgress    EventType = "progress"    // what the route taken changes; the next round may begin
	EventShut        EventType = "shut"        // the route taken changes nothing and is closed
	EventSettled     EventType = "settled"     // no route is left
	EventDeadline    EventType = "deadline"    // limits.wall is spent
	EventInterrupted EventType = "interrupted" // the user stopped the run
	EventResumed     EventType = "resumed"     // it goes on after an interruption, an error or a death
	EventClosed      EventType = "closed"
)

// JournalFormat is raised when a journal says something that an older calrun
// would misread. Fields that an older one may pass over do not raise it.
const JournalFormat = 1

// Class is the sort of error that an attempt ended with. Some are the same each
// time: no further attempt is made of them, whatever the plan's retry says.
type Class string

// The classes of error.
const (
	ClassStep    Class = ""        // anything else: an engine that is gone, a program's exit code
	ClassTimeout Class = "timeout" // the step's own
	ClassPlan    Class = "plan"    // what the plan gives the step cannot be used
	ClassPanic   Class = "panic"   // a bug of the step
	ClassDisk    Class = "disk"    // full, over its quota, read-only or broken
)

// final says whether another attempt would end the same way.
func (c Class) final() bool { return c == ClassPlan || c == ClassPanic || c == ClassDisk }

// Opened is all that a run needs to be resumed without its plan file.
type Opened struct {
	Format   int                        `json:"format"` // of the journal: [JournalFormat]
	Run      string                     `json:"run"`
	Plan     string                     `json:"plan"`
	File     string                     `json:"file"`
	Dir      string                     `json:"dir"` // what relative paths of the plan are relative to
	Source   string                     `json:"source"`
	Inputs   map[string]json.RawMessage `json:"inputs,omitempty"`
	Imported map[string]string          `json:"imported,omitempty"` // absolute path → digest, of files and folders among the inputs
	Secrets  map[string]secret.Source   `json:"secrets,omitempty"`  // secret inputs → where a resume reads them again
	From     string                     `json:"from,omitempty"`     // the run whose measured results may be reused
	Version  string                     `json:"version"`            // of calrun
}

// Resolved is what a step will work on.
type Resolved struct {
	Kind     string            `json:"kind"`
	Repeat   string            `json:"repeat"`
	Key      string            `json:"key"`
	With     json.RawMessage   `json:"with"`
	Version  int               `json:"version"`         // of the kind
	Basis    json.RawMessage   `json:"basis,omitempty"` // With as the key has it; see [kind.Ingredients]
	ID       map[string]string `json:"id,omitempty"`
	Visit    int               `json:"visit,omitempty"`    // of a remedy, from 1
	Imported map[string]string `json:"imported,omitempty"` // absolute path → digest, of literal paths met first here
	From     string            `json:"from,omitempty"`     // set when Result is reused: "round 1", "run 20261124-..."
	Result   *Value            `json:"result,omitempty"`
	Dir      string            `json:"dir,omitempty"` // of the reused result, relative to the run's folder; only inside a run
}

// Ingredients are those of the key.
func (r *Resolved) Ingredients() kind.Ingredients {
	return kind.Ingredients{Kind: r.Kind, Version: r.Version, With: r.Basis, Identity: r.ID, Visit: r.Visit}
}

// Value is a JSON document, in the journal as long as it is small and in the
// store beyond. Digest is always set.
type Value struct {
	Digest string          `json:"digest"`
	JSON   json.RawMessage `json:"json,omitempty"`
}

// Routed is a route that was taken: what `when` saw and what it leads to.
type Routed struct {
	Gate   string                     `json:"gate"`
	Index  int                        `json:"index"`
	When   string                     `json:"when"`
	Values map[string]any             `json:"values,omitempty"`
	Run    string                     `json:"run,omitempty"`
	Kind   string                     `json:"kind,omitempty"` // of the remedy
	Sets   map[string]json.RawMessage `json:"sets,omitempty"`
	Notes  []string                   `json:"notes,omitempty"`
}

// Overrides are the `with` fields that routes and remedies have set:
// "sim.params" → its value and who set it.
type Overrides map[string]Overriding

// Overriding is one override in force.
type Overriding struct {
	Value json.RawMessage `json:"value"`
	By    string          `json:"by"` // a remedy's name, or the route "gate#index"
}

// Closed is how a run ended.
type Closed struct {
	Verdict gate.Verdict `json:"verdict,omitempty"` // empty after an error
	Exit    int          `json:"exit"`
	Reasons []string     `json:"reasons,omitempty"`
}
