// Package plan loads a plan's file. [Load] returns the [Plan], every expression
// compiled and typed, or all of its problems at once. A [Decl] is one step,
// gates and remedies included; [Plan.Order] is the graph, and [Plan.Resolve]
// turns the `with` of a step into the JSON that its kind decodes. Nothing here
// runs.
//
// The loader's stages stand in files of their own, in the order of load.go.
package plan

import (
	"encoding/json"
	"errors"
	"strings"
	"time"

	"calrun/pipeline/document"
	"calrun/pipeline/expr"
	"calrun/pipeline/kind"
	"calrun/pipeline/secret"

	"github.com/hashicorp/go-multierror"
)

// Version is the `version` that a plan must state.
const Version = "calrun/v1"

// Plan is a loaded plan: everything checked, every expression compiled. It is
// made by [Load] and never changed afterwards.
type Plan struct {
	Version, Name, Doc string
	File               string // as it was named to Load
	Dir                string // absolute folder of the file: what relative paths start from
	Source             []byte
	Inputs             []*Input // file order
	Limits             Limits
	Steps, Remedies    []*Decl // file order; gates are among the steps

	decls  map[string]*Decl
	order  []*Decl
	after  map[string][]string
	before map[string][]string // who depends on it directly
	lacks  []string            // what keeps it from running here
}

// Input is a value that a plan asks for.
type Input struct {
	Name string
	Type string // string, int, float, bool, file, dir or secret
	Doc  string
	// Value is JSON: the default or what was given; nil while unknown. A file
	// or dir is an absolute path, a secret {"secret": its name}.
	Value     json.RawMessage
	Source    secret.Source // of a secret
	Line, Col int
}

// Limits end a run however its routes stand.
type Limits struct {
	Rounds int           // most rounds; 0 is no limit
	Wall   time.Duration // longest time; 0 is no limit
}

// Decl is a step, a gate or a remedy as the plan declares it.
type Decl struct {
	Name, Uses, Doc string
	Kind            *kind.Kind // nil for a gate
	Needs           []string   // steps and gates that must be done, or passed, before
	Timeout         time.Duration
	Locks           []string // host-wide, exclusive
	Retry           Retry
	Gate            *Gate      // nil for what is not a gate
	Remedy          bool       // runs only when a route calls it
	Sets            []Override // of a remedy
	Forget          []string   // of a remedy: the remedies whose overrides it makes void
	Line, Col       int

	src    *document.Value // its block in the file
	with   *with           // nil for a gate
	faulty bool            // has problems: what depends on it is not checked
}

// Retry says how often a step that ended with an error is tried again.
type Retry struct {
	Max  int           // further attempts, 0 is none
	Wait time.Duration // before each of them
}

// Gate is a judgement over the result of one step.
type Gate struct {
	Of     string // the step
	Assert []*Assertion
	Warn   []*Assertion // judged and shown, without a say in the verdict
	Routes []*Route
	// Looks is how often the gate may look at its data in the worst case: 1
	// and the largest number of visits of all its routes that change what it
	// judges.
	Looks int

	broken []*Route // those with problems
}

// Assertion is a named condition over a result.
type Assertion struct {
	Name      string
	Expr      *expr.Expr
	Line, Col int
}

// Route is what to do when a gate has not passed.
type Route struct {
	Gate  string
	Index int        // from 0, in the gate's own order
	When  *expr.Expr // sees passed, failed, unsure, steps and inputs
	Run   string     // remedy; empty for a pure set
	Set   []Override
	Max   int // most visits in a run, at least 1

	set       *document.Value
	Line, Col int
}

// Override lays a value on a `with` field of a step.
type Override struct {
	Step  string // whose field
	Field string // dotted path below its with: "params", "workload.sweep.seeds"

	value     *document.Value // a route's: literal or reference
	with      *with           // a route's: what its value refers to
	from      *expr.Expr      // a remedy's: over its result
	Line, Col int
}

// Target is the step and field as the plan writes them: "sim.params".
func (o Override) Target() string { return o.Step + "." + o.Field }

// Decl returns the step, gate or remedy of that name, or nil.
func (p *Plan) Decl(name string) *Decl { return p.decls[name] }

// Ready says what keeps a checked plan from being run here: inputs without a
// value, files that do not exist. nil if nothing does.
func (p *Plan) Ready() error {
	var all *multierror.Error
	for _, s := range p.lacks {
		all = multierror.Append(all, errors.New(s))
	}
	if all == nil {
		return nil
	}
	all.ErrorFormat = document.FormatProblems
	return all
}

// Input returns the input of that name, or nil.
func (p *Plan) Input(name string) *Input {
	for _, in := range p.Inputs {
		if in.Name == name {
			return in
		}
	}
	return nil
}

// Given is what the command line would give for the inputs that have a value,
// by name: what [LoadOptions] wants to load the plan again in the same way.
func Given(values map[string]json.RawMessage, secrets map[string]secret.Source) map[string]string {
	out := map[string]string{}
	for name, raw := range values {
		var text string
		switch src, hidden := secrets[name]; {
		case hidden:
			out[name] = src.String()
		case json.Unmarshal(raw, &text) == nil:
			out[name] = text
		default:
			out[name] = string(raw)
		}
	}
	return out
}

// InputValues returns the values of all inputs that have one, as decoded
// JSON: what the Inputs of an [expr.Env] are.
func (p *Plan) InputValues() map[string]any {
	out := make(map[string]any, len(p.Inputs))
	for _, in := range p.Inputs {
		if in.Value == nil {
			continue
		}
		var v any
		if err := json.Unmarshal(in.Value, &v); err == nil {
			out[in.Name] = v
		}
	}
	return out
}

// Routes returns the routes of all gates in plan order: the order in which
// they are tried.
func (p *Plan) Routes() []*Route {
	var out []*Route
	for _, d := range p.Steps {
		if d.Gate != nil {
			out = append(out, d.Gate.Routes...)
		}
	}
	return out
}

// Aim says what a route does: "tune", "set sim.params".
func (r *Route) Aim() string {
	var sets []string
	for _, o := range r.Set {
		sets = append(sets, o.Target())
	}
	switch {
	case len(sets) == 0:
		return r.Run
	case r.Run == "":
		return "set " + strings.Join(sets, ", ")
	}
	return r.Run + ", set " + strings.Join(sets, ", ")
}
