package kind

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"calrun/pipeline/field"
)

// Repeat says what a second run of the same step with the same `with` yields.
type Repeat int

// The three sorts of repeatability. Exact and seeded results are reused
// across runs, measured ones only inside their run or by `run --from`.
const (
	Exact    Repeat = iota // same `with`, same bytes
	Seeded                 // same `with` and seed, same bytes
	Measured               // hardware: never the same
)

// String returns the name that plans and reports use.
func (r Repeat) String() string {
	if r < Exact || r > Measured {
		return fmt.Sprintf("repeat(%d)", int(r))
	}
	return [...]string{"exact", "seeded", "measured"}[r]
}

// Step is one use of a kind: a function from its own fields (decoded from
// `with`) to its result, with no hidden channel. Run must honour ctx. What it
// returns is a value of the kind's Result type.
type Step interface {
	Run(ctx context.Context, rt *Runtime) (any, error)
}

// Identifier is a step whose result also depends on something that its `with`
// does not hold: the engine behind a URL, the version of a tool. What it
// returns enters the key and the journal, name by name.
type Identifier interface {
	Identity(ctx context.Context) (map[string]string, error)
}

// Namer is a step that knows at load time which names its results will hold:
// the operating points of a workload, say. The map goes from a field of the
// result to those names; a field that is absent is not checked.
type Namer interface {
	Names(in Static) map[string][]string
}

// Checker is a step that can judge its literal fields at load time beyond
// what tags and types say.
type Checker interface {
	Check(in Static) []field.Problem
}

// Estimator is a step that can say how long it will keep the hardware busy.
// ok is false where the plan does not say enough.
type Estimator interface {
	Estimate(in Static) (seconds float64, ok bool)
}

// Costly is a step that can say what a run of it takes at most beside time on
// the hardware, as a phrase; empty where that is nothing to plan for.
type Costly interface {
	Cost(in Static) string
}

// ResultTyper is a step whose result type depends on its `with` (exec with
// its declared result).
type ResultTyper interface {
	ResultType() (field.Type, error)
}

// Repeater is a step whose repeatability its `with` states (exec). It goes
// before its kind's.
type Repeater interface {
	Repeats() Repeat
}

// Rooted is a step that names files in free text (the command line of exec)
// and so must know the folder that the plan's relative paths start from. It is
// told before Identity and Run.
type Rooted interface {
	Root(dir string)
}

// Locker is a step that needs something of the host for itself while it runs,
// as the engine that it loads, whether or not its plan says so. It names it as
// the `locks` of a plan do; the names enter no key.
type Locker interface {
	Locks() []string
}

// LocksOf are the host-wide locks of a step, sorted: those that its plan names,
// and its own.
func LocksOf(step Step, named []string) []string {
	names := slices.Clone(named)
	if l, ok := step.(Locker); ok {
		names = append(names, l.Locks()...)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Static is what is known of a step's `with` while the plan is only loaded.
type Static struct {
	names   map[string][]string
	dynamic func(field string) bool
}

// NewStatic is what a loader tells: the names that the upstream result of a
// field holds, and which fields only a run knows.
func NewStatic(names map[string][]string, dynamic func(field string) bool) Static {
	return Static{names: names, dynamic: dynamic}
}

// Names returns the names held by the upstream result that a field refers
// to, nil if unknown.
func (s Static) Names(field string) []string { return s.names[field] }

// Dynamic says whether the field, or one around it, holds a reference whose
// value only a run knows.
func (s Static) Dynamic(field string) bool { return s.dynamic != nil && s.dynamic(field) }

// Outsider is a step that needs a program which calrun does not bring along.
// What it made goes into the pack of an accepted run, since whoever reproduces
// the run may not have that program.
type Outsider interface {
	Outside() bool
}

// Equivalent is a measured step that can tell whether a second result of it
// says the same as the recorded one, up to a margin (0.1: ten per cent). open
// gives the place of an artefact in either.
type Equivalent interface {
	Equivalent(recorded, again json.RawMessage, open func(field.Artefact) (string, error), margin float64) (*Equivalence, error)
}

// Equivalence is what an [Equivalent] found.
type Equivalence struct {
	Verdict string // equivalent, different or inconclusive
	Note    string // a line for people
	Cells   any    // what it rests on, as JSON
}
