package kind

import (
	"fmt"
	"io"
	"path/filepath"

	"calrun/pipeline/field"
	"calrun/pipeline/lock"
	"calrun/pipeline/secret"

	"github.com/rs/zerolog"
)

// Runtime is what a step is lent while it runs: a folder, a log, a way to
// tell how far it is, and durable parts. Its methods may be called from
// several goroutines of the step.
type Runtime struct{ loan Loan }

// Loan is what a runtime lends, and where from.
type Loan struct {
	Dir             string
	Plan, Run, Step string
	Log             zerolog.Logger
	Progress        func(done, total float64, note string) // nil if nobody listens
	Parts           *Parts
	Lease           *lock.Lease                          // of the attempt; nil outside a run
	Mask            *secret.Mask                         // nil knows no secret
	Open            func(field.Artefact) (string, error) // nil without a store
}

// Lend returns a runtime.
func Lend(l Loan) *Runtime { return &Runtime{loan: l} }

// NewScratch returns a runtime without a run behind it, as tests of a step
// want it: everything, parts included, lies below dir.
func NewScratch(dir string, log zerolog.Logger) *Runtime {
	return Lend(Loan{
		Dir: dir, Plan: "scratch", Run: "scratch", Step: "scratch", Log: log,
		Parts: NewParts(filepath.Join(dir, ".parts")),
	})
}

// Dir is this attempt's folder. What the step yields as an artefact lies
// below it. Its name changes when the step is done, so no path below it
// belongs into a result, except as [field.Artefact.Path].
func (rt *Runtime) Dir() string { return rt.loan.Dir }

// Log goes to the file "log" of the step's folder and, from info up, to the
// user.
func (rt *Runtime) Log() *zerolog.Logger { return &rt.loan.Log }

// Masked is text without the secrets of the run: for what a step shortens or
// quotes itself. What it logs, returns and writes below [Runtime.Dir] is
// masked without its doing, but half a secret cannot be found any more.
func (rt *Runtime) Masked(text string) string { return rt.loan.Mask.Text(text) }

// Masking passes on what is written to w without the secrets of the run, and
// finds those that go over lines or writes: for what a step takes apart before
// it logs it. Flush it at the end.
func (rt *Runtime) Masking(w io.Writer) *secret.Writer { return rt.loan.Mask.Writer(w) }

// Plan is the plan's name.
func (rt *Runtime) Plan() string { return rt.loan.Plan }

// Run is the run's id.
func (rt *Runtime) Run() string { return rt.loan.Run }

// Step is the step's name.
func (rt *Runtime) Step() string { return rt.loan.Step }

// Lease ties the processes that the step starts to its attempt: one that a
// death leaves at work is ended before the step is run again.
func (rt *Runtime) Lease() *lock.Lease { return rt.loan.Lease }

// Progress tells how far the step is, in units of its own; total 0 means
// unknown. It never blocks on a slow terminal for long and may be called
// often.
func (rt *Runtime) Progress(done, total float64, note string) {
	if rt.loan.Progress != nil {
		rt.loan.Progress(done, total, note)
	}
}

// Open returns the read-only place of an artefact that came in a field of any
// type; one in a field of type [field.Artefact] has its Path already.
func (rt *Runtime) Open(a field.Artefact) (string, error) {
	if rt.loan.Open == nil {
		return "", fmt.Errorf("artefact %s: a scratch runtime has no store", a.Digest)
	}
	return rt.loan.Open(a)
}

// Part makes a durable piece of a long step, once. make fills an empty
// folder; when it returns nil the folder becomes read-only and durable, and
// every later call with the same key, in another attempt or a later round of
// the run, returns it with reused set and without calling make. For exact
// and seeded kinds other runs reuse it too.
//
// The key must hold everything that decides the content (the engine's
// fingerprint, for a measurement); people read it in the journal. An error of
// make is returned as it is, and leaves nothing behind.
func (rt *Runtime) Part(key string, make func(dir string) error) (dir string, reused bool, err error) {
	return rt.loan.Parts.get(key, make)
}
