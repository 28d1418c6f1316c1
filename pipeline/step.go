package pipeline

import (
	"context"
	"fmt"
)

// Kind is a sort of step: one value, one file, one line in the list that is
// handed to [NewKinds].
type Kind struct {
	Name    string
	Doc     string // one sentence
	Version int    // part of every key; raise it when the same `with` yields another result
	Repeat  Repeat
	New     func() Step // a step with its defaults; no side effects
	Result  any         // zero value of the result struct; its json and doc tags are the names that expressions know

	shape *shape // of `with`; filled by NewKinds
}

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
	Check(in Static) []FieldProblem
}

// Estimator is a step that can say how long it will keep the hardware busy.
// ok is false where the plan does not say enough.
type Estimator interface {
	Estimate(in Static) (seconds float64, ok bool)
}

// ResultTyper is a step whose result type depends on its `with` (exec with
// its declared result).
type ResultTyper interface {
	ResultType() (Type, error)
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

// FieldProblem is what a [Checker] found, at a path below `with` such as
// "workload.probes.lengths[2]".
type FieldProblem struct {
	Field   string
	Message string
	Suggest string // what to do; may be empty
	Warning bool   // a doubt, not an error
}

// Static is what is known of a step's `with` while the plan is only loaded.
type Static struct {
	names   map[string][]string
	dynamic func(field string) bool
}

// Names returns the names held by the upstream result that a field refers
// to, nil if unknown.
func (s Static) Names(field string) []string { return s.names[field] }

// Dynamic says whether the field, or one around it, holds a reference whose
// value only a run knows.
func (s Static) Dynamic(field string) bool { return s.dynamic != nil && s.dynamic(field) }
