package pipeline

import (
	"calrun/pipeline/document"
	"calrun/pipeline/expr"
	"calrun/pipeline/field"
	"calrun/pipeline/gate"
	"calrun/pipeline/kind"
	"calrun/pipeline/plan"
	"calrun/pipeline/secret"
	"calrun/pipeline/state"
	"calrun/pipeline/store"

	"github.com/rs/zerolog"
)

type (
	// Kind is a sort of step: one value, one file.
	Kind = kind.Kind
	// Kinds are the kinds that a plan may use.
	Kinds = kind.Kinds
	// Step is one use of a kind: a function from its fields to its result.
	Step = kind.Step
	// Identifier is a step whose result also depends on what its `with` does not hold.
	Identifier = kind.Identifier
	// Namer is a step that knows at load time which names its results will hold.
	Namer = kind.Namer
	// Checker is a step that can judge its literal fields at load time.
	Checker = kind.Checker
	// Estimator is a step that can say how long it keeps the hardware busy.
	Estimator = kind.Estimator
	// Costly is a step that can say what else a run of it takes at most.
	Costly = kind.Costly
	// ResultTyper is a step whose result type depends on its `with`.
	ResultTyper = kind.ResultTyper
	// Repeater is a step whose repeatability its `with` states.
	Repeater = kind.Repeater
	// Outsider is a step that needs a program which calrun does not bring along.
	Outsider = kind.Outsider
	// Locker is a step that needs something of the host for itself.
	Locker = kind.Locker
	// Equivalent is a measured step that can set a second result of it against the recorded one.
	Equivalent = kind.Equivalent
	// Equivalence is what an [Equivalent] found.
	Equivalence = kind.Equivalence
	// Rooted is a step that must know the folder that relative paths start from.
	Rooted = kind.Rooted
	// Repeat says what a second run of the same step yields.
	Repeat = kind.Repeat
	// Runtime is what a step is lent while it runs.
	Runtime = kind.Runtime
	// Static is what is known of a step while the plan is only loaded.
	Static = kind.Static
)

// The three sorts of repeatability; see [Repeat].
const (
	Exact    = kind.Exact
	Seeded   = kind.Seeded
	Measured = kind.Measured
)

// NewKinds collects kinds. A kind without a name or New, two of one name, or
// a struct with a bad tag is a bug of the program: it panics.
func NewKinds(kinds ...Kind) *Kinds { return kind.NewKinds(kinds...) }

// NewScratch returns a runtime without a run behind it, as tests of a step
// want it: everything, parts included, lies below dir.
func NewScratch(dir string, log zerolog.Logger) *Runtime { return kind.NewScratch(dir, log) }

type (
	// Artefact is a file or a folder as a typed value.
	Artefact = field.Artefact
	// Secret is a value that a step may use and nobody may read.
	Secret = field.Secret
	// Mask takes the secrets of a run out of what is written.
	Mask = secret.Mask
	// FieldProblem is what a [Checker] found, or a union refused.
	FieldProblem = field.Problem
	// Type is the type of a value in a plan.
	Type = field.Type
)

// DigestPath returns the digest that a file or folder has as an artefact,
// without storing it.
func DigestPath(path string) (string, error) { return store.DigestPath(path) }

type (
	// Draws are replicates of a result.
	Draws = gate.Draws
	// Leaf computes one number of a result from columns of a [Matrix].
	Leaf = gate.Leaf
	// Matrix holds draws × columns.
	Matrix = gate.Matrix
	// Judgement is one assertion, judged.
	Judgement = gate.Judgement
	// Verdict is how a gate, or a run, ended.
	Verdict = gate.Verdict
)

// The three verdicts.
const (
	Pass         = gate.Pass
	Fail         = gate.Fail
	Inconclusive = gate.Inconclusive
)

// ReadDraws reads a file of draws.
func ReadDraws(path string) (*Draws, error) { return gate.ReadDraws(path) }

// WriteDraws writes a file of draws. Equal draws have equal bytes.
func WriteDraws(path string, d *Draws) error { return gate.WriteDraws(path, d) }

type (
	// Plan is a loaded plan, everything in it checked.
	Plan = plan.Plan
	// Route is what to do when a gate has not passed.
	Route = plan.Route
	// LoadOptions say what a plan is loaded with.
	LoadOptions = plan.LoadOptions
	// Env is what expressions may see.
	Env = expr.Env
	// Problem is one thing that is wrong with a plan, or doubtful.
	Problem = document.Problem
	// Problems are all problems of a file, sorted by position.
	Problems = document.Problems
)

// Version is the `version` that a plan must state.
const Version = plan.Version

// Load reads a plan and checks all of it. The plan is nil if a problem is
// more than a warning.
func Load(path string, opt LoadOptions) (*Plan, Problems) { return plan.Load(path, opt) }

// LoadBytes is [Load] for a source that is already read; path is what
// problems name and what relative paths start from.
func LoadBytes(path string, src []byte, opt LoadOptions) (*Plan, Problems) {
	return plan.LoadBytes(path, src, opt)
}

// Schema is the JSON schema (draft-07) of a plan that uses these kinds: what
// an editor checks while the plan is written.
func Schema(kinds *Kinds) map[string]any { return plan.Schema(kinds) }

type (
	// State is a run as the fold of its journal.
	State = state.State
	// Round is one pass through the graph.
	Round = state.Round
	// StepState is a step in a round, or a remedy after it.
	StepState = state.StepState
	// GateState is a gate's judgement in a round.
	GateState = state.GateState
	// RouteState is a route that was taken.
	RouteState = state.RouteState
	// Status is where a step stands in a round.
	Status = state.Status
	// Event is one line of a journal.
	Event = state.Event
	// Opened is all that a run needs to be resumed.
	Opened = state.Opened
	// Routed is a route as the journal has it.
	Routed = state.Routed
)

// The types of event, in the order in which a run meets them.
const (
	EventOpened      = state.EventOpened
	EventRound       = state.EventRound
	EventResolved    = state.EventResolved
	EventStarted     = state.EventStarted
	EventPart        = state.EventPart
	EventDone        = state.EventDone
	EventFailed      = state.EventFailed
	EventStopped     = state.EventStopped
	EventBlocked     = state.EventBlocked
	EventJudged      = state.EventJudged
	EventRouted      = state.EventRouted
	EventProgress    = state.EventProgress
	EventShut        = state.EventShut
	EventSettled     = state.EventSettled
	EventDeadline    = state.EventDeadline
	EventInterrupted = state.EventInterrupted
	EventResumed     = state.EventResumed
	EventClosed      = state.EventClosed
)

// The statuses of a step.
const (
	Pending = state.Pending
	Running = state.Running
	Done    = state.Done
	Reused  = state.Reused
	Failed  = state.Failed
	Blocked = state.Blocked
)

// The exit codes of a run.
const (
	ExitPass         = state.ExitPass
	ExitFail         = state.ExitFail
	ExitUsage        = state.ExitUsage
	ExitError        = state.ExitError
	ExitInconclusive = state.ExitInconclusive
	ExitMismatch     = state.ExitMismatch
	ExitInterrupted  = state.ExitInterrupted
)
